//! Against Pillow: see golden/generate.py and golden/edges.py.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data::{
    Limits, Preprocess, Resize, image_size, preprocess, read_image, resize_mask, resize_rgb,
};
use image::{Rgb, RgbImage};
use ndarray::Array2;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Lossy WebP, where upsampling of the chroma is left to the decoder: a level of rounding in each component, times the
/// factors of the conversion from YCbCr (up to 1.77).
const LEVELS: u8 = 4;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(golden(name)).unwrap()).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|&b| b != b'=').map(value).collect();
    let bits = |chunk: &[u8]| chunk.iter().fold(0u32, |bits, &d| bits << 6 | u32::from(d));
    digits
        .chunks(4)
        .flat_map(|chunk| {
            let bytes = (bits(chunk) << (6 * (4 - chunk.len()))).to_be_bytes();
            bytes[1..chunk.len()].to_vec()
        })
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| a.abs_diff(b)).max().unwrap_or(0)
}

/// As `picture` in generate.py.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0, 1, 2].map(|c: u32| {
            let mut h = x
                .wrapping_mul(2_654_435_761)
                .wrapping_add(y.wrapping_mul(2_246_822_519))
                .wrapping_add(c.wrapping_mul(3_266_489_917));
            h ^= h >> 15;
            h = h.wrapping_mul(2_246_822_519);
            h ^= h >> 13;
            let edge = if ((x >> 5) ^ (y >> 3) ^ c) & 1 == 1 { 255 } else { 0 };
            if ((x >> 4) + (y >> 4)) % 3 == 0 { h as u8 } else { edge }
        }))
    })
}

fn to(target: [usize; 2], resize: Resize) -> Preprocess {
    Preprocess { height: target[0], width: target[1], ..Preprocess::clip(1, resize) }
}

#[derive(Deserialize)]
struct Format {
    width: u32,
    height: u32,
    sha256: Option<String>,
    rgb: Option<String>,
}

/// What differs from the reference, if anything does.
fn difference(folder: &str, name: &str, expected: &Format) -> Option<String> {
    let (path, limits) = (golden(folder).join(name), Limits::default());
    let image = match read_image(&path, &limits) {
        Ok(image) => image,
        Err(e) => return Some(e.to_string()),
    };
    let size = (expected.width, expected.height);
    if image.dimensions() != size || image_size(&path, &limits).unwrap() != size {
        return Some(format!("{name}: {:?} pixels", image.dimensions()));
    }
    match (&expected.sha256, &expected.rgb) {
        (Some(hash), None) => (sha256(image.as_raw()) != *hash).then(|| format!("{name}: differs")),
        (None, Some(rgb)) => {
            let levels = largest_difference(image.as_raw(), &base64(rgb));
            (levels > LEVELS).then(|| format!("{name}: {levels} levels off"))
        }
        _ => Some(format!("{name}: expected a hash or samples")),
    }
}

/// Compares every file of `tests/golden/FOLDER` with FOLDER.json.
fn assert_decoded_as_expected(folder: &str) {
    let files: BTreeMap<String, Format> = read(&format!("{folder}.json"));
    assert_eq!(fs::read_dir(golden(folder)).unwrap().count(), files.len());
    let failures: Vec<String> =
        files.iter().filter_map(|(name, expected)| difference(folder, name, expected)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_format_decodes_as_pillow_decodes_it() {
    assert_decoded_as_expected("formats");
}

#[test]
fn unusual_files_of_each_format_decode_as_the_reference_decodes_them() {
    assert_decoded_as_expected("edges");
}

#[test]
fn jpeg_decodes_as_libjpeg_turbo_decodes_it_to_the_bit() {
    let hashes: BTreeMap<String, String> = read("jpeg.json");
    assert!(hashes.len() > 90);
    assert_eq!(fs::read_dir(golden("jpeg")).unwrap().count(), hashes.len());
    let differs = |(name, hash): &(&String, &String)| {
        let image = read_image(&golden("jpeg").join(name), &Limits::default()).unwrap();
        sha256(image.as_raw()) != **hash
    };
    let failures: Vec<_> = hashes.iter().filter(differs).map(|(name, _)| name).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[derive(Deserialize)]
struct Case {
    width: u32,
    height: u32,
    mode: Resize,
    target: [usize; 2],
    image: String,
    mask: String,
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    let cases: Vec<Case> = read("resize.json");
    assert!(cases.len() > 50);
    for case in cases {
        let name = format!("{} x {} {:?} {:?}", case.width, case.height, case.mode, case.target);
        let (image, p) = (picture(case.width, case.height), to(case.target, case.mode));
        assert_eq!(sha256(resize_rgb(&image, &p).as_raw()), case.image, "image {name}");
        let mask = Array2::from_shape_fn((case.height as usize, case.width as usize), |(y, x)| {
            image.get_pixel(x as u32, y as u32)[0] > 200
        });
        let resized: Vec<u8> = resize_mask(mask.view(), &p).iter().map(|&m| m.into()).collect();
        assert_eq!(sha256(&resized), case.mask, "mask {name}");
    }
}

#[derive(Deserialize)]
struct Real {
    format: String,
    mode: Resize,
    target: [usize; 2],
    read: String,
    resized: String,
}

#[test]
fn real_images_are_read_and_resized_as_by_pillow_to_the_bit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev");
    if !root.is_dir() {
        eprintln!("NOT TESTED: the real images are missing, expected {}", root.display());
        return;
    }
    let cases: BTreeMap<String, Real> = read("real.json");
    assert!(cases.len() > 250);
    assert!(cases.values().filter(|case| case.format == "JPEG").count() > 100);
    for (name, case) in cases {
        let image = read_image(&root.join(&name), &Limits::default()).unwrap();
        assert_eq!(sha256(image.as_raw()), case.read, "{name}, as read");
        let resized = resize_rgb(&image, &to(case.target, case.mode));
        assert_eq!(sha256(resized.as_raw()), case.resized, "{name}, resized");
    }
}

#[test]
fn normalisation_is_torchvisions() {
    let image = picture(40, 30);
    let p = to([24, 32], Resize::Squash);
    let (pixels, resized) = (preprocess(&image, &p), resize_rgb(&image, &p));
    assert_eq!(pixels.dim(), (3, 24, 32));
    for ((c, y, x), &value) in pixels.indexed_iter() {
        let level = f32::from(resized.get_pixel(x as u32, y as u32)[c]);
        assert_eq!(value, (level / 255.0 - p.mean[c]) / p.std[c]); // ToTensor, Normalize
    }
}
