//! Crops: where they are cut, and which are worth it.

use anyhow::{Result, ensure};
use data::{Preprocess, Resize, Shows, resize_rgb};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, RgbImage, RgbaImage};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Largest window, in sides of the crop, that is scaled down to a crop.
const WIDEST: f32 = 4.0;

/// Most tries for each crop that is wanted.
const TRIES: usize = 6;

/// Crops of a picture; fewer than wanted where too little is to be seen.
pub(super) fn crops(
    image: &RgbImage,
    shows: Shows,
    wanted: usize,
    side: u32,
    rng: &mut ChaCha8Rng,
) -> Vec<RgbImage> {
    let (width, height) = image.dimensions();
    let least = width.min(height);
    if least < smallest(side) {
        return Vec::new();
    }
    let widest = (least as f32 / side as f32).min(match shows {
        // A material is seen from one distance.
        Shows::Texture => 1.0 + 0.6 * rng.random::<f32>(),
        Shows::Photograph | Shows::Cutout => WIDEST,
    });
    let mut found = Vec::new();
    for _ in 0..wanted * TRIES {
        let zoom = if widest <= 1.0 || shows == Shows::Texture {
            widest
        } else {
            let t = rng.random::<f32>();
            1.0 + (widest - 1.0) * t * t
        };
        let window = ((side as f32 * zoom) as u32).clamp(1, least);
        let x = rng.random_range(0..=width - window);
        let y = rng.random_range(0..=height - window);
        let cut = imageops::crop_imm(image, x, y, window, window).to_image();
        let crop = if window == side {
            cut
        } else {
            resize_rgb(&cut, &Preprocess::clip(side as usize, Resize::Squash))
        };
        if worthwhile(&crop) {
            found.push(crop);
            if found.len() == wanted {
                break;
            }
        }
    }
    found
}

/// Smallest side of a picture that is cut: scaled up a little at most.
pub(super) fn smallest(side: u32) -> u32 {
    side - side / 9
}

/// Whether a crop is neither flat nor blurred, dark or burnt out.
fn worthwhile(crop: &RgbImage) -> bool {
    const BLOCK: usize = 16;
    let side = crop.width() as usize;
    let luma: Vec<f32> = crop
        .pixels()
        .map(|p| 0.299 * f32::from(p.0[0]) + 0.587 * f32::from(p.0[1]) + 0.114 * f32::from(p.0[2]))
        .collect();
    let (mean, spread) = moments(luma.iter().copied());
    if !(18.0..238.0).contains(&mean) || spread < 9.0 {
        return false;
    }
    let edges = luma.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f32>();
    if edges < 2.0 * luma.len() as f32 || shows_normals(crop) {
        return false;
    }
    let blocks = side / BLOCK;
    let lively = (0..blocks * blocks)
        .filter(|block| {
            let (left, top) = (block % blocks * BLOCK, block / blocks * BLOCK);
            let rows = (top..top + BLOCK).flat_map(|y| &luma[y * side + left..][..BLOCK]);
            moments(rows.copied()).1 >= 3.0
        })
        .count();
    lively * 10 >= blocks * blocks * 6
}

/// Whether it is a map of a surface's normals, which point at the viewer, and so are blue, on average.
fn shows_normals(crop: &RgbImage) -> bool {
    let channel = |c: usize| moments(crop.pixels().map(|p| f32::from(p.0[c]))).0;
    let [red, green, blue] = [0, 1, 2].map(channel);
    blue > red + 60.0 && blue > green + 60.0 && (red - green).abs() < 16.0 && red > 70.0
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (n, sum, squares) =
        values.fold((0.0f32, 0.0f32, 0.0f32), |(n, s, q), v| (n + 1.0, s + v, q + v * v));
    let mean = sum / n;
    (mean, (squares / n - mean * mean).max(0.0).sqrt())
}

/// The picture laid onto a ground, one to three times, of other sizes, mirrored or not.
pub(super) fn laid(cutout: &RgbaImage, ground: &RgbImage, rng: &mut ChaCha8Rng) -> RgbImage {
    let mut crop = ground.clone();
    let side = ground.width();
    for _ in 0..rng.random_range(1..=3) {
        let (width, height) = cutout.dimensions();
        let longest = width.max(height) as f32;
        let scale = (side as f32 * rng.random_range(0.25..0.9) / longest).min(1.2);
        let scaled = |length: u32| ((length as f32 * scale) as u32).max(1);
        let mut thing =
            imageops::resize(cutout, scaled(width), scaled(height), FilterType::CatmullRom);
        if rng.random_bool(0.5) {
            imageops::flip_horizontal_in_place(&mut thing);
        }
        let reach = |length: u32| -(i64::from(length) / 4)..i64::from(side - length.min(side) / 2);
        let (left, top) =
            (rng.random_range(reach(thing.width())), rng.random_range(reach(thing.height())));
        for (x, y, pixel) in thing.enumerate_pixels() {
            let (x, y) = (left + i64::from(x), top + i64::from(y));
            if !(0..i64::from(side)).contains(&x) || !(0..i64::from(side)).contains(&y) {
                continue;
            }
            let under = crop.get_pixel_mut(x as u32, y as u32);
            let cover = f32::from(pixel.0[3]) / 255.0;
            for (under, over) in under.0.iter_mut().zip(pixel.0) {
                let mixed = f32::from(*under) * (1.0 - cover) + f32::from(over) * cover;
                *under = mixed.round() as u8;
            }
        }
    }
    crop
}

/// A crop as a JPEG file of quality 95.
pub(super) fn encoded(crop: &RgbImage) -> Result<Vec<u8>> {
    ensure!(crop.width() == crop.height(), "a crop is square");
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode(
        crop.as_raw(),
        crop.width(),
        crop.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}
