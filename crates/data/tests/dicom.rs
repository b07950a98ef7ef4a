//! DICOM beside pydicom: see golden/dicom.py. What is not read is refused by its name.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data::{Limits, decode_image, find_images, image_size, read_image};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Expected {
    width: u32,
    height: u32,
    sha256: String,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn every_kind_shows_what_pydicom_shows() {
    let text = fs::read_to_string(golden("dicom.json")).unwrap();
    let files: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    assert_eq!(find_images(&golden("dicom")).unwrap().len(), files.len());
    let mut off = Vec::new();
    for (name, expected) in files {
        let (path, limits) = (golden("dicom").join(&name), Limits::default());
        let size = (expected.width, expected.height);
        assert_eq!(image_size(&path, &limits).unwrap(), size, "{name}");
        let image = read_image(&path, &limits).unwrap();
        let hash = Sha256::digest(image.as_raw());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if (image.dimensions(), hash) != (size, expected.sha256) {
            off.push(name);
        }
    }
    assert!(off.is_empty(), "{off:?}");
}

/// The file with the value of an element, found by its tag and kind, replaced.
fn changed(name: &str, tag: [u8; 4], kind: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(golden("dicom").join(name)).unwrap();
    let head = [&tag[..], kind].concat();
    let at = bytes.windows(6).position(|window| window == head).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]));
    assert!(value.len() <= length, "{length}");
    bytes[at + 8..at + 8 + length].fill(if kind == b"UI" { 0 } else { b' ' });
    bytes[at + 8..at + 8 + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn what_is_not_read_is_named() {
    let refused = |bytes: &[u8], expected: &str| {
        let error = decode_image(bytes, "x.dcm", &Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with("x.dcm: ") && error.contains(expected), "{error}");
    };
    let syntax = [2, 0, 0x10, 0];
    let uid = changed("rle_8.dcm", syntax, b"UI", b"1.2.840.10008.1.2.9");
    refused(&uid, "DICOM of a kind that is not read: transfer syntax 1.2.840.10008.1.2.9");
    let raw = changed("rle_8.dcm", syntax, b"UI", b"1.2.840.10008.1.2.1");
    refused(&raw, "its transfer syntax is not that of its pixels");
    let photometric = [0x28, 0, 4, 0];
    let palette = changed("grey_8.dcm", photometric, b"CS", b"PALETTE");
    refused(&palette, "PALETTE of 1 samples of 8 bits");
    let bits = |value: u16| changed("grey_12.dcm", [0x28, 0, 1, 1], b"US", &value.to_le_bytes());
    refused(&bits(0), "0 bits up to bit 11 in a word of 16");
    refused(&bits(13), "13 bits up to bit 11");
    let width = [0x28, 0, 0x51, 0x10];
    refused(&changed("window.dcm", width, b"DS", b"wide"), "wide is no number");
    refused(&changed("window.dcm", width, b"DS", b"0.5"), "a window of width 0.5");
    refused(&changed("sigmoid.dcm", [0x28, 0, 0x56, 0x10], b"CS", b"CURVE"), "function CURVE");
    let rows = changed("grey_8.dcm", [0x28, 0, 0x10, 0], b"US", &[0, 0]);
    refused(&rows, "it does not tell its rows");
    let rows = changed("grey_8.dcm", [0x28, 0, 0x10, 0], b"US", &[0xff, 0xff]);
    refused(&rows, "cut short");
    let small = Limits { max_pixels: 100, ..Limits::default() };
    let bytes = fs::read(golden("dicom/grey_8.dcm")).unwrap();
    let error = decode_image(&bytes, "x.dcm", &small).unwrap_err().to_string();
    assert!(error.contains("23 x 17 = 391 pixels, above the limit of 100"), "{error}");
}

/// A file that ends anywhere before its pixels do is an error, and no byte takes the reader down.
#[test]
fn broken_files_are_errors() {
    for file in find_images(&golden("dicom")).unwrap() {
        let file = file.unwrap();
        let bytes = fs::read(&file).unwrap();
        let name = file.to_string_lossy();
        for end in 0..bytes.len() - 24 {
            let found = decode_image(&bytes[..end], &name, &Limits::default());
            let error = found.err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{name}: read to {end}"));
            assert!(!error.contains("decoder failed"), "{error}");
        }
        for at in 132..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            if let Err(error) = decode_image(&bytes, &name, &Limits::default()) {
                assert!(!error.to_string().contains("decoder failed"), "{error}");
            }
        }
    }
}
