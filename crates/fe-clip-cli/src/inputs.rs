//! From the paths on the command line to a list of images with names for their outputs.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// An image to work on, or why a path is none.
pub(crate) struct Input {
    /// The path as it is reported.
    pub(crate) path: PathBuf,
    /// Where its outputs go below the output folder, without extension; unique.
    pub(crate) stem: PathBuf,
    /// The reason why it cannot be read, if that is known already.
    pub(crate) error: Option<String>,
}

/// Expands files, folders (recursively) and `-`, a list of paths on standard input.
///
/// # Errors
/// If standard input cannot be read.
pub(crate) fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    let mut names = HashSet::new();
    for path in paths {
        if path.as_os_str() == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("reading the list of paths on standard input")?;
                let line = line.trim_end_matches('\r');
                if !line.is_empty() {
                    add(Path::new(line), &mut inputs, &mut names);
                }
            }
        } else {
            add(path, &mut inputs, &mut names);
        }
    }
    Ok(inputs)
}

fn add(given: &Path, inputs: &mut Vec<Input>, names: &mut HashSet<PathBuf>) {
    let mut push = |path: PathBuf, error: Option<String>| {
        let stem = unique_stem(given, &path, names);
        inputs.push(Input { path, stem, error });
    };
    match data::find_images(given) {
        Err(error) => push(given.to_owned(), Some(error.to_string())),
        Ok(found) if found.is_empty() => {
            push(given.to_owned(), Some(format!("{}: no image in this folder", given.display())));
        }
        Ok(found) => {
            for image in found {
                match image {
                    Ok(path) => push(path, None),
                    Err(error) => push(given.to_owned(), Some(error.to_string())),
                }
            }
        }
    }
}

/// The path below the given folder without its extension, or a file's own name; with the
/// extension, then a number, where that is taken.
fn unique_stem(given: &Path, path: &Path, names: &mut HashSet<PathBuf>) -> PathBuf {
    let relative = match path.strip_prefix(given) {
        Ok(inner) if !inner.as_os_str().is_empty() => inner.to_owned(),
        _ => PathBuf::from(path.file_name().unwrap_or(path.as_os_str())),
    };
    let plain = relative.with_extension("");
    let numbered = (2..).map(|n| {
        let mut name = relative.clone().into_os_string();
        name.push(format!("-{n}"));
        PathBuf::from(name)
    });
    let mut candidates = [plain, relative.clone()].into_iter().chain(numbered);
    candidates.find(|name| names.insert(name.clone())).expect("there is always a free number")
}
