//! Names of outputs: each of one input alone, in this run, in later ones, and in others that
//! write to the same folder at the same time.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use data::path_text::{from_bytes, from_text, to_text};
use fe_clip::files::sha256_of_lines;
use serde::{Deserialize, Serialize};

use crate::talk;

/// Where a folder of outputs keeps whose they are, a line a name.
const REGISTRY: &str = ".fe-clip-names.jsonl";
/// Longest name of a file in bytes, and the longest that is put behind a name.
const LONGEST: usize = 255;
const LONGEST_ENDING: usize = "_features.png".len();

/// The names in a folder of outputs.
pub(crate) struct Names {
    registry: File,
    /// Whether the folder takes `A` and `a` for one name.
    folds_case: bool,
    /// Inputs by the names that are theirs, as the folder compares names.
    inputs: HashMap<PathBuf, PathBuf>,
    /// Names by their inputs' absolute paths.
    names: HashMap<PathBuf, PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(with = "data::path_text")]
    input: PathBuf,
    #[serde(with = "data::path_text")]
    name: PathBuf,
}

impl Names {
    /// Makes the folder, if it is not there, and reads which names are taken.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub(crate) fn open(out: &Path) -> anyhow::Result<Self> {
        let open = || -> std::io::Result<Self> {
            std::fs::create_dir_all(out)?;
            let probe = tempfile::Builder::new().prefix(".fe-clip-CASE-").tempfile_in(out)?;
            let name = probe.path().file_name().unwrap_or_default().to_ascii_lowercase();
            let folds_case = probe.path().with_file_name(name).exists();
            let registry =
                File::options().read(true).append(true).create(true).open(out.join(REGISTRY))?;
            Ok(Self { registry, folds_case, inputs: HashMap::new(), names: HashMap::new() })
        };
        open().with_context(|| format!("--out {}", out.display()))
    }

    /// A name for the outputs of each of `(given, path)`, without extension: that of an earlier
    /// run; else the path below the given folder, or the file's own name. Where that is another
    /// file's, the folders above come before it, as many as tell them apart; files of one folder
    /// keep their extension.
    pub(crate) fn assign(&mut self, files: &[(&Path, &Path)]) -> Vec<PathBuf> {
        // Not every share can lock; alone a run needs no lock.
        let locked = self.registry.lock().is_ok();
        let read = self.read();
        let files: Vec<Place> = files.iter().map(|(given, path)| Place::new(given, path)).collect();
        let wanted = distinct(&files, |name| self.folded(name));
        let (mut names, mut entries) = (Vec::new(), String::new());
        for (place, wanted) in files.iter().zip(wanted) {
            let input = place.input();
            if let Some(name) = self.names.get(&input) {
                names.push(name.clone());
                continue;
            }
            let free = |name: &PathBuf| !self.inputs.contains_key(&self.folded(name));
            let name = place.names(wanted).find(free).unwrap_or_default();
            let entry = Entry { input: input.clone(), name: name.clone() };
            entries += &serde_json::to_string(&entry).unwrap_or_default();
            entries.push('\n');
            self.take(input, name.clone());
            names.push(name);
        }
        if let Err(error) = read.and_then(|()| self.registry.write_all(entries.as_bytes())) {
            talk::warning(format_args!(
                "{REGISTRY} in --out: whose the names are is lost: {error}"
            ));
        }
        if locked {
            // Closing the file unlocks it at the latest.
            let _ = self.registry.unlock();
        }
        names
    }

    /// Reads what was added since the last time.
    fn read(&mut self) -> std::io::Result<()> {
        let mut text = Vec::new();
        self.registry.read_to_end(&mut text)?;
        // A line that a full disk cut short is nobody's name.
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(Entry { input, name }) = serde_json::from_slice(line) {
                self.take(input, name);
            }
        }
        if text.last().is_some_and(|byte| *byte != b'\n') {
            self.registry.write_all(b"\n")?;
        }
        Ok(())
    }

    fn take(&mut self, input: PathBuf, name: PathBuf) {
        self.inputs.insert(self.folded(&name), input.clone());
        self.names.insert(input, name);
    }

    /// A name as the folder compares it.
    fn folded(&self, name: &Path) -> PathBuf {
        if self.folds_case { from_text(&to_text(name).to_lowercase()) } else { name.to_owned() }
    }
}

/// Of each file, how many components of its path its name shows, and whether the extension, so
/// that all names differ but for one file given twice.
fn distinct(files: &[Place], folded: impl Fn(&Path) -> PathBuf) -> Vec<Shown> {
    let mut shown: Vec<Shown> = files.iter().map(|file| (file.below, false)).collect();
    loop {
        let mut same: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        for (i, (file, shown)) in files.iter().zip(&shown).enumerate() {
            same.entry(folded(&file.name(*shown))).or_default().push(i);
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

    /// The absolute path.
    fn input(&self) -> PathBuf {
        Path::new("/").join(self.parts.iter().collect::<PathBuf>())
    }

    fn folder(&self) -> &[OsString] {
        &self.parts[..self.parts.len().saturating_sub(1)]
    }

    /// Names for the file's outputs, the wanted one first, without end.
    fn names(&self, (count, extension): Shown) -> impl Iterator<Item = PathBuf> + '_ {
        let longer = (count..=self.parts.len()).map(move |count| self.name((count, extension)));
        let whole = self.name((self.parts.len(), true));
        let numbered = (2..).map(move |n| {
            let mut name = self.name((count, true)).into_os_string();
            name.push(format!("-{n}"));
            shortened(PathBuf::from(name))
        });
        longer.chain([whole]).chain(numbered)
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

    fn assigned(out: &Path, files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(&Path, &Path)> =
            files.iter().map(|(given, path)| (Path::new(given), Path::new(path))).collect();
        let names = Names::open(out).unwrap().assign(&files);
        names.iter().map(|p| p.display().to_string()).collect()
    }

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        assigned(tempfile::tempdir().unwrap().path(), files)
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
    fn a_name_stays_its_input_s_in_later_runs() {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(assigned(out.path(), &[("one", "one/0.png")]), ["0"]);
        assert_eq!(assigned(out.path(), &[("two", "two/0.png")]), ["two/0"]);
        assert_eq!(assigned(out.path(), &[("two", "two/0.jpg")]), [one_folder_more("two/0")]);
        let again = [("two", "two/0.png"), ("one", "one/0.png")];
        assert_eq!(assigned(out.path(), &again), ["two/0", "0"]);
        // What a kill left of a line hides no other.
        let registry = out.path().join(REGISTRY);
        let text = std::fs::read_to_string(&registry).unwrap();
        std::fs::write(&registry, format!("{text}{{\"input\": \"/x")).unwrap();
        assert_eq!(assigned(out.path(), &[("four", "four/0.gif")]), ["four/0"]);
        assert_eq!(assigned(out.path(), &again), ["two/0", "0"]);
    }

    /// A path with the folder that tests run in before it.
    fn one_folder_more(path: &str) -> String {
        let here = std::env::current_dir().unwrap();
        format!("{}/{path}", here.file_name().unwrap().to_str().unwrap())
    }

    #[test]
    fn where_case_is_nothing_it_tells_nothing_apart() {
        let out = tempfile::tempdir().unwrap();
        let mut folder = Names { folds_case: true, ..Names::open(out.path()).unwrap() };
        let files = ["in/A.png", "in/a.png", "in/b.png"].map(Path::new);
        let found = folder.assign(&files.map(|file| (Path::new("in"), file)));
        let folded: HashSet<PathBuf> = found.iter().map(|name| folder.folded(name)).collect();
        assert_eq!(folded.len(), 3, "{found:?}");
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
        assert_eq!(names(&[("in", &fits)]), ["n".repeat(242)]);
    }
}
