//! Lists of files that come with a data set.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::names::{folded, pick};
use super::tree::entries;
use crate::Error;

/// Reads a text as editors and spreadsheets save it: UTF-8, with or without a byte order mark, or UTF-16 with one.
///
/// # Errors
/// [`Error::Io`], or [`Error::Table`] if it is neither.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units = units.iter().map(|&pair| unit(pair));
        let text: Option<String> = char::decode_utf16(units).map(Result::ok).collect();
        text.filter(|_| rest.is_empty()).ok_or("UTF-16")
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).map_err(|_| "UTF-8"),
        _ => String::from_utf8(bytes).map_err(|_| "UTF-8"),
    };
    text.map_err(|encoding| Error::Table {
        path: path.to_path_buf(),
        reason: format!("not a text in {encoding}"),
    })
}

/// The files below a root, found as a table names them.
pub(super) struct Files {
    root: PathBuf,
    /// The folders listed so far; each entry by its name as it is compared.
    folders: HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), folders: HashMap::new() }
    }

    /// The file on disk that a table means, whatever the case and composition of its letters; where there is none, the
    /// path as it is written.
    ///
    /// # Errors
    /// If the path leads out of the root. An absolute path is understood if it leads below it.
    pub(super) fn find(&mut self, written: &str) -> Result<PathBuf, String> {
        let path = PathBuf::from(written.replace('\\', "/"));
        let relative = if path.is_absolute() {
            self.below_root(&path).ok_or_else(|| {
                let root = self.root.display();
                format!("{written} leaves the data set: an absolute path that is not below {root}")
            })?
        } else {
            path
        };
        let within =
            relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !within {
            return Err(format!("{written} leaves the data set"));
        }
        let mut found = self.root.clone();
        for component in relative.components() {
            let Component::Normal(part) = component else { continue };
            match self.entry(&found, &part.to_string_lossy()) {
                Some(path) => found = path,
                None => return Ok(self.root.join(relative)),
            }
        }
        Ok(found)
    }

    fn below_root(&self, path: &Path) -> Option<PathBuf> {
        let below =
            |path: &Path, root: PathBuf| path.strip_prefix(root).ok().map(Path::to_path_buf);
        below(path, std::path::absolute(&self.root).ok()?).or_else(|| {
            let root = self.root.canonicalize().ok()?;
            below(path, root.clone()).or_else(|| below(&path.canonicalize().ok()?, root))
        })
    }

    fn entry(&mut self, folder: &Path, name: &str) -> Option<PathBuf> {
        if !self.folders.contains_key(folder) {
            let mut listed: HashMap<String, Vec<PathBuf>> = HashMap::new();
            for path in entries(folder).unwrap_or_default() {
                listed.entry(folded(&super::names::name(&path))).or_default().push(path);
            }
            self.folders.insert(folder.to_path_buf(), listed);
        }
        pick(self.folders.get(folder)?.get(&folded(name))?, name).cloned()
    }
}
