//! Names of outputs: each of one input alone, in this run, in later ones, and in others that
//! write to the same folder at the same time.
//!
//! Within a run the names are told apart here. Of other runs the outputs themselves tell, by the
//! marks inside them (`own.rs`).

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use data::path_text::{from_bytes, to_text};
use fe_clip::files::sha256_of_lines;

use crate::own::Mark;
use crate::remote;

/// Longest name of a file in bytes, and the longest that is put behind a name.
const LONGEST: usize = 255;
const LONGEST_ENDING: usize = "_features.png".len();

/// Makes the folder of outputs, if it is not there; a store has none to make.
///
/// # Errors
/// If it cannot be written to.
pub(crate) fn prepare(out: &Path) -> anyhow::Result<()> {
    if remote::is_address(out) {
        return remote::check_out(out);
    }
    let made = std::fs::create_dir_all(out)
        .and_then(|()| tempfile::Builder::new().prefix(".fe-clip-").tempfile_in(out));
    made.map(drop).with_context(|| format!("--out {}", out.display()))
}

/// A name for the outputs of each of `(given, path)`, without extension: the path below the given
/// folder, or the file's own name. Where that is another file's, the folders above come before
/// it, as many as tell them apart; files of one folder keep their extension.
pub(crate) fn assign(files: &[(&Path, &Path)]) -> Vec<PathBuf> {
    let files: Vec<Place> = files.iter().map(|(given, path)| Place::new(given, path)).collect();
    let shown = distinct(&files);
    files.iter().zip(shown).map(|(file, shown)| file.name(shown)).collect()
}

/// The name for an input whose own name is taken by an input of another run.
pub(crate) fn with_mark(name: &Path, mark: Mark) -> PathBuf {
    let mut marked = name.as_os_str().to_owned();
    marked.push(format!("-{mark}"));
    shortened(PathBuf::from(marked))
}

/// The absolute path of a file by its spelling: `..` goes up, links are not followed. An address
/// is absolute as it is.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(parts(path).iter().collect::<PathBuf>())
}

fn parts(path: &Path) -> Vec<OsString> {
    let absolute = match remote::is_address(path) {
        true => path.to_owned(),
        false => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    };
    let mut parts: Vec<OsString> = Vec::new();
    for component in absolute.components() {
        match component {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts
}

/// Of each file, how many components of its path its name shows, and whether the extension, so
/// that all names differ but for one file given twice.
fn distinct(files: &[Place]) -> Vec<Shown> {
    let mut shown: Vec<Shown> = files.iter().map(|file| (file.below, false)).collect();
    loop {
        let mut same: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        for (i, (file, shown)) in files.iter().zip(&shown).enumerate() {
            same.entry(file.name(*shown)).or_default().push(i);
        }
        let mut changed = false;
        for group in same.into_values() {
            let folders: HashSet<&[OsString]> = group.iter().map(|&i| files[i].folder()).collect();
            let whole: HashSet<&[OsString]> = group.iter().map(|&i| &*files[i].parts).collect();
            for i in group {
                let (count, extension) = &mut shown[i];
                if folders.len() > 1 && *count < files[i].parts.len() {
                    (*count, changed) = (*count + 1, true);
                } else if folders.len() == 1 && whole.len() > 1 && !*extension {
                    (*extension, changed) = (true, true);
                }
            }
        }
        if !changed {
            return shown;
        }
    }
}

/// How many components of a path are in a name, the last ones, and whether the extension is.
type Shown = (usize, bool);

/// A file by the components of its absolute path, the last of which is its name.
struct Place {
    parts: Vec<OsString>,
    /// Components below the given folder.
    below: usize,
}

impl Place {
    fn new(given: &Path, path: &Path) -> Self {
        let (given, path) = (remote::named(given), remote::named(path));
        let parts = parts(path);
        let below = path.strip_prefix(given).map_or(0, |inner| inner.components().count());
        let below = below.clamp(1, parts.len().max(1));
        Self { parts, below }
    }

    fn folder(&self) -> &[OsString] {
        &self.parts[..self.parts.len().saturating_sub(1)]
    }

    /// The last `count` components; the extension of the last one as wanted.
    fn name(&self, (count, extension): Shown) -> PathBuf {
        let path: PathBuf = self.parts[self.parts.len().saturating_sub(count)..].iter().collect();
        shortened(if extension { path } else { path.with_extension("") })
    }
}

/// A name behind which there is room for the endings of outputs: the start of one that is too
/// long, and a hash of the whole.
fn shortened(name: PathBuf) -> PathBuf {
    let Some(last) = name.file_name().filter(|last| last.len() + LONGEST_ENDING > LONGEST) else {
        return name;
    };
    let hash = &sha256_of_lines(&[to_text(Path::new(last)).into_owned()])[..8];
    let room = LONGEST - LONGEST_ENDING - hash.len() - 1;
    // Not in the middle of a character.
    let bytes = last.as_encoded_bytes();
    let end = (0..=room).rev().find(|&at| bytes[at] & 0xc0 != 0x80).unwrap_or(room);
    let mut short = bytes[..end].to_vec();
    short.push(b'-');
    short.extend(hash.as_bytes());
    name.with_file_name(from_bytes(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(&Path, &Path)> =
            files.iter().map(|(given, path)| (Path::new(given), Path::new(path))).collect();
        assign(&files).iter().map(|p| p.display().to_string()).collect()
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
        let files = [("in", "in/x.jpg"), ("in", "in/x.png"), ("in", "in/x.png.jpg")];
        assert_eq!(names(&files), ["x.jpg", "x.png", "x.png.jpg"]);
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

    #[test]
    fn long_names_leave_room_for_an_ending_and_stay_apart() {
        let long = |last: char| format!("in/{}{last}.png", "ü".repeat(125));
        let (first, second) = (long('a'), long('b'));
        let found = names(&[("in", &first), ("in", &second)]);
        assert!(found[0] != found[1] && found[0].starts_with("üüü"), "{found:?}");
        for name in found {
            assert!((200..=242).contains(&name.len()), "{}", name.len());
        }
        let fits = format!("in/{}.png", "n".repeat(242));
        let name = &names(&[("in", &fits)])[0];
        assert_eq!(*name, "n".repeat(242));
        let others = ["in/a.png", "in/b.png"].map(|input| {
            let marked = with_mark(Path::new(name), Mark::of(Path::new(input)));
            assert!(marked.as_os_str().len() <= 242 && marked != Path::new(name));
            marked
        });
        assert_ne!(others[0], others[1]);
    }
}
