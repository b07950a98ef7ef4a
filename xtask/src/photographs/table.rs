//! Which files of which packages are taken: `datasets/photographs.toml`.

use anyhow::{Context, Result};
use data::{Collection, Shows};
use serde::Deserialize;

use super::copyright::{Copyright, matches};
use super::package::Tree;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Licences that are taken, by the names that packages give them.
    licences: Vec<String>,
    /// Files of these names are no pictures, but data of 3-D surfaces.
    skip: Vec<String>,
    /// The packages.
    pub(super) package: Vec<Package>,
}

/// A package.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    /// Name of the package.
    pub(super) name: String,
    /// Where the paths of its sources start.
    root: String,
    /// The first entry that a file matches is its.
    files: Vec<Files>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    /// `*` stands for any characters, `/` too.
    glob: Vec<String>,
    shows: Shows,
    #[serde(default)]
    held_out: bool,
    /// Share of crops beside others of the same size.
    #[serde(default = "one")]
    weight: f64,
    /// Where the package's list of copyrights does not tell.
    licence: Option<String>,
    attribution: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// A file that is taken.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: std::path::PathBuf,
    /// Its path in the package.
    pub(super) file: String,
    pub(super) shows: Shows,
    pub(super) held_out: bool,
    pub(super) weight: f64,
    pub(super) collection: Collection,
}

impl Table {
    /// The pictures of a package that are taken, in the order of their names, those to be held out first.
    pub(super) fn candidates(&self, package: &Package, tree: &Tree) -> Result<Vec<Candidate>> {
        let root = tree.path.join(&package.root);
        let doc = tree.path.join("usr/share/doc").join(&package.name).join("copyright");
        let text =
            std::fs::read_to_string(&doc).with_context(|| format!("reading {}", doc.display()))?;
        let copyright = Copyright::parse(&text);
        let paths = data::find_images(&root)
            .with_context(|| format!("{}: looking for images", package.name))?;
        let mut found = Vec::new();
        let mut refused = 0;
        for path in paths {
            let path = path?;
            // A link is another name of a picture that is taken already.
            if path.is_symlink() {
                continue;
            }
            let Some(file) = path.strip_prefix(&root).ok().and_then(|file| file.to_str()) else {
                continue;
            };
            if self.skip.iter().any(|glob| matches(glob, file)) {
                continue;
            }
            let taken = |files: &&Files| files.glob.iter().any(|glob| matches(glob, file));
            let Some(files) = package.files.iter().find(taken) else { continue };
            let stated = copyright.of(file);
            let licence = files.licence.clone().or(stated.map(|s| s.licence.clone()));
            let attribution = files.attribution.clone().or(stated.map(|s| s.holders.clone()));
            let (Some(licence), Some(attribution)) = (licence, attribution) else {
                refused += 1;
                continue;
            };
            if !self.licences.contains(&licence) {
                refused += 1;
                continue;
            }
            found.push(Candidate {
                file: format!("{}/{file}", package.root),
                shows: files.shows,
                held_out: files.held_out,
                weight: files.weight,
                collection: Collection {
                    package: package.name.clone(),
                    version: tree.version.clone(),
                    licence,
                    attribution,
                },
                path,
            });
        }
        eprintln!(
            "{} {}: {} pictures, {refused} left out for their licence",
            package.name,
            tree.version,
            found.len()
        );
        found.sort_by(|a, b| (!a.held_out, &a.file).cmp(&(!b.held_out, &b.file)));
        Ok(found)
    }
}
