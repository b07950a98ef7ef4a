//! Kinds of files that are not read: refused by the name of the kind, before their pixels are looked at.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use data::{Error, Limits, decode_image, image_size};
use image::{GrayImage, ImageFormat, RgbImage};

/// Tags of `edges/white_is_zero.tif`, each with one number in its entry.
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const SAMPLES: u16 = 277;
/// A page of one strip does without.
const ROWS_PER_STRIP: u16 = 278;
/// Tags that the file has not.
const PREDICTOR: u16 = 317;
const INK_SET: u16 = 332;
const SAMPLE_FORMAT: u16 = 339;

/// A change of a page's tags: the entry of the first becomes one of the second with this number.
type Change = (u16, u16, u32);

/// A grey TIFF of 8 bits with changed tags.
fn tiff(changes: &[Change]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/edges/white_is_zero.tif");
    let mut bytes = fs::read(path).unwrap();
    decode_image(&bytes, "x.tif", &Limits::default()).unwrap();
    let entries = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    for (from, to, number) in changes {
        let tag = |entry: &usize| bytes[*entry..*entry + 2] == from.to_le_bytes();
        let entry = (0..entries).map(|n| 10 + 12 * n).find(tag).unwrap();
        bytes[entry..entry + 2].copy_from_slice(&to.to_le_bytes());
        bytes[entry + 8..entry + 12].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Both readers, of pixels and of the size, refuse the file by this name.
fn assert_refused(bytes: &[u8], format: &str, kind: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let expected = format!("{format} of a kind that is not read: {kind}");
    for error in [
        decode_image(bytes, "x", &Limits::default()).map(|image| image.dimensions()),
        image_size(file.path(), &Limits::default()),
    ] {
        let error = error.expect_err(&expected);
        assert!(matches!(error, Error::Unsupported { .. }), "{kind}: {error}");
        assert!(error.to_string().ends_with(&expected), "expected {expected}, got {error}");
    }
}

#[test]
fn compressions_of_tiff() {
    for (number, name) in [
        (6, "old-style JPEG compression"),
        (34661, "JBIG compression"),
        (32766, "NeXT compression"),
        (32809, "ThunderScan compression"),
        (32908, "PixarFilm compression"),
        (32909, "PixarLog compression"),
        (33005, "JPEG 2000 compression"),
        (34712, "JPEG 2000 compression"),
        (34677, "SGILog compression"),
        (34887, "LERC compression"),
        (34892, "lossy JPEG of DNG compression"),
        (50002, "JPEG XL compression"),
        (12345, "compression 12345"),
    ] {
        assert_refused(&tiff(&[(COMPRESSION, COMPRESSION, number)]), "TIFF", name);
    }
}

#[test]
fn colours_of_tiff() {
    for (number, name) in [
        (4, "a transparency mask"),
        (8, "CIE L*a*b* colours"),
        (9, "ICC L*a*b* colours"),
        (10, "ITU L*a*b* colours"),
        (32803, "a colour filter array"),
        (32844, "LogL luminance"),
        (32845, "LogLuv colours"),
        (34892, "linear raw colours"),
        (51177, "a depth map"),
        (77, "photometric interpretation 77"),
    ] {
        assert_refused(&tiff(&[(PHOTOMETRIC, PHOTOMETRIC, number)]), "TIFF", name);
    }
    let inks = [(PHOTOMETRIC, PHOTOMETRIC, 5), (SAMPLES, SAMPLES, 4), (ROWS_PER_STRIP, INK_SET, 2)];
    assert_refused(&tiff(&inks), "TIFF", "inks other than CMYK");
}

#[test]
fn samples_of_tiff() {
    let format = |number| (ROWS_PER_STRIP, SAMPLE_FORMAT, number);
    let compression = |number| (COMPRESSION, COMPRESSION, number);
    let bits = |number| (BITS, BITS, number);
    let colours = |photometric| (PHOTOMETRIC, PHOTOMETRIC, photometric);
    let predictor = |number| (ROWS_PER_STRIP, PREDICTOR, number);
    for (changes, name) in [
        (&[bits(24)][..], "integers of 24 bits"),
        (&[bits(32)], "integers of 32 bits"),
        (&[format(2)], "signed integers of 8 bits"),
        (&[format(3)], "floats of 8 bits"),
        (&[format(6)], "complex numbers"),
        (&[format(9)], "sample format 9"),
        (&[format(3), bits(32), colours(3)], "float palette indices"),
        (&[(SAMPLES, SAMPLES, 65)], "65 samples a pixel"),
        (&[compression(5), bits(12), predictor(2)], "horizontal differences of 12 bits"),
        (&[compression(8), predictor(4)], "predictor 4 of 8 bits"),
        (&[compression(3)], "CCITT compression of 1 samples of 8 bits"),
        (&[compression(7), bits(12)], "JPEG of 12 bits a sample"),
        (&[compression(7), (SAMPLES, SAMPLES, 2)], "JPEG of 2 samples"),
        (&[compression(50001)], "WebP of 1 samples of 8 bits"),
        (&[colours(6), (SAMPLES, SAMPLES, 3), bits(16)], "YCbCr of 16 bits"),
    ] {
        assert_refused(&tiff(changes), "TIFF", name);
    }
}

#[test]
fn kinds_of_jpeg() {
    let mut plain = Cursor::new(Vec::new());
    RgbImage::new(40, 30).write_to(&mut plain, ImageFormat::Jpeg).unwrap();
    let plain = plain.into_inner();
    let frame = plain.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    // Behind the mark and the length: bits, height, width, components.
    for (at, byte, name) in [
        (1, 0xc3, "lossless"),
        (1, 0xc5, "hierarchical"),
        (1, 0xcb, "lossless, arithmetic coding"),
        (1, 0xcf, "hierarchical"),
        (1, 0xf7, "JPEG-LS"),
        (4, 12, "12 bits a sample"),
        (9, 2, "2 components"),
    ] {
        let mut bytes = plain.clone();
        bytes[frame + at] = byte;
        assert_refused(&bytes, "JPEG", name);
    }
    let mut late = plain;
    late[frame + 5..frame + 7].fill(0);
    assert_refused(&late, "JPEG", "a height that stands behind the first scan");
}

#[test]
fn a_lossless_or_deep_jpeg_inside_a_tiff_is_named_when_it_is_decoded() {
    let mut strip = Cursor::new(Vec::new());
    GrayImage::new(37, 29).write_to(&mut strip, ImageFormat::Jpeg).unwrap();
    let strip = strip.into_inner();
    let frame = strip.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    for (at, byte, name) in [(1, 0xc3, "lossless"), (4, 12, "12 bits a sample")] {
        let mut bytes = tiff(&[(COMPRESSION, COMPRESSION, 7), (PHOTOMETRIC, PHOTOMETRIC, 1)]);
        // The strip is the last thing in the file; its length may be missing.
        bytes.truncate(bytes.len() - 37 * 29);
        bytes.extend_from_slice(&strip);
        let length = bytes.windows(2).position(|two| two == 279u16.to_le_bytes()).unwrap();
        bytes[length + 8..length + 12].fill(0);
        let mark = bytes.len() - strip.len() + frame;
        bytes[mark + at] = byte;
        let error = decode_image(&bytes, "x.tif", &Limits::default()).unwrap_err().to_string();
        let expected = format!("x.tif: TIFF of a kind that is not read: JPEG inside, {name}");
        assert_eq!(error, expected);
    }
}
