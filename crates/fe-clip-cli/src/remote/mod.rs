//! Images and results that are on no disk of this machine: objects in stores and files on web servers.
//!
//! An address stands wherever a path does: `s3://bucket/key`, `gs://bucket/key`,
//! `az://container/key`, and to read alone `http://…` and `https://…`. One that ends in `/` is a
//! folder. Keys are written as they are, without `%`.

#[cfg(feature = "object-store")]
mod objects;
#[cfg(not(feature = "object-store"))]
#[path = "no_objects.rs"]
mod objects;
mod web;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use data::Limits;
use fe_clip::Input;

use crate::own::{self, Mark, Occupant};
use objects::Object;

/// Threads that fetch: they wait more than they work.
pub(crate) const READERS: usize = 8;
const STORES: [&str; 3] = ["s3", "gs", "az"];
const WEB: [&str; 2] = ["http", "https"];

/// Whether a path is an address.
pub(crate) fn is_address(path: &Path) -> bool {
    text(path, &STORES).or_else(|| text(path, &WEB)).is_some()
}

/// The text of an address of one of these kinds.
fn text<'a>(path: &'a Path, kinds: &[&str]) -> Option<&'a str> {
    let text = path.to_str()?;
    text.split_once("://").is_some_and(|(kind, _)| kinds.contains(&kind)).then_some(text)
}

/// The part of an address that names: without what follows `?` on a web server, which may be a
/// signature of a thousand letters.
pub(crate) fn named(path: &Path) -> &Path {
    text(path, &WEB).and_then(|text| text.split(['?', '#']).next()).map_or(path, Path::new)
}

/// The image at a path or an address, which is fetched when its turn comes.
pub(crate) fn input(path: &Path) -> Input {
    if !is_address(path) {
        return path.into();
    }
    let address = path.to_owned();
    Input::fetched(path, move || fetch(&address))
}

fn fetch(address: &Path) -> io::Result<Vec<u8>> {
    let content = content(address).map_err(|error| io::Error::other(format!("{error:#}")))?;
    match own::maker(&content) {
        Occupant::Ours(_) => Err(io::Error::other("made by fe-clip: a result, not an image")),
        _ => Ok(content),
    }
}

/// What an address holds.
///
/// # Errors
/// If there is nothing, more than an image may have, or it cannot be had; the message names the
/// address.
pub(crate) fn read(address: &Path) -> anyhow::Result<Vec<u8>> {
    content(address).with_context(|| address.display().to_string())
}

fn content(address: &Path) -> anyhow::Result<Vec<u8>> {
    let most = Limits::default().max_bytes;
    match text(address, &WEB) {
        Some(text) => web::get(text, most),
        None => object(address)?.read(most)?.context("there is no such object"),
    }
}

/// The images below an address, sorted, as of a folder: by the endings of their names.
///
/// # Errors
/// If they cannot be listed.
pub(crate) fn images(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if text(folder, &WEB).is_some() {
        bail!("{}: web servers do not list their files; name them one by one", folder.display());
    }
    let mut keys = of_object(folder, Object::list)?;
    keys.retain(|key| data::is_image_below(Path::new(key)));
    keys.sort_unstable();
    Ok(keys.iter().map(|key| folder.join(key)).collect())
}

/// Refuses a folder of outputs that cannot be written to, as far as one can tell.
///
/// # Errors
/// If it is one.
pub(crate) fn check_out(out: &Path) -> anyhow::Result<()> {
    if text(out, &WEB).is_some() {
        bail!("--out {}: from web servers one can read, not write to them", out.display());
    }
    of_object(out, Object::reach).context("--out")
}

/// Whether there is an object.
///
/// # Errors
/// If it cannot be found out.
pub(crate) fn exists(address: &Path) -> anyhow::Result<bool> {
    of_object(address, Object::exists)
}

/// Writes an object, in place of one that is there.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn put(address: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    of_object(address, |object| object.put(bytes))
}

/// Writes what was made of an input, by the rules of [`own::write`].
///
/// # Errors
/// Those of it.
pub(crate) fn write(address: &Path, bytes: &[u8], mark: Mark) -> anyhow::Result<bool> {
    of_object(address, |object| {
        loop {
            let Some(found) = object.read(Limits::default().max_bytes)? else {
                if object.create(bytes)? {
                    return Ok(true);
                }
                continue; // another run was quicker
            };
            return match own::maker(&found) {
                Occupant::Ours(found) if found != Some(mark) => Ok(false),
                Occupant::Ours(_) => object.put(bytes).map(|()| true),
                _ => bail!(own::NOT_OURS),
            };
        }
    })
}

/// What comes of work on an object, whose address errors name.
fn of_object<T>(
    address: &Path,
    work: impl FnOnce(&Object) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    object(address).and_then(|object| work(&object)).with_context(|| address.display().to_string())
}

fn object(address: &Path) -> anyhow::Result<Object> {
    Object::parse(text(address, &STORES).context("no address of a store")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for address in ["s3://b/k", "gs://b/a b.png", "az://c/", "http://h/x", "https://h/x?y=1"] {
            assert!(is_address(Path::new(address)), "{address}");
        }
        for path in ["s3:/b/k", "s3", "ftp://h/x", "C:\\x", "rtsp://h/x", "a/s3://b"] {
            assert!(!is_address(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn signatures_are_no_part_of_a_name() {
        let name = |address| named(Path::new(address)).to_owned();
        assert_eq!(name("https://h/a.png?X-Amz-Signature=1/2.3"), Path::new("https://h/a.png"));
        assert_eq!(name("s3://b/what?.png"), Path::new("s3://b/what?.png"));
        assert_eq!(name("what?.png"), Path::new("what?.png"));
    }

    #[cfg(not(feature = "object-store"))]
    #[test]
    fn a_program_without_object_stores_says_how_to_get_them() {
        let error = format!("{:#}", read(Path::new("s3://bucket/a.png")).unwrap_err());
        assert!(error.contains("s3://bucket/a.png") && error.contains("object-store"), "{error}");
    }
}
