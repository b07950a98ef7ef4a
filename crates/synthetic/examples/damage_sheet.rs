//! Draws every damage onto photographs: `cargo run --release -p synthetic --example damage_sheet -- OUT.png SEED PHOTO…`.
//!
//! One row a square photograph: each damage with its mask outlined; the next photograph is what is blended in.

use image::{Rgb, RgbImage};
use synthetic::{Damage, DefectKind, damage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, seed, photographs @ ..] = arguments.as_slice() else {
        return Err("expected the sheet to write, a seed and photographs".into());
    };
    let seed: u64 = seed.parse()?;
    let photographs: Vec<RgbImage> = photographs
        .iter()
        .map(|path| image::open(path).map(|image| image.into_rgb8()))
        .collect::<Result<_, _>>()?;
    let side = photographs.iter().map(RgbImage::width).max().ok_or("expected photographs")?;
    let mut sheet = RgbImage::new((side + 2) * 20, (side + 2) * photographs.len() as u32);
    for (row, photograph) in photographs.iter().enumerate() {
        let other = &photographs[(row + 1) % photographs.len()];
        let drawn = DefectKind::ALL.into_iter().map(Damage::Defect);
        let every = drawn.chain([Damage::CutPaste, Damage::Blend(other)]);
        for (column, kind) in every.enumerate() {
            let Some(damaged) = damage(photograph, kind, seed + column as u64) else { continue };
            let size = photograph.width() as usize;
            let mut tile = damaged.image.clone();
            for y in 3..size - 3 {
                for x in 3..size - 3 {
                    let inside = damaged.mask[[y, x]];
                    let rim = [(x - 3, y), (x + 3, y), (x, y - 3), (x, y + 3)];
                    if !inside && rim.iter().any(|&(x, y)| damaged.mask[[y, x]]) {
                        tile.put_pixel(x as u32, y as u32, Rgb([255, 0, 0]));
                    }
                }
            }
            let at = |index: usize| i64::from(side + 2) * index as i64;
            image::imageops::replace(&mut sheet, &tile, at(column), at(row));
        }
    }
    sheet.save(out)?;
    Ok(())
}
