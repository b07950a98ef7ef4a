//! A small tree of packages to a corpus and a data set, without a network.

use std::path::Path;

use data::{Crops, Layout, Shows};
use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::corpus::{Order, write};
use super::package::Tree;
use super::table::Table;

const TABLE: &str = r#"
licences = ["CC0-1.0", "CC-BY-SA-4.0"]
skip = ["*_n.*"]

[[package]]
name = "walls"
root = "usr/share/walls"
[[package.files]]
glob = ["held/*"]
shows = "texture"
held_out = true
[[package.files]]
glob = ["things/*"]
shows = "cutout"
weight = 4.0
licence = "CC0-1.0"
attribution = "Cy"
[[package.files]]
glob = ["*"]
shows = "photograph"
"#;

const COPYRIGHT: &str = "Format: x\n\nFiles: *\nCopyright: 2020 Ann <ann@example.org>\nLicense: CC0-1.0\n\n\
    Files: share/*\nCopyright: 2021 Bob\nLicense: CC-BY-SA-4.0\n\n\
    Files: closed/*\nCopyright: 2021 Eve\nLicense: CC-BY-NC-4.0\n";

/// A picture with something to see everywhere.
fn rough(side: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        let hash = (x / 3 * 7919 + y / 3 * 104_729 + seed).wrapping_mul(2_654_435_761) >> 25;
        Rgb([60 + hash as u8, 40 + hash as u8 / 2, 90])
    })
}

fn tree(folder: &Path) -> Tree {
    let root = folder.join("usr/share/walls");
    for part in ["held", "things", "share", "closed"] {
        std::fs::create_dir_all(root.join(part)).unwrap();
    }
    for i in 0..2 {
        rough(160, i).save(root.join(format!("held/wall{i}.png"))).unwrap();
    }
    rough(300, 3).save(root.join("share/street.png")).unwrap();
    rough(300, 4).save(root.join("share/street_n.png")).unwrap();
    rough(300, 5).save(root.join("closed/secret.png")).unwrap();
    rough(40, 6).save(root.join("small.png")).unwrap();
    RgbImage::from_pixel(300, 300, Rgb([90, 140, 230])).save(root.join("sky.png")).unwrap();
    std::fs::write(root.join("torn.png"), b"\x89PNG\r\n\x1a\n and no more").unwrap();
    RgbaImage::from_fn(60, 40, |x, _| Rgba([200, 30, 30, if x < 30 { 255 } else { 0 }]))
        .save(root.join("things/flag.png"))
        .unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("street.png", root.join("share/again.png")).unwrap();
    let doc = folder.join("usr/share/doc/walls");
    std::fs::create_dir_all(&doc).unwrap();
    std::fs::write(doc.join("copyright"), COPYRIGHT).unwrap();
    Tree { path: folder.to_path_buf(), version: "1.0-1".to_owned() }
}

const ORDER: Order = Order { crops: 120, side: 96, seed: 5 };

#[test]
fn a_tree_becomes_a_corpus_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let trees = [tree(&folder.path().join("tree"))];
    let table: Table = toml::from_str(TABLE).unwrap();
    let out = folder.path().join("a.tar");
    let written = write(&out, &table, &trees, &ORDER).unwrap();
    let crops = Crops::open(&out).unwrap();
    assert_eq!(crops.corpus(), &written);
    let files: Vec<(&str, Shows, bool)> =
        written.sources.iter().map(|s| (s.file.as_str(), s.shows, s.held_out)).collect();
    // Left out: without a licence to take, too small, nothing to see, torn, a link, a map of normals.
    assert_eq!(
        files,
        [
            ("usr/share/walls/held/wall0.png", Shows::Texture, true),
            ("usr/share/walls/held/wall1.png", Shows::Texture, true),
            ("usr/share/walls/share/street.png", Shows::Photograph, false),
            ("usr/share/walls/things/flag.png", Shows::Cutout, false),
        ]
    );
    let of = |i: usize| &written.collections[written.sources[i].collection];
    assert_eq!((of(0).licence.as_str(), of(0).attribution.as_str()), ("CC0-1.0", "2020 Ann"));
    assert_eq!((of(2).licence.as_str(), of(2).attribution.as_str()), ("CC-BY-SA-4.0", "2021 Bob"));
    assert_eq!((of(3).version.as_str(), of(3).attribution.as_str()), ("1.0-1", "Cy"));
    for i in 0..crops.len() {
        assert_eq!(crops.get(i).unwrap().dimensions(), (96, 96));
    }
    let flag = written.sources[3].first;
    let red = |p: &Rgb<u8>| p.0[0] > 170 && p.0[1] < 60;
    assert!(crops.get(flag).unwrap().pixels().any(red), "the flag lies on a crop");

    let again = folder.path().join("b.tar");
    write(&again, &table, &trees, &ORDER).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    assert!(bytes == std::fs::read(&again).unwrap(), "the same seed gives the same bytes");
    write(&again, &table, &trees, &Order { seed: 6, ..ORDER }).unwrap();
    assert!(bytes != std::fs::read(&again).unwrap(), "another seed gives other bytes");

    std::fs::write(&again, &bytes[..bytes.len() / 2]).unwrap();
    let error = Crops::open(&again).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");

    let document = super::attribution::document(&written);
    for part in
        ["CC-BY-SA-4.0 | 2021 Bob | 1 |", "walls: `usr/share/walls/held/wall1.png`", "seed 5"]
    {
        assert!(document.contains(part), "{part} in\n{document}");
    }
}

#[test]
fn held_out_textures_become_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let trees = [tree(&folder.path().join("tree"))];
    let table: Table = toml::from_str(TABLE).unwrap();
    let (tar, out) = (folder.path().join("a.tar"), folder.path().join("set"));
    let written = write(&tar, &table, &trees, &ORDER).unwrap();
    let args = |held_out: bool| crate::damaged_photographs::Args {
        photographs: tar.clone(),
        out: out.clone(),
        held_out,
        seed: 1,
    };
    let error = crate::damaged_photographs::run(&args(false)).unwrap_err().to_string();
    assert!(error.contains("0 textures"), "{error}");
    crate::damaged_photographs::run(&args(true)).unwrap();
    let scan = data::scan(Layout::MvtecAd, &out).unwrap();
    assert!(scan.problems.is_empty(), "{:?}", scan.problems);
    let categories: std::collections::BTreeSet<&str> =
        scan.samples.iter().map(|s| s.category.as_str()).collect();
    let second = format!("wall1_{}", written.sources[1].first);
    assert_eq!(categories.into_iter().collect::<Vec<_>>(), ["wall0_0", second.as_str()]);
    let damaged: Vec<_> = scan.samples.iter().filter_map(|s| s.defect.as_ref()).collect();
    assert!(damaged.len() >= 24, "{} damaged pictures", damaged.len());
    for defect in damaged {
        let path = defect.mask.as_ref().expect("a mask");
        let mask = data::read_mask_of((96, 96), path, &data::Limits::default()).unwrap();
        assert!(mask.iter().any(|&m| m), "{}", path.display());
    }
    let error = crate::damaged_photographs::run(&args(true)).unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");
}
