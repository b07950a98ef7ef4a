//! From the paths on the command line to a list of images.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{list, own, remote, talk};

/// An image to work on, or why a path is none.
pub(crate) struct Input {
    /// The path as it is reported.
    pub(crate) path: PathBuf,
    /// The path on the command line that led to it: its own, or that of a folder.
    pub(crate) given: PathBuf,
    /// Where its outputs go below the output folder, without extension; of this file alone in
    /// this run.
    pub(crate) stem: PathBuf,
    /// The reason why it cannot be read, if that is known already.
    pub(crate) error: Option<String>,
}

impl Input {
    pub(crate) fn new(given: &Path, path: PathBuf, error: Option<String>) -> Self {
        Self { path, given: given.to_owned(), stem: PathBuf::new(), error }
    }
}

/// Lists files, folders (recursively), addresses of both, `-`, a list of paths on standard input,
/// and the paths of the file `listed`, but for what lies in the folder of outputs. No image is
/// opened.
///
/// # Errors
/// If standard input or the file cannot be read, or the folder of outputs is one that is searched.
pub(crate) fn list(
    paths: &[PathBuf],
    listed: Option<&Path>,
    out: Option<&Path>,
) -> anyhow::Result<Vec<Input>> {
    let mut given = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut list = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut list);
            read.context("reading the list of paths on standard input")?;
            given.extend(list::lines(list));
        } else {
            given.push(path.clone());
        }
    }
    if let Some(file) = listed {
        given.extend(list::paths(file)?);
    }
    let remote_out = out.filter(|out| remote::is_address(out));
    let out = out.and_then(|out| out.canonicalize().ok());
    let mut found = Vec::new();
    for path in given {
        if remote::is_address(&path) {
            find_remote(&path, remote_out, &mut found)?;
            continue;
        }
        if out.is_some() && path.is_dir() && path.canonicalize().ok() == out {
            bail!(
                "--out and {} are one folder: the pictures would be taken for inputs",
                path.display()
            );
        }
        find(&path, out.as_deref(), &mut found);
    }
    Ok(found)
}

/// The inputs of a whole list but for pictures of this program; a folder that holds nothing else
/// is an input that cannot be read.
pub(crate) fn without_own(inputs: Vec<Input>) -> Vec<Input> {
    let mut passed = Passed::default();
    let mut kept = Vec::with_capacity(inputs.len());
    let mut inputs = inputs.into_iter().peekable();
    while let Some(given) = inputs.peek().map(|input| input.given.clone()) {
        let before = kept.len();
        while let Some(input) = inputs.next_if(|input| input.given == given) {
            kept.extend(passed.unless_own(input));
        }
        if kept.len() == before && given.is_dir() {
            kept.push(only_own(&given));
        }
    }
    passed.tell();
    kept
}

/// The same for a part of a list, which says nothing of its folders.
pub(crate) fn part_without_own(inputs: Vec<Input>) -> Vec<Input> {
    let mut passed = Passed::default();
    let kept = inputs.into_iter().filter_map(|input| passed.unless_own(input)).collect();
    passed.tell();
    kept
}

/// Pictures of this program that are no inputs.
#[derive(Default)]
struct Passed {
    count: usize,
    first: Option<PathBuf>,
}

impl Passed {
    /// The input, unless it is such a picture.
    fn unless_own(&mut self, input: Input) -> Option<Input> {
        if input.error.is_some() || !own::is_own(&input.path) {
            return Some(input);
        }
        self.count += 1;
        self.first.get_or_insert(input.path);
        None
    }

    fn tell(&self) {
        if let Some(first) = &self.first {
            let (count, first) = (self.count, first.display());
            talk::warning(format_args!(
                "{first}: made by fe-clip, passed over ({count} such files in all)"
            ));
        }
    }
}

/// Lists what a given path stands for.
fn find(given: &Path, out: Option<&Path>, list: &mut Vec<Input>) {
    let images = match data::find_images(given) {
        Ok(images) => images,
        Err(error) => {
            return list.push(Input::new(given, given.to_owned(), Some(error.to_string())));
        }
    };
    let is_folder = given.is_dir();
    let folder = given.canonicalize().unwrap_or_else(|_| given.to_owned());
    // Where the folder of outputs contains this one, the files here are inputs all the same.
    let out = out.filter(|out| is_folder && out.starts_with(&folder));
    let before = list.len();
    let mut push = |path, error| list.push(Input::new(given, path, error));
    for image in images {
        match image {
            Err(error) => push(given.to_owned(), Some(error.to_string())),
            Ok(path) if out.is_some_and(|out| is_below(&path, out)) => continue,
            Ok(path) => push(path, None),
        }
    }
    if list.len() == before {
        list.push(only_own(given));
    }
}

/// The same of an address.
fn find_remote(given: &Path, out: Option<&Path>, list: &mut Vec<Input>) -> anyhow::Result<()> {
    let is_folder = given.to_str().is_some_and(|address| address.ends_with('/'));
    if !is_folder {
        list.push(Input::new(given, given.to_owned(), None));
        return Ok(());
    }
    if out.is_some_and(|out| out == given) {
        bail!(
            "--out and {} are one folder: the pictures would be taken for inputs",
            given.display()
        );
    }
    let out = out.filter(|out| out.starts_with(given));
    let before = list.len();
    let mut reason = format!("{}: no image below this address", given.display());
    match remote::images(given) {
        Ok(images) => {
            let inputs =
                images.into_iter().filter(|path| !out.is_some_and(|o| path.starts_with(o)));
            list.extend(inputs.map(|path| Input::new(given, path, None)));
        }
        Err(error) => reason = talk::reason(&error),
    }
    if list.len() == before {
        list.push(Input::new(given, given.to_owned(), Some(reason)));
    }
    Ok(())
}

fn only_own(folder: &Path) -> Input {
    let reason = format!("{}: no image but pictures of fe-clip's own", folder.display());
    Input::new(folder, folder.to_owned(), Some(reason))
}

/// Whether a file lies below a folder, whose path is canonical.
pub(crate) fn is_below(path: &Path, folder: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with(folder))
}

/// The images below a folder of this machine, but for pictures of this program.
///
/// # Errors
/// If the folder cannot be read or holds no image.
pub(crate) fn images(folder: &Path) -> Result<Vec<Result<PathBuf, data::Error>>, data::Error> {
    if remote::is_address(folder) {
        let source = std::io::Error::other("expected a folder of this machine; copy it here");
        return Err(data::Error::Io { path: folder.to_owned(), source });
    }
    let own = |image: &Result<PathBuf, _>| image.as_ref().is_ok_and(|path| own::is_own(path));
    Ok(data::find_images(folder)?.into_iter().filter(|image| !own(image)).collect())
}
