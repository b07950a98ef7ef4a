//! The files of a release, wherever they are put.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Entry;
use super::program::said;
use super::read;

/// What a release is made from, beside the files of the repository.
pub(super) struct Materials<'a> {
    /// Where the program lies, to be run.
    pub(super) program: &'a Path,
    pub(super) binary: Vec<u8>,
    pub(super) third_party: Vec<u8>,
    pub(super) sbom: Vec<u8>,
}

/// What a file is, which says where packages put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    Manual,
    /// A script for a shell.
    Completion(Shell),
    Unit,
    Document,
    /// Only of use beside the program that was unpacked by hand.
    Dockerfile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
    Other,
}

/// A file, its name alone.
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
const SHELLS: [(&str, &str, Shell); 5] = [
    ("bash", "fe-clip.bash", Shell::Bash),
    ("zsh", "_fe-clip", Shell::Zsh),
    ("fish", "fe-clip.fish", Shell::Fish),
    ("elvish", "fe-clip.elv", Shell::Other),
    ("powershell", "_fe-clip.ps1", Shell::Other),
];

/// All files; manual and completions are what the program says itself.
pub(super) fn gather(materials: &Materials<'_>) -> Result<Vec<Item>> {
    let item = |kind, name: &str, content| Item { kind, name: name.to_owned(), content };
    let mut items = vec![
        item(Kind::Program, "fe-clip", materials.binary.clone()),
        item(Kind::Document, "THIRD-PARTY.txt", materials.third_party.clone()),
        item(Kind::Document, "fe-clip.cdx.json", materials.sbom.clone()),
        item(Kind::Dockerfile, "Dockerfile", read(Path::new("packaging/Dockerfile"))?),
    ];
    for name in DOCUMENTS {
        items.push(item(Kind::Document, name, read(Path::new(name))?));
    }
    for (name, content) in folder(Path::new("packaging/systemd"))? {
        items.push(item(Kind::Unit, &name, content));
    }
    for (shell, name, kind) in SHELLS {
        let script = said(Command::new(materials.program).args(["completions", shell]))? + "\n";
        items.push(item(Kind::Completion(kind), name, script.into_bytes()));
    }
    let pages = tempfile::tempdir()?;
    said(Command::new(materials.program).arg("man").arg(pages.path()))?;
    for (name, content) in folder(pages.path())? {
        items.push(item(Kind::Manual, &name, content));
    }
    Ok(items)
}

/// The files of a folder, by name.
fn folder(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let reading = || format!("reading {}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((name, read(&entry.path())?));
    }
    files.sort();
    Ok(files)
}

/// Where things lie in an archive, below one folder.
pub(super) fn in_archive(items: &[Item], root: &str) -> Vec<Entry> {
    let place = |item: &Item| {
        let below = match item.kind {
            Kind::Program | Kind::Document | Kind::Dockerfile => "",
            Kind::Manual => "man/",
            Kind::Completion(_) => "completions/",
            Kind::Unit => "systemd/",
        };
        let mode = if item.kind == Kind::Program { 0o755 } else { 0o644 };
        Entry { path: format!("{root}/{below}{}", item.name), mode, content: item.content.clone() }
    };
    items.iter().map(place).collect()
}
