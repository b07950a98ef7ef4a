//! What must be refused, and the rules for masks.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use data::{Error, Limits, decode_image, image_size, read_image, read_mask};
use image::{GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};
use tempfile::TempDir;

fn picture() -> RgbImage {
    RgbImage::from_fn(64, 48, |x, y| Rgb([(x * 4) as u8, (y * 5) as u8, (x * y) as u8]))
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP];

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for format in FORMATS {
        let whole = encoded(format);
        assert_eq!(
            decode_image(&whole, "whole", &Limits::default()).unwrap().dimensions(),
            (64, 48)
        );
        for part in [0, 1, 10, whole.len() / 4, whole.len() / 2, whole.len() - whole.len() / 20 - 1]
        {
            let error = decode_image(&whole[..part], "cut.jpg", &Limits::default());
            let message = error.expect_err(&format!("{format:?} cut at {part}")).to_string();
            assert!(message.starts_with("cut.jpg: "), "{message}");
        }
    }
}

#[test]
fn a_jpeg_without_its_end_is_an_error() {
    let whole = encoded(ImageFormat::Jpeg);
    for cut in 1..200 {
        let error = decode_image(&whole[..whole.len() - cut], "cut", &Limits::default());
        assert!(matches!(error, Err(Error::Broken { .. })), "cut by {cut}");
    }
    // the end of a thumbnail in the header is not the end of the image
    let mut thumbnail = vec![0xff, 0xd8, 0xff, 0xe1, 0, 8, b'a', b'b', 0xff, 0xd9, 0, 0];
    thumbnail.extend_from_slice(&whole[2..]);
    assert!(decode_image(&thumbnail, "whole", &Limits::default()).is_ok());
    thumbnail.truncate(thumbnail.len() - 3);
    assert!(decode_image(&thumbnail, "cut", &Limits::default()).is_err());
}

#[test]
fn ink_of_unusual_sampling_is_an_error() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/jpeg/16x16_cmyk.jpg");
    let whole = fs::read(path).unwrap();
    let frame = whole.windows(2).position(|w| w == [0xff, 0xc2]).unwrap();
    for component in 0..4 {
        let mut bytes = whole.clone();
        bytes[frame + 11 + 3 * component] = 0x21;
        let error = decode_image(&bytes, "ink.jpg", &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. } | Error::Broken { .. }), "{error}");
    }
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    // 60000 x 60000 pixels announced in a few bytes
    let mut png = encoded(ImageFormat::Png);
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut bmp = encoded(ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000i32.to_le_bytes());
    let mut jpeg = encoded(ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    for bytes in [png, bmp, jpeg] {
        let error = decode_image(&bytes, "bomb", &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("60000 x 60000"), "{error}");
    }
    for format in FORMATS {
        let bytes = encoded(format);
        let few_pixels = Limits { max_pixels: 64 * 48 - 1, ..Limits::default() };
        let few_bytes = Limits { max_bytes: 64 * 48 * 3, ..Limits::default() };
        for limits in [few_pixels, few_bytes] {
            let error = decode_image(&bytes, "large", &limits).unwrap_err();
            assert!(matches!(error, Error::TooLarge { .. }), "{format:?}: {error}");
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn other_things_are_named_for_what_they_are() {
    for (bytes, part) in [
        (&b""[..], "the file is empty"),
        (b"GIF89a........", "GIF"),
        (b"<html></html>", "3c"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
    ] {
        let error = decode_image(bytes, "x.png", &Limits::default()).unwrap_err().to_string();
        assert!(
            error.contains("x.png") && error.contains("not an image") && error.contains(part),
            "{error}"
        );
    }
    let folder = TempDir::new().unwrap();
    assert!(matches!(read_image(folder.path(), &Limits::default()), Err(Error::Io { .. })));
    let missing = folder.path().join("missing.png");
    let error = read_image(&missing, &Limits::default()).unwrap_err();
    assert_eq!(error.path(), missing);
    assert!(error.cause().starts_with("No such file"), "{}", error.cause());
    let large = folder.path().join("large.png");
    fs::write(&large, vec![0; 5000]).unwrap();
    let error = read_image(&large, &Limits { max_bytes: 4096, ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("a file of 5000 bytes"), "{error}");
}

#[test]
fn a_jpeg_strip_larger_than_its_page_is_refused_before_it_is_decoded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/tiff_jpeg.tif");
    let mut bytes = fs::read(path).unwrap();
    decode_image(&bytes, "x.tif", &Limits::default()).unwrap();
    let frame = bytes.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    // Height and width follow length and precision.
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x3f, 0xff]);
    let error = decode_image(&bytes, "x.tif", &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("x.tif") && error.contains("JPEG part 0"), "{error}");
    assert!(error.contains("16383 x 8192 pixels in a place of 21 x 18"), "{error}");
}

#[test]
fn float_samples_outside_every_range_are_an_error() {
    let folder = TempDir::new().unwrap();
    for (name, samples) in
        [("nan", [0.5f32, f32::NAN]), ("negative", [0.5, -0.5]), ("large", [1.0, 1e6])]
    {
        let path = folder.path().join(name);
        let file = fs::File::create(&path).unwrap();
        let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
        encoder.write_image::<tiff::encoder::colortype::Gray32Float>(2, 1, &samples).unwrap();
        let error = read_image(&path, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::FloatRange { .. }), "{name}: {error}");
        assert_eq!(image_size(&path, &Limits::default()).unwrap(), (2, 1));
    }
}

fn mask_of(name: &str, save: impl FnOnce(&PathBuf)) -> Vec<bool> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    save(&path);
    read_mask(&path, &Limits::default()).unwrap().into_iter().collect()
}

#[test]
fn class_numbers_and_colours_count_as_anomalous() {
    let classes =
        |path: &PathBuf| GrayImage::from_raw(4, 1, vec![0, 1, 9, 255]).unwrap().save(path).unwrap();
    assert_eq!(mask_of("classes.png", classes), [false, true, true, true]);
    let words = |path: &PathBuf| {
        let image: ImageBuffer<Luma<u16>, _> =
            ImageBuffer::from_raw(4, 1, vec![0u16, 1, 255, 65535]).unwrap();
        image.save(path).unwrap();
    };
    assert_eq!(mask_of("words.png", words), [false, true, true, true]);
    let blue = |path: &PathBuf| {
        RgbImage::from_raw(2, 1, vec![0, 0, 0, 0, 0, 1]).unwrap().save(path).unwrap()
    };
    assert_eq!(mask_of("colours.bmp", blue), [false, true]);
}

#[test]
fn soft_edges_are_cut_in_the_middle() {
    let ramp: Vec<u8> = (0..=255).collect();
    let save =
        |path: &PathBuf| GrayImage::from_raw(256, 1, ramp.clone()).unwrap().save(path).unwrap();
    let expected: Vec<bool> = ramp.iter().map(|&level| level > 127).collect();
    assert_eq!(mask_of("ramp.png", save), expected);
    let noise = GrayImage::from_fn(32, 32, |x, _| Luma([if x < 16 { 5 } else { 250 }]));
    let mask = mask_of("noise.jpg", |path| noise.save(path).unwrap());
    assert_eq!(mask.iter().filter(|&&m| m).count(), 512);
}
