//! Archives from strangers: nothing outside the folder, no links, no more bytes than allowed.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Most files and folders of an archive.
const MAX_ENTRIES: usize = 1_000_000;

/// Unpacks a zip, tar, tar.gz or tar.xz, known by content, into the folder `into`.
pub(super) fn unpack(archive: &Path, into: &Path, max_bytes: u64) -> Result<()> {
    let opening = || format!("opening {}", archive.display());
    let mut file = BufReader::new(File::open(archive).with_context(opening)?);
    let mut head = Vec::new();
    file.by_ref().take(6).read_to_end(&mut head).with_context(opening)?;
    file.seek(SeekFrom::Start(0)).with_context(opening)?;
    let mut sink = Sink { into, bytes_left: max_bytes, entries_left: MAX_ENTRIES };
    let unpacked = match head.as_slice() {
        [b'P', b'K', ..] => unzip(file, &mut sink),
        [0x1f, 0x8b, ..] => untar(MultiGzDecoder::new(file), &mut sink),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => untar(XzReader::new(file, true), &mut sink),
        [b'R', b'a', b'r', b'!', ..] => {
            bail!("{}: RAR is not read, unpack it by hand", archive.display())
        }
        _ => untar(file, &mut sink),
    };
    unpacked.with_context(|| format!("unpacking {}", archive.display()))
}

fn unzip(file: BufReader<File>, sink: &mut Sink<'_>) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        ensure!(!entry.is_symlink(), "{name}: a link, none is unpacked");
        if entry.is_dir() {
            sink.folder(Path::new(&name))?;
        } else {
            sink.file(Path::new(&name), &mut entry)?;
        }
    }
    Ok(())
}

fn untar(stream: impl Read, sink: &mut Sink<'_>) -> Result<()> {
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        match entry.header().entry_type() {
            tar::EntryType::Directory => sink.folder(&name)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => sink.file(&name, &mut entry)?,
            tar::EntryType::XGlobalHeader => {}
            kind => bail!("{}: {kind:?}, only files and folders are unpacked", name.display()),
        }
    }
    Ok(())
}

/// The folder that is filled, and how much more it may take.
struct Sink<'a> {
    into: &'a Path,
    bytes_left: u64,
    entries_left: usize,
}

impl Sink<'_> {
    fn folder(&mut self, name: &Path) -> Result<()> {
        let path = self.place(name)?;
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))
    }

    /// Counts the bytes that come, whatever the archive announces.
    fn file(&mut self, name: &Path, content: &mut impl Read) -> Result<()> {
        let path = self.place(name)?;
        let writing = || format!("writing {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(writing)?;
        }
        // A new file: an archive that names one twice is refused, and nothing that lies there is followed.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&path).with_context(writing)?;
        let written = std::io::copy(&mut content.take(self.bytes_left + 1), &mut file)
            .with_context(writing)?;
        ensure!(
            written <= self.bytes_left,
            "{}: more bytes than the archive may hold",
            name.display()
        );
        self.bytes_left -= written;
        Ok(())
    }

    fn place(&mut self, name: &Path) -> Result<PathBuf> {
        ensure!(self.entries_left > 0, "more than {MAX_ENTRIES} entries");
        self.entries_left -= 1;
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let windows = name.to_string_lossy().contains(['\\', ':']);
        ensure!(
            name.components().all(inside) && !windows,
            "{}: a path that leads out of the folder",
            name.display()
        );
        Ok(self.into.join(name))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const GENEROUS: u64 = 1 << 20;

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    /// A tar of one entry whose name is written past the checks of the library.
    fn tar_of(name: &str, kind: tar::EntryType, content: &[u8], link: &str) -> Vec<u8> {
        let mut header = header(kind, content.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap()
    }

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(0);
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// Unpacks into `outer/inner` and returns the error, if any, and whether anything but `inner` and the archive is there.
    fn attempt(bytes: &[u8], max_bytes: u64) -> (Result<()>, tempfile::TempDir) {
        let outer = tempfile::tempdir().unwrap();
        let (archive, inner) = (outer.path().join("archive"), outer.path().join("inner"));
        std::fs::write(&archive, bytes).unwrap();
        std::fs::create_dir(&inner).unwrap();
        let result = unpack(&archive, &inner, max_bytes);
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 2, "something outside");
        (result, outer)
    }

    #[track_caller]
    fn refused(bytes: &[u8], max_bytes: u64, part: &str) {
        let (result, _) = attempt(bytes, max_bytes);
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn every_kind_is_unpacked() {
        let tar = tar_of("a/b.txt", tar::EntryType::Regular, b"hello", "");
        for bytes in [tar.clone(), gzip(&tar), xz(&tar), zip_of(&[("a/b.txt", b"hello")])] {
            let (result, outer) = attempt(&bytes, GENEROUS);
            result.unwrap();
            assert_eq!(std::fs::read(outer.path().join("inner/a/b.txt")).unwrap(), b"hello");
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for name in ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:evil"] {
            refused(&tar_of(name, tar::EntryType::Regular, b"x", ""), GENEROUS, "leads out");
            refused(&zip_of(&[(name, b"x")]), GENEROUS, "leads out");
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        use tar::EntryType::{Block, Char, Fifo, Link, Symlink};
        for kind in [Symlink, Link, Char, Block, Fifo] {
            refused(&tar_of("a", kind, b"", "/etc/passwd"), GENEROUS, "only files and folders");
        }
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.add_symlink("a", "/etc", zip::write::SimpleFileOptions::default()).unwrap();
        refused(&writer.finish().unwrap().into_inner(), GENEROUS, "a link");
    }

    #[test]
    fn more_bytes_than_allowed_are_refused_as_they_come() {
        let zeros = vec![0; 1 << 20];
        let tar = tar_of("zeros", tar::EntryType::Regular, &zeros, "");
        for bytes in [gzip(&tar), xz(&tar), zip_of(&[("zeros", &zeros)])] {
            assert!(bytes.len() < 8 << 10, "a small bomb");
            refused(&bytes, 1 << 19, "more bytes");
        }
        refused(&zip_of(&[("a", &zeros[..600]), ("b", &zeros[..600])]), 1000, "more bytes");
    }

    #[test]
    fn a_name_twice_and_damaged_archives_are_refused() {
        let mut twice = tar::Builder::new(Vec::new());
        for content in [b"one", b"two"] {
            let mut header = header(tar::EntryType::Regular, 3);
            twice.append_data(&mut header, "same", content.as_slice()).unwrap();
        }
        refused(&twice.into_inner().unwrap(), GENEROUS, "same");
        let zip = zip_of(&[("a", b"hello")]);
        refused(&zip[..zip.len() - 30], GENEROUS, "unpacking");
        let tar = gzip(&tar_of("a", tar::EntryType::Regular, &[7; 5000], ""));
        refused(&tar[..tar.len() / 2], GENEROUS, "unpacking");
        refused(b"Rar!\x1a\x07", GENEROUS, "RAR");
    }
}
