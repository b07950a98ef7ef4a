//! Draws a sheet of synthetic scenes: `cargo run --release -p synthetic --example contact_sheet -- OUT.png [SEED] [FIRST [LAST]]`.
//!
//! One row a category: two normal scenes, then four with a defect, each plain and with its mask
//! outlined.

use image::{Rgb, RgbImage};
use synthetic::{DefectKind, Request, Scene, categories, render};

const SIDE: u32 = 160;

fn outline(scene: &Scene) -> RgbImage {
    let mut image = scene.image.clone();
    let at = |x: i64, y: i64| {
        let side = i64::from(SIDE);
        (0..side).contains(&x) && (0..side).contains(&y) && scene.mask[[y as usize, x as usize]]
    };
    for y in 0..i64::from(SIDE) {
        for x in 0..i64::from(SIDE) {
            let near = (-2..=2).any(|d| at(x + d, y) || at(x, y + d));
            let touching = (-1..=1).any(|d| at(x + d, y) || at(x, y + d));
            if near && !touching {
                image.put_pixel(x as u32, y as u32, Rgb([255, 0, 0]));
            }
        }
    }
    image
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments.first().ok_or("expected the path of the sheet to write")?;
    let number =
        |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse::<usize>());
    let seed = number(1, 1)? as u64;
    let (first, last) = (number(2, 0)?, number(3, categories().len())?.min(categories().len()));
    let mut sheet = RgbImage::new((SIDE + 2) * 10, (SIDE + 4) * (last - first) as u32);
    for category in first..last {
        for column in 0..10u64 {
            let kind = DefectKind::ALL[((column / 2) as usize + category * 7 + seed as usize * 5)
                % DefectKind::ALL.len()];
            let defect = (column > 1).then_some((kind, seed + column / 2));
            let scene_seed = seed * 1000 + if column < 2 { column } else { column / 2 };
            let scene = render(&Request { category, size: SIDE, scene_seed, defect });
            let tile = if column > 1 && column % 2 == 1 { outline(&scene) } else { scene.image };
            let left = i64::from(SIDE + 2) * column as i64;
            let top = i64::from(SIDE + 4) * (category - first) as i64;
            image::imageops::replace(&mut sheet, &tile, left, top);
        }
    }
    sheet.save(out)?;
    Ok(())
}
