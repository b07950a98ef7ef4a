//! Reading a corpus of crops; the file is written by the `tar` and `image` crates.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::path::Path;

use data::{Collection, Corpus, Crops, Shows, Source};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, Rgb, RgbImage};

const SIDE: u32 = 32;

fn corpus(crops: usize) -> Corpus {
    Corpus {
        seed: 3,
        side: SIDE,
        crops,
        collections: vec![Collection {
            package: "pictures".to_owned(),
            version: "1-1".to_owned(),
            licence: "CC0-1.0".to_owned(),
            attribution: "nobody".to_owned(),
        }],
        sources: vec![
            Source {
                collection: 0,
                file: "usr/share/a.jpg".to_owned(),
                shows: Shows::Photograph,
                held_out: false,
                first: 0,
                crops: crops - 1,
            },
            Source {
                collection: 0,
                file: "usr/share/b.png".to_owned(),
                shows: Shows::Texture,
                held_out: true,
                first: crops - 1,
                crops: 1,
            },
        ],
    }
}

fn jpeg(shade: u8, side: u32) -> Vec<u8> {
    let image = RgbImage::from_pixel(side, side, Rgb([shade, 40, 90]));
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode(image.as_raw(), side, side, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

fn archive(corpus: &Corpus, members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, Cursor::new(bytes)).unwrap();
    };
    append(Corpus::TABLE, &serde_json::to_vec(corpus).unwrap());
    members.iter().for_each(|(name, bytes)| append(name, bytes));
    archive.into_inner().unwrap()
}

fn members(crops: usize) -> Vec<(String, Vec<u8>)> {
    (0..crops).map(|i| (Corpus::crop_name(i), jpeg(i as u8 * 20, SIDE))).collect()
}

fn open(folder: &Path, bytes: &[u8]) -> Result<Crops, String> {
    let path = folder.join("corpus.tar");
    std::fs::write(&path, bytes).unwrap();
    Crops::open(&path).map_err(|error| {
        let text = error.to_string();
        assert!(text.starts_with(&path.display().to_string()), "{text}");
        error.cause()
    })
}

#[test]
fn every_crop_is_found_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = archive(&corpus(5), &members(5));
    let crops = open(folder.path(), &bytes).unwrap();
    assert_eq!((crops.len(), crops.corpus()), (5, &corpus(5)));
    for i in [4, 0, 3, 2, 1] {
        let image = crops.get(i).unwrap();
        assert_eq!(image.dimensions(), (SIDE, SIDE));
        let red = image.get_pixel(7, 7).0[0];
        assert!(red.abs_diff(i as u8 * 20) <= 2, "crop {i}: {red}");
        assert_eq!(crops.source(i).held_out, i == 4);
    }
    // sha256sum's answer does not depend on what was read before.
    let hash = crops.sha256().unwrap();
    assert_eq!(hash, open(folder.path(), &bytes).unwrap().sha256().unwrap());
    let other = archive(&Corpus { seed: 4, ..corpus(5) }, &members(5));
    assert_ne!(hash, open(folder.path(), &other).unwrap().sha256().unwrap());
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = archive(&corpus(3), &members(3));
    let end = bytes.len() - 1024; // two blocks of zeros end an archive
    for length in (0..end).step_by(101).chain([end - 512]) {
        let cause = open(folder.path(), &bytes[..length]).unwrap_err();
        assert!(cause.starts_with("broken corpus file: "), "{length} bytes: {cause}");
    }
    assert!(open(folder.path(), &bytes[..end]).is_ok());
}

#[test]
fn a_table_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |table: &Corpus, members: &[(String, Vec<u8>)]| {
        open(folder.path(), &archive(table, members)).unwrap_err()
    };
    let whole = corpus(3);
    assert!(refused(&corpus(4), &members(3)).contains("3 of 4 crops"));
    assert!(refused(&whole, &members(4)).contains("000003.jpg"));
    assert!(refused(&Corpus { side: 1 << 30, ..whole.clone() }, &members(3)).contains("side"));
    assert!(refused(&Corpus { crops: 2, ..whole.clone() }, &members(2)).contains("sources"));
    let mut gap = whole.clone();
    gap.sources[1].first = 1;
    assert!(refused(&gap, &members(3)).contains("b.png"));
    let mut unlisted = whole.clone();
    unlisted.sources[0].collection = 9;
    assert!(refused(&unlisted, &members(3)).contains("a.jpg"));
    let mut swapped = members(3);
    swapped.swap(0, 1);
    assert!(refused(&whole, &swapped).contains("000001.jpg"));
    let huge = vec![0; 4096 + 4 * (SIDE * SIDE) as usize + 1];
    assert!(
        refused(&corpus(2), &[(Corpus::crop_name(0), huge.clone()), ("x".into(), huge)])
            .contains("bytes")
    );
}

#[test]
fn a_crop_that_is_none_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = members(3);
    broken[1].1 = jpeg(0, SIDE - 1);
    broken[2].1.truncate(300);
    let crops = open(folder.path(), &archive(&corpus(3), &broken)).unwrap();
    assert!(crops.get(0).is_ok());
    let size = crops.get(1).unwrap_err().to_string();
    assert!(size.contains("000001.jpg") && size.contains("31 x 31"), "{size}");
    assert!(crops.get(2).unwrap_err().to_string().contains("000002.jpg"));
}
