//! What the program is made of: the packages that cargo compiles for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::program::said;
use crate::process::cargo;

/// A crate with its origin; those of the workspace have no checksum.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    /// SPDX expression.
    pub(super) licence: String,
    pub(super) authors: Vec<String>,
    pub(super) repository: Option<String>,
    /// Where its sources lie.
    pub(super) folder: PathBuf,
    /// SHA-256 of what the registry has, in hexadecimal.
    pub(super) checksum: Option<String>,
    /// References of the packages that it is compiled with.
    pub(super) dependencies: Vec<String>,
}

impl Package {
    /// A package URL; of members of the workspace, which no registry has, it is only a name.
    pub(super) fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }
}

fn reference(name: &str, version: &str) -> String {
    // A plus is the one character of versions that a package URL escapes.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

/// Everything that is compiled into the program, macros included; not what is only for tests, and
/// not what runs in build scripts. Sorted by name and version.
pub(super) fn of(program: &str, target: &str) -> Result<Vec<Package>> {
    let wanted = tree(program, target)?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&said(&mut metadata)?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let checksums = checksums(Path::new("Cargo.lock"))?;

    let mut found: BTreeMap<(String, String), Package> = BTreeMap::new();
    let mut by_id: HashMap<String, (String, String)> = HashMap::new();
    for package in list(&metadata["packages"]) {
        let field = |name: &str| {
            text(&package[name]).with_context(|| format!("cargo metadata: a package has no {name}"))
        };
        let key = (field("name")?, field("version")?);
        if !wanted.contains(&key) {
            continue;
        }
        let (name, version) = key.clone();
        let manifest = PathBuf::from(field("manifest_path")?);
        let licence = field("license")?;
        by_id.insert(field("id")?, key.clone());
        let package = Package {
            checksum: checksums.get(&key).cloned(),
            name,
            version,
            description: text(&package["description"]),
            licence: spdx(&licence),
            authors: list(&package["authors"]).iter().filter_map(text).collect(),
            repository: text(&package["repository"]),
            folder: manifest.parent().context("a manifest lies in a folder")?.to_owned(),
            dependencies: Vec::new(),
        };
        found.insert(key, package);
    }
    for node in list(&metadata["resolve"]["nodes"]) {
        let id = node["id"].as_str().unwrap_or_default();
        let Some(package) = by_id.get(id).and_then(|key| found.get_mut(key)) else { continue };
        let compiled = |dependency: &Value| {
            list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
        };
        let dependencies: BTreeSet<String> = list(&node["deps"])
            .iter()
            .filter(|dependency| compiled(dependency))
            .filter_map(|dependency| by_id.get(dependency["pkg"].as_str()?))
            .map(|(name, version)| reference(name, version))
            .collect();
        package.dependencies = dependencies.into_iter().collect();
    }
    let missing = wanted.iter().find(|key| !found.contains_key(key));
    if let Some((name, version)) = missing {
        anyhow::bail!("cargo metadata has no package {name} {version}, which cargo tree names");
    }
    Ok(found.into_values().collect())
}

/// Names and versions. `cargo metadata` unites the features of the whole workspace; this knows what
/// the program alone asks for.
fn tree(program: &str, target: &str) -> Result<BTreeSet<(String, String)>> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", program, "--target", target]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let line = |line: &str| -> Option<(String, String)> {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    said(&mut tree)?.lines().map(|text| line(text).with_context(|| text.to_owned())).collect()
}

/// By name and version.
fn checksums(lock: &Path) -> Result<HashMap<(String, String), String>> {
    let text = std::fs::read_to_string(lock)
        .with_context(|| format!("reading {}: run in the repository's folder", lock.display()))?;
    let lock: toml::Table = toml::from_str(&text).context("reading Cargo.lock")?;
    let packages = lock["package"].as_array().context("Cargo.lock lists no packages")?;
    let of = |package: &toml::Value| -> Option<((String, String), String)> {
        let field = |name: &str| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    Ok(packages.iter().filter_map(of).collect())
}

/// Older manifests have a slash between licences of which one may be chosen.
fn spdx(licence: &str) -> String {
    licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_of_older_manifests_are_choices() {
        assert_eq!(spdx("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(spdx("Apache-2.0 / MIT"), "Apache-2.0 OR MIT");
        assert_eq!(spdx("(MIT OR Zlib) AND ISC"), "(MIT OR Zlib) AND ISC");
    }

    #[test]
    fn references_are_package_urls() {
        assert_eq!(reference("zip", "9.0.0+build.1"), "pkg:cargo/zip@9.0.0%2Bbuild.1");
    }
}
