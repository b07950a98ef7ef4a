//! `cargo xtask download` against a server on the loopback interface.
#![allow(clippy::unwrap_used)]

mod server;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use server::Serving;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn png(side: usize, mut sample: impl FnMut(usize) -> u8) -> Vec<u8> {
    let samples: Vec<u8> = (0..side * side).map(&mut sample).collect();
    let mut file = Cursor::new(Vec::new());
    let image = image::GrayImage::from_raw(side as u32, side as u32, samples).unwrap();
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Kvasir-SEG in one folder, two images of noise and their masks: more than 300,000 bytes.
fn entries() -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 1u32;
    let mut noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mask = || png(400, |i| if i % 400 < 90 { 255 } else { 0 });
    vec![
        ("Kvasir-SEG/images/a.png", png(400, &mut noise)),
        ("Kvasir-SEG/images/b.png", png(400, &mut noise)),
        ("Kvasir-SEG/masks/a.png", mask()),
        ("Kvasir-SEG/masks/b.png", mask()),
    ]
}

fn zip_of(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A folder for data sets in one that must hold nothing else.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("sets")
    }

    fn download(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["download", "kvasir", "--root"]).arg(self.root()).args(args);
        let output = command.output().unwrap();
        let beside: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(beside.iter().all(|name| name == "sets"), "something outside: {beside:?}");
        output
    }

    /// What is there, hidden things too.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root()) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn assert_installed(&self) {
        for (name, content) in entries() {
            let path = self
                .root()
                .join("kvasir")
                .join(Path::new(name).strip_prefix("Kvasir-SEG").unwrap());
            assert_eq!(fs::read(path).unwrap(), content, "{name}");
        }
    }
}

#[track_caller]
fn assert_done(output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[track_caller]
fn assert_refused(output: &Output, part: &str) {
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(part), "no {part} in {said}");
}

#[test]
fn a_broken_connection_is_resumed_and_the_set_unpacked() {
    let (place, archive) = (Place::new(), zip_of(&entries()));
    assert!(archive.len() > 300_000);
    let server = Serving { cut: 150_000, ..Serving::whole(&archive) }.start();
    let said = assert_done(&place.download(&["--url", &server.url, "--sha256", &sha256(&archive)]));
    assert!(said.contains("is right") && said.contains("2 images, 0 problems"), "{said}");
    place.assert_installed();
    assert_eq!(place.names(), ["kvasir", "set.zip"]);
    assert_eq!(server.asked()[..3], ["all", "bytes=150000-", "bytes=300000-"]);

    // Once more: it is there, and nothing is asked for.
    let before = server.asked().len();
    assert!(assert_done(&place.download(&["--url", &server.url])).contains("2 images"));
    assert_eq!(server.asked().len(), before);
}

#[test]
fn the_next_run_goes_on_where_one_gave_up() {
    let (place, archive) = (Place::new(), zip_of(&entries()));
    let server = Serving { cut: 20_000, ..Serving::whole(&archive) }.start();
    assert_refused(&place.download(&["--url", &server.url]), "goes on where this one stopped");
    assert_eq!(place.names(), ["set.zip.part", "set.zip.validator"]);
    let server = Serving::whole(&archive).start();
    assert_done(&place.download(&["--url", &server.url]));
    assert_eq!(server.asked(), ["bytes=100000-"]);
    place.assert_installed();
}

#[test]
fn a_part_of_an_older_file_is_fetched_anew_and_a_whole_one_kept() {
    let archive = zip_of(&entries());
    for (part, validator) in [(&b"old bytes"[..], "\"old\""), (&archive, "\"one\"")] {
        let place = Place::new();
        fs::create_dir(place.root()).unwrap();
        fs::write(place.root().join("set.zip.part"), part).unwrap();
        fs::write(place.root().join("set.zip.validator"), validator).unwrap();
        let server = Serving::whole(&archive).start();
        assert_done(&place.download(&["--url", &server.url]));
        assert_eq!(server.asked(), [format!("bytes={}-", part.len())]);
        place.assert_installed();
    }
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    let (place, archive) = (Place::new(), zip_of(&entries()));
    let server = Serving::whole(&archive).start();
    let wrong = sha256(b"another");
    assert_refused(&place.download(&["--url", &server.url, "--sha256", &wrong]), &wrong);
    assert!(place.names().is_empty(), "{:?}", place.names());
    // One's own archive stays.
    let own = tempfile::NamedTempFile::new().unwrap();
    fs::write(own.path(), &archive).unwrap();
    let path = own.path().to_str().unwrap();
    assert_refused(&place.download(&["--archive", path, "--sha256", &wrong]), &wrong);
    assert_eq!(fs::read(path).unwrap(), archive);
    assert_done(&place.download(&["--archive", path, "--sha256", &sha256(&archive)]));
    place.assert_installed();
}

#[test]
fn hostile_archives_are_refused() {
    let mut slipping = entries();
    slipping.push(("../evil", b"x".to_vec()));
    let mut linked = ZipWriter::new(Cursor::new(Vec::new()));
    linked.add_symlink("Kvasir-SEG/images", "/etc", SimpleFileOptions::default()).unwrap();
    let linked = linked.finish().unwrap().into_inner();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "Kvasir-SEG", "/").unwrap();
    let tar = tar.into_inner().unwrap();
    let other = zip_of(&[("readme.txt", b"no data set".to_vec())]);
    for (archive, part) in [
        (zip_of(&slipping), "leads out of the folder"),
        (linked, "a link"),
        (tar, "only files and folders"),
        (other, "does not hold kvasir"),
    ] {
        let place = Place::new();
        let server = Serving::whole(&archive).start();
        assert_refused(&place.download(&["--url", &server.url]), part);
        assert_eq!(place.names(), ["set.zip"], "nothing half unpacked stays");
    }
}

#[test]
fn sizes_are_bounded_whatever_is_announced() {
    let archive = zip_of(&entries());
    for length in [true, false] {
        let place = Place::new();
        let server = Serving { length, ..Serving::whole(&archive) }.start();
        let output = place.download(&["--url", &server.url, "--max-gib", "0"]);
        assert_refused(&output, "more than 0 bytes");
        assert_eq!(server.asked(), ["all"], "trying again does not help");
        assert!(place.names().is_empty(), "{:?}", place.names());
    }
    let own = tempfile::NamedTempFile::new().unwrap();
    fs::write(own.path(), &archive).unwrap();
    let place = Place::new();
    let output = place.download(&["--archive", own.path().to_str().unwrap(), "--max-gib", "0"]);
    assert_refused(&output, "more bytes than the archive may hold");
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn what_needs_a_login_is_explained() {
    let place = Place::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output =
        command.args(["download", "mvtec-ad", "--root"]).arg(place.root()).output().unwrap();
    let said = assert_done(&output);
    for part in ["MVTec", "licence:", "https://", "--archive FILE"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(place.names().is_empty());
}
