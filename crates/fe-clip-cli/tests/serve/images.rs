//! Images to send, and what the command line says about them.

use std::path::{Path, PathBuf};
use std::process::Command;

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

/// A pattern that differs by its number.
pub(crate) fn pattern(number: u32, width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        let spot = (x / 9 + y / 7 + number).is_multiple_of(11);
        Rgb([(x * (number + 3) % 251) as u8, (y % 241) as u8, if spot { 250 } else { 90 }])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Largest difference of two answers about one image: the matrix products of a batch are rounded
/// otherwise than those of one image alone, here and on the command line.
const ROUNDING: f64 = 1e-6;

/// Compares the number or text of a field with the command line's.
pub(crate) fn assert_same(answer: &Value, line: &Value, field: &str) {
    let same = match (answer[field].as_f64(), line[field].as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= ROUNDING,
        _ => answer[field] == line[field],
    };
    assert!(same, "{field}: {answer} is not as in {line}");
}

/// Compares maps of 32-bit floats.
pub(crate) fn assert_same_map(answer: &[u8], file: &[u8]) {
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let (a, b) = (values(answer), values(file));
    assert_eq!(a.len(), b.len());
    let same = a.iter().zip(&b).all(|(a, b)| f64::from((a - b).abs()) <= ROUNDING);
    assert!(same, "the maps differ");
}

/// Compares pictures: a level at most, where a value lies on the edge between two.
pub(crate) fn assert_same_picture(answer: &[u8], file: &[u8]) {
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
    let (a, b) = (pixels(answer), pixels(file));
    assert_eq!(a.dimensions(), b.dimensions());
    let furthest = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(furthest <= Some(1), "the pictures differ by {furthest:?} levels");
}

/// A PNG whose header promises 60000 x 60000 pixels.
pub(crate) fn bomb() -> Vec<u8> {
    let mut png = pattern(0, 20, 20);
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    png
}

/// Files in a folder of their own.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What `fe-clip detect` says, run inside the folder: one value a file.
    pub(crate) fn detect(&self, flags: &[&str]) -> Vec<Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_fe-clip"))
            .current_dir(self.0.path())
            .args(["detect", "--format", "jsonl"])
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Parts of the procedural world, good and damaged, as `fe-clip synth` draws them.
    pub(crate) fn synthetic() -> Self {
        let folder = Self::new(&[]);
        let status = Command::new(env!("CARGO_BIN_EXE_fe-clip"))
            .args(["synth", "--categories", "gear", "--size", "160", "--train-normal", "3"])
            .args(["--test-normal", "1", "--test-per-defect", "1", "--out"])
            .arg(folder.path("parts"))
            .status()
            .unwrap();
        assert!(status.success());
        folder
    }
}

/// The files of a folder and its folders, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { open.push(entry) } else { found.push(entry) }
        }
    }
    found.sort();
    found
}
