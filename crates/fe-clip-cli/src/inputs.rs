//! From the paths on the command line to a list of images with names for their outputs.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;

/// An image to work on, or why a path is none.
pub(crate) struct Input {
    /// The path as it is reported.
    pub(crate) path: PathBuf,
    /// Where its outputs go below the output folder, without extension; of this file alone.
    pub(crate) stem: PathBuf,
    /// The reason why it cannot be read, if that is known already.
    pub(crate) error: Option<String>,
}

/// Expands files, folders (recursively) and `-`, a list of paths on standard input.
///
/// # Errors
/// If standard input cannot be read.
pub(crate) fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line.context("reading the list of paths on standard input")?;
                let line = line.trim_end_matches('\r');
                if !line.is_empty() {
                    find(Path::new(line), &mut found);
                }
            }
        } else {
            find(path, &mut found);
        }
    }
    let stems = stems(found.iter().map(|(given, path, _)| (given.as_path(), path.as_path())));
    let each = found.into_iter().zip(stems);
    Ok(each.map(|((_, path, error), stem)| Input { path, stem, error }).collect())
}

/// Lists what a given path stands for: the given path, the image, and why it is none.
fn find(given: &Path, list: &mut Vec<(PathBuf, PathBuf, Option<String>)>) {
    let mut push =
        |path: PathBuf, error: Option<String>| list.push((given.to_owned(), path, error));
    match data::find_images(given) {
        Err(error) => push(given.to_owned(), Some(error.to_string())),
        Ok(images) => {
            for image in images {
                match image {
                    Ok(path) => push(path, None),
                    Err(error) => push(given.to_owned(), Some(error.to_string())),
                }
            }
        }
    }
}

/// A name for the outputs of each of `(given, path)`: the path below the given folder, or the
/// file's own name, without extension. Where several files would share a name, the folders above
/// come before it, as many as tell them apart; files that differ in nothing but the extension
/// keep it. One file given twice has one name.
pub(crate) fn stems<'a>(files: impl Iterator<Item = (&'a Path, &'a Path)>) -> Vec<PathBuf> {
    let files: Vec<File> = files.map(|(given, path)| File::new(given, path)).collect();
    // Of each file: the number of components that its name shows, and whether the extension.
    let mut shown: Vec<(usize, bool)> = files.iter().map(|file| (file.below, false)).collect();
    loop {
        let names: Vec<PathBuf> = files.iter().zip(&shown).map(|(f, s)| f.name(*s)).collect();
        let mut same: HashMap<&Path, Vec<usize>> = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            same.entry(name).or_default().push(i);
        }
        let mut changed = false;
        for group in same.into_values() {
            let places: HashSet<PathBuf> = group.iter().map(|&i| files[i].place()).collect();
            let whole: HashSet<&[OsString]> = group.iter().map(|&i| &*files[i].parts).collect();
            for i in group {
                let (count, extension) = &mut shown[i];
                if places.len() > 1 && *count < files[i].parts.len() {
                    (*count, changed) = (*count + 1, true);
                } else if places.len() == 1 && whole.len() > 1 && !*extension {
                    (*extension, changed) = (true, true);
                }
            }
        }
        if !changed {
            return names;
        }
    }
}

/// A file by the components of its absolute path, the first of which are folders.
struct File {
    parts: Vec<OsString>,
    /// Components below the given folder.
    below: usize,
}

impl File {
    fn new(given: &Path, path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut parts: Vec<OsString> = Vec::new();
        for component in absolute.components() {
            match component {
                Component::Normal(name) => parts.push(name.to_owned()),
                Component::ParentDir => drop(parts.pop()),
                _ => {}
            }
        }
        let below = path.strip_prefix(given).map_or(0, |inner| inner.components().count());
        let below = below.clamp(1, parts.len().max(1));
        Self { parts, below }
    }

    /// The last `count` components; the extension of the last one as wanted.
    fn name(&self, (count, extension): (usize, bool)) -> PathBuf {
        let path: PathBuf = self.parts[self.parts.len().saturating_sub(count)..].iter().collect();
        if extension { path } else { path.with_extension("") }
    }

    /// The whole path without extension.
    fn place(&self) -> PathBuf {
        self.name((self.parts.len(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(given, path)| (Path::new(given), Path::new(path)));
        stems(files).iter().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn a_name_is_the_path_below_the_given_folder() {
        assert_eq!(
            names(&[("in", "in/left/a.png"), ("in", "in/b.jpg"), ("c.png", "c.png")]),
            ["left/a", "b", "c"]
        );
    }

    #[test]
    fn folders_tell_equal_names_apart() {
        let files = [
            ("x/good", "x/good/000.png"),
            ("x/bad", "x/bad/000.png"),
            ("y/bad", "y/bad/000.png"),
            ("y/bad", "y/bad/001.png"),
        ];
        assert_eq!(names(&files), ["good/000", "x/bad/000", "y/bad/000", "001"]);
    }

    #[test]
    fn extensions_tell_neighbours_apart() {
        let files = [("in", "in/a.png"), ("in", "in/a.jpg"), ("in", "in/b.jpg")];
        assert_eq!(names(&files), ["a.png", "a.jpg", "b"]);
    }

    #[test]
    fn both_may_be_needed() {
        let files = [("p", "p/a.png"), ("p", "p/a.jpg"), ("q", "q/a.png")];
        assert_eq!(names(&files), ["p/a.png", "p/a.jpg", "q/a"]);
    }

    #[test]
    fn one_file_given_twice_has_one_name() {
        assert_eq!(names(&[("a.png", "a.png"), ("./a.png", "./a.png")]), ["a", "a"]);
        assert_eq!(names(&[("z/../a.png", "z/../a.png"), ("a.png", "a.png")]), ["a", "a"]);
    }
}
