//! Damage drawn onto photographs: the same everywhere, masks exact, captions true.
#![allow(clippy::unwrap_used)]

use image::{Rgb, RgbImage};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use synthetic::{Damage, Damaged, DefectKind, damage, photograph_caption};

/// A stand-in for a photograph: soft waves with grain, every shade from dark to burnt out.
fn photograph(side: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        let grain = (x * 7919 + y * 104_729 + seed * 31).wrapping_mul(2_654_435_761) >> 28;
        let shade = (x * 255 / side + y * (seed % 5) * 40 / side).min(239) + grain;
        Rgb([shade as u8, (240 - shade.min(240)) as u8, (shade / 2 + 60) as u8])
    })
}

fn every<'a>(other: &'a RgbImage) -> Vec<Damage<'a>> {
    let drawn = DefectKind::ALL.into_iter().map(Damage::Defect);
    drawn.chain([Damage::CutPaste, Damage::Blend(other)]).collect()
}

fn near(mask: &Array2<bool>, x: usize, y: usize) -> bool {
    let (rows, columns) = mask.dim();
    (y.saturating_sub(2)..(y + 3).min(rows))
        .any(|j| (x.saturating_sub(2)..(x + 3).min(columns)).any(|i| mask[[j, i]]))
}

fn check(before: &RgbImage, damaged: &Damaged, what: &str) {
    let side = before.width() as usize;
    assert_eq!(damaged.image.dimensions(), before.dimensions(), "{what}");
    assert_eq!(damaged.mask.dim(), (side, side), "{what}");
    let count = damaged.mask.iter().filter(|&&m| m).count();
    assert!((6..side * side * 2 / 5 + 1).contains(&count), "{what}: {count} pixels");
    let mut changed = 0;
    for (x, y, pixel) in damaged.image.enumerate_pixels() {
        let old = before.get_pixel(x, y).0;
        let difference = (0..3).map(|c| pixel.0[c].abs_diff(old[c])).max().unwrap();
        if near(&damaged.mask, x as usize, y as usize) {
            changed += usize::from(difference > 3 && damaged.mask[[y as usize, x as usize]]);
        } else {
            assert_eq!(pixel.0, old, "{what}: ({x}, {y}) is far from the mask");
        }
    }
    // Gaps that were closed and holes that were filled did not change; in a tiny picture a gap of two pixels is much.
    let least = if side < 64 { 6 } else { count / 2 };
    assert!(changed >= least, "{what}: {changed} of {count} masked pixels changed");
}

#[test]
fn every_damage_shows_within_its_mask_only() {
    let other = photograph(50, 9);
    for (side, seed) in [(16, 1), (32, 5), (64, 2), (145, 3), (288, 4)] {
        let photograph = photograph(side, seed);
        for (i, kind) in every(&other).into_iter().enumerate() {
            let what = format!("{side} pixels, damage {i}");
            let seed = u64::from(seed) * 100 + i as u64;
            let Some(damaged) = damage(&photograph, kind, seed) else {
                assert!(side < 32, "{what}: nothing showed");
                continue;
            };
            check(&photograph, &damaged, &what);
            let again = damage(&photograph, kind, seed).unwrap();
            assert_eq!((&again.image, &again.mask), (&damaged.image, &damaged.mask), "{what}");
            if let Some(elsewhere) = damage(&photograph, kind, seed + 1000) {
                assert_ne!(
                    elsewhere.image, damaged.image,
                    "{what}: another seed, the same picture"
                );
            }
            match kind {
                Damage::CutPaste => assert_eq!(damaged.kind, DefectKind::MisplacedPart),
                Damage::Blend(_) => assert_eq!(damaged.kind, DefectKind::ForeignObject),
                Damage::Defect(DefectKind::MissingPart) => {
                    assert_eq!(damaged.kind, DefectKind::Hole);
                }
                Damage::Defect(DefectKind::MisplacedPart) => {
                    assert_eq!(damaged.kind, DefectKind::Deformation);
                }
                Damage::Defect(kind) => assert_eq!(damaged.kind, kind),
            }
        }
    }
}

#[test]
fn nothing_is_called_damage_where_nothing_shows() {
    let flat = RgbImage::from_pixel(64, 64, Rgb([90, 90, 90]));
    assert!(damage(&flat, Damage::Blend(&flat), 1).is_none());
}

#[test]
#[should_panic(expected = "32 x 31")]
fn a_photograph_is_square() {
    damage(&RgbImage::new(32, 31), Damage::CutPaste, 0);
}

#[test]
fn captions_are_true() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for i in 0..400 {
        let texture = i % 2 == 0;
        let sound = photograph_caption(None, texture, &mut rng);
        let damaged = photograph_caption(Some(DefectKind::Crack), texture, &mut rng);
        for text in [&sound, &damaged] {
            assert!(text.starts_with("a photo of "), "{text}");
        }
        assert!(!sound.contains("crack") && !sound.contains(" damaged"), "{sound}");
        assert!(!damaged.contains("without") && !damaged.contains(" normal"), "{damaged}");
        let thing = ["surface", "texture", "material"].iter().any(|noun| sound.contains(noun));
        assert_eq!(thing, texture, "{sound}");
    }
}
