//! The procedural world: the same everywhere, masks exact, captions true, files in their places.

use std::collections::BTreeSet;
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synthetic::{
    DefectKind, Error, HELD_OUT, Request, Scene, WriteOptions, caption, categories, region_caption,
    render, write_dataset,
};

fn scene(category: usize, size: u32, scene_seed: u64, defect: Option<(DefectKind, u64)>) -> Scene {
    render(&Request { category, size, scene_seed, defect })
}

fn index(name: &str) -> usize {
    categories().iter().position(|c| c.name == name).expect("a category")
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn pixels_are_fixed() {
    let bytes = |size, seed| {
        (0..categories().len()).flat_map(move |category| {
            let kind = DefectKind::ALL[category % DefectKind::ALL.len()];
            let scene = scene(category, size, seed, Some((kind, 3)));
            let mask: Vec<u8> = scene.mask.iter().map(|&m| u8::from(m)).collect();
            scene.image.into_raw().into_iter().chain(mask)
        })
    };
    assert_eq!(hash(bytes(64, 1)), PIXELS_64, "raise GENERATOR in dataset.rs when pixels change");
    assert_eq!(hash(bytes(100, 2)), PIXELS_100);
}

const PIXELS_64: u64 = 14680494032607767130;
const PIXELS_100: u64 = 13386232031521425559;

#[test]
fn every_category_bears_every_kind() {
    for category in 0..categories().len() {
        for (i, kind) in DefectKind::ALL.into_iter().enumerate() {
            let scene = scene(category, 96, i as u64, Some((kind, 9)));
            let name = categories()[category].name;
            let count = scene.mask.iter().filter(|&&m| m).count();
            assert!(count > 0, "{name}, {}: empty mask", kind.name());
            assert!(count < 96 * 96 / 2, "{name}, {}: {count} pixels", kind.name());
            assert!(scene.defect.is_some());
        }
    }
}

#[test]
fn kinds_that_cannot_occur_are_replaced() {
    let drawn = |name, kind| scene(index(name), 64, 1, Some((kind, 1))).defect;
    assert_eq!(drawn("leather", DefectKind::MissingPart), Some(DefectKind::Hole));
    assert_eq!(drawn("leather", DefectKind::MisplacedPart), Some(DefectKind::Deformation));
    assert_eq!(drawn("leather", DefectKind::Corrosion), Some(DefectKind::Stain));
    assert_eq!(drawn("screw", DefectKind::Corrosion), Some(DefectKind::Corrosion));
    assert_eq!(drawn("gum", DefectKind::MissingPart), Some(DefectKind::MissingPart));
}

#[test]
fn pictures_differ_only_about_the_mask() {
    const SIZE: usize = 128;
    // A compressed block of 8 carries a change that far, and sharpening a pixel further.
    const REACH: usize = 10;
    for category in 0..categories().len() {
        for seed in 0..4u64 {
            let kind = DefectKind::ALL[(category * 5 + seed as usize * 7) % DefectKind::ALL.len()];
            let normal = scene(category, SIZE as u32, seed, None);
            let damaged = scene(category, SIZE as u32, seed, Some((kind, seed)));
            assert!(normal.mask.iter().all(|&m| !m));
            assert!(normal.defect.is_none());
            let near = |x: usize, y: usize| {
                let rows = y.saturating_sub(REACH)..(y + REACH + 1).min(SIZE);
                rows.flat_map(|j| {
                    (x.saturating_sub(REACH)..(x + REACH + 1).min(SIZE)).map(move |i| (j, i))
                })
                .any(|(j, i)| damaged.mask[[j, i]])
            };
            let mut changed = (0usize, 0usize);
            for y in 0..SIZE {
                for x in 0..SIZE {
                    let (a, b) = (
                        normal.image.get_pixel(x as u32, y as u32),
                        damaged.image.get_pixel(x as u32, y as u32),
                    );
                    if damaged.mask[[y, x]] {
                        changed = (changed.0 + usize::from(a != b), changed.1 + 1);
                    } else if a != b {
                        let name = categories()[category].name;
                        assert!(
                            near(x, y),
                            "{name}, {}: ({x}, {y}) far from the mask",
                            kind.name()
                        );
                    }
                }
            }
            assert!(changed.0 * 10 >= changed.1 * 6, "{changed:?} of the mask changed");
        }
    }
}

#[test]
fn seeds_make_variety() {
    let leather = index("leather");
    let hashes: BTreeSet<u64> =
        (0..20).map(|s| hash(scene(leather, 32, s, None).image.into_raw())).collect();
    assert_eq!(hashes.len(), 20);
    let masks: BTreeSet<u64> = (0..20)
        .map(|s| {
            hash(
                scene(leather, 64, 1, Some((DefectKind::Stain, s)))
                    .mask
                    .iter()
                    .map(|&m| u8::from(m)),
            )
        })
        .collect();
    assert!(masks.len() >= 19);
}

#[test]
fn defects_span_sizes_and_contrasts() {
    const SIZE: u32 = 96;
    let (mut shares, mut contrasts) = (Vec::new(), Vec::new());
    for seed in 0..400u64 {
        let category = seed as usize % categories().len();
        let kind = DefectKind::ALL[seed as usize % DefectKind::ALL.len()];
        let damaged = scene(category, SIZE, seed, Some((kind, seed)));
        let normal = scene(category, SIZE, seed, None);
        let (mut count, mut sum) = (0.0f64, 0.0);
        for ((y, x), _) in damaged.mask.indexed_iter().filter(|(_, m)| **m) {
            let (a, b) = (
                damaged.image.get_pixel(x as u32, y as u32),
                normal.image.get_pixel(x as u32, y as u32),
            );
            sum += (0..3).map(|k| f64::from(a.0[k].abs_diff(b.0[k]))).sum::<f64>() / 3.0;
            count += 1.0;
        }
        shares.push(count / f64::from(SIZE * SIZE));
        contrasts.push(sum / count);
    }
    shares.sort_by(f64::total_cmp);
    contrasts.sort_by(f64::total_cmp);
    assert!(shares[20] < 0.005, "the small ones cover {}", shares[20]);
    assert!(shares[380] > 0.08, "the large ones cover {}", shares[380]);
    assert!(contrasts[20] < 14.0, "the faint ones differ by {}", contrasts[20]);
    assert!(contrasts[380] > 50.0, "the plain ones differ by {}", contrasts[380]);
}

#[test]
fn categories_are_many_and_named_once() {
    let names: BTreeSet<&str> = categories().iter().map(|c| c.name).collect();
    assert_eq!(names.len(), categories().len());
    assert!(categories().iter().filter(|c| c.texture).count() >= 14);
    assert!(categories().iter().filter(|c| !c.texture).count() >= 10);
    let held: Vec<bool> = HELD_OUT.iter().map(|name| categories()[index(name)].texture).collect();
    assert!(held.iter().filter(|&&t| t).count() >= 3 && held.iter().filter(|&&t| !t).count() >= 3);
    let kinds: BTreeSet<&str> = DefectKind::ALL.iter().map(|k| k.name()).collect();
    assert_eq!(kinds.len(), DefectKind::ALL.len());
}

const GOOD: [&str; 10] = [
    "normal",
    "flawless",
    "perfect",
    "intact",
    "undamaged",
    "clean",
    "unblemished",
    "good object",
    "without",
    "no defects",
];
const BAD: [&str; 9] = [
    "damaged",
    "broken",
    "defective",
    "flawed",
    "faulty",
    "imperfect",
    "blemished",
    "anomalous",
    "abnormal",
];

fn says(text: &str, words: &[&str]) -> bool {
    words.iter().any(|w| {
        // Whole words: "undamaged" does not say "damaged".
        text.match_indices(w).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphabetic()))
    })
}

#[test]
fn captions_tell_the_truth() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut seen = BTreeSet::new();
    for category in 0..categories().len() {
        for defect in [None, Some((DefectKind::Scratch, 1))] {
            let scene = scene(category, 48, 3, defect);
            for _ in 0..200 {
                let text = caption(&scene, &mut rng);
                let region = region_caption(scene.defect, category, &mut rng);
                for text in [&text, &region] {
                    let wrong = if scene.defect.is_some() { &GOOD[..] } else { &BAD[..] };
                    assert!(!says(text, wrong), "{text:?} of {:?}", scene.defect);
                    assert!(
                        !text.contains("  ") && !text.contains("a a ") && !text.ends_with(' '),
                        "{text:?}"
                    );
                    if scene.defect.is_none() {
                        assert!(!text.contains("scratch"), "{text:?}");
                    }
                }
                seen.insert(text);
            }
        }
    }
    assert!(
        seen.contains("A photo of a normal object") && seen.contains("A photo of a damaged object")
    );
    assert!(seen.iter().any(|t| t.contains("with a scratch")));
    assert!(seen.len() > 4000, "{} different captions", seen.len());
    let neither =
        seen.iter().filter(|t| !says(t, &GOOD) && !says(t, &BAD) && !t.contains(" with ")).count();
    assert!(neither > 200, "{neither} captions name neither state nor defect");
}

fn options() -> WriteOptions {
    WriteOptions {
        seed: 4,
        size: 48,
        train_normal: 2,
        test_normal: 1,
        test_per_defect: 1,
        categories: vec![index("leather"), index("screw")],
        defects: vec![DefectKind::Scratch, DefectKind::MissingPart],
    }
}

fn files(root: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name =
                    path.strip_prefix(root).expect("readable").to_string_lossy().replace('\\', "/");
                found.push((name, hash(std::fs::read(&path).expect("readable"))));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_data_set_has_the_layout_of_mvtec_ad() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    let last = std::sync::Mutex::new((0, 0));
    write_dataset(&out, &options(), |done, all| {
        let mut last = last.lock().unwrap();
        *last = (last.0.max(done), all);
    })
    .unwrap();
    assert_eq!(*last.lock().unwrap(), (9, 9));
    let written = files(&out);
    let names: Vec<&str> = written.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "leather/ground_truth/scratch/000_mask.png",
            "leather/test/good/000.png",
            "leather/test/scratch/000.png",
            "leather/train/good/000.png",
            "leather/train/good/001.png",
            "screw/ground_truth/missing_part/000_mask.png",
            "screw/ground_truth/scratch/000_mask.png",
            "screw/test/good/000.png",
            "screw/test/missing_part/000.png",
            "screw/test/scratch/000.png",
            "screw/train/good/000.png",
            "screw/train/good/001.png",
            "synthetic.json",
        ]
    );
    let mask =
        image::open(out.join("screw/ground_truth/scratch/000_mask.png")).unwrap().into_luma8();
    assert_eq!(mask.dimensions(), (48, 48));
    assert!(
        mask.pixels().all(|p| p.0[0] == 0 || p.0[0] == 255) && mask.pixels().any(|p| p.0[0] == 255)
    );

    // A lost file is written again, the same; another set is not mixed in.
    std::fs::remove_file(out.join("screw/test/good/000.png")).unwrap();
    write_dataset(&out, &options(), |_, _| ()).unwrap();
    assert_eq!(files(&out), written);
    let other = WriteOptions { seed: 5, ..options() };
    assert!(
        matches!(write_dataset(&out, &other, |_, _| ()), Err(Error::Occupied(path)) if path == out)
    );
    let stranger = folder.path().join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join("thesis.txt"), "keep").unwrap();
    assert!(matches!(write_dataset(&stranger, &options(), |_, _| ()), Err(Error::Occupied(_))));
    assert!(matches!(
        write_dataset(
            &folder.path().join("big"),
            &WriteOptions { size: 5, ..options() },
            |_, _| ()
        ),
        Err(Error::Option(_))
    ));
}
