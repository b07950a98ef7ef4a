//! Archives whose bytes depend on nothing but what they hold and the time that is given.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use lzma_rust2::{XzOptions, XzWriter};

/// A file of an archive.
#[derive(Clone)]
pub(super) struct Entry {
    /// Below the root, without a leading slash.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) content: Vec<u8>,
}

/// A tar of files and the folders that they lie in, sorted by path, all of root's. Names begin
/// with `prefix`.
pub(super) fn tar_below(prefix: &str, entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut folders = BTreeSet::new();
    for entry in entries {
        let above = Path::new(&entry.path).ancestors().skip(1);
        let above = above.filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(above.map(|folder| folder.display().to_string() + "/"));
    }
    let folders = folders.iter().map(|path| (path.as_str(), None));
    let files = entries.iter().map(|entry| (entry.path.as_str(), Some(entry)));
    let mut members: Vec<(&str, Option<&Entry>)> = folders.chain(files).collect();
    members.sort_by_key(|(path, _)| *path);

    let mut builder = tar::Builder::new(Vec::new());
    if !prefix.is_empty() {
        append(&mut builder, prefix, None, time)?;
    }
    for (path, entry) in members {
        append(&mut builder, &format!("{prefix}{path}"), entry, time)?;
    }
    Ok(builder.into_inner()?)
}

/// A tar whose names begin with those of the entries.
pub(super) fn tar(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    tar_below("", entries, time)
}

/// A folder where there is no entry.
fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &str,
    entry: Option<&Entry>,
    time: u64,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    let (kind, mode, content) = match entry {
        Some(entry) => (tar::EntryType::Regular, entry.mode, &entry.content[..]),
        None => (tar::EntryType::Directory, 0o755, &[][..]),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    // The library's own way drops the `./` that dpkg expects.
    let name = &mut header.as_old_mut().name;
    let place = name.get_mut(..path.len()).with_context(|| format!("{path}: a long name"))?;
    place.copy_from_slice(path.as_bytes());
    header.set_cksum();
    Ok(builder.append(&header, content)?)
}

/// Compressed by xz.
pub(super) fn xz(content: &[u8]) -> Result<Vec<u8>> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(6))?;
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

/// Compressed by gzip, without a name or a time.
pub(super) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

/// An archive of `ar`, which a Debian package is.
pub(super) fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let head =
            format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 100644, content.len());
        archive.extend(head.into_bytes());
        archive.extend(*content);
        if content.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_tar_has_its_folders_in_order_and_nothing_of_this_machine() {
        let entry = |path: &str, mode| Entry { path: path.into(), mode, content: path.into() };
        let entries = [entry("usr/share/b", 0o644), entry("usr/bin/a", 0o755), entry("etc", 0o600)];
        let bytes = tar_below("./", &entries, 1_700_000_000).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            assert_eq!((header.uid().unwrap(), header.username().unwrap()), (0, Some("root")));
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert!(name.ends_with('/') || name[2..] == content);
            found.push((name, header.mode().unwrap()));
        }
        let expected = [
            ("./", 0o755),
            ("./etc", 0o600),
            ("./usr/", 0o755),
            ("./usr/bin/", 0o755),
            ("./usr/bin/a", 0o755),
            ("./usr/share/", 0o755),
            ("./usr/share/b", 0o644),
        ];
        assert_eq!(found, expected.map(|(name, mode)| (name.to_owned(), mode)));
        let long = Entry { path: "x".repeat(101), mode: 0, content: Vec::new() };
        assert!(tar(&[long], 0).unwrap_err().to_string().contains("a long name"));
    }

    #[test]
    fn members_of_ar_begin_at_even_places() {
        let archive = ar(&[("one", b"abc"), ("two", b"d")], 7);
        let head = "!<arch>\none             7           0     0     100644  3         `\nabc\n";
        assert_eq!(String::from_utf8(archive[..head.len()].to_vec()).unwrap(), head);
        assert_eq!(archive.len(), head.len() + 60 + 2);
    }
}
