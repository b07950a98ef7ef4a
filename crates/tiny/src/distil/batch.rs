//! Drawing a batch: windows of photographs and procedural scenes, clean for the teacher, augmented
//! for the student.

use data::{Limits, Preprocess, Resize, decode_image};
use fe_clip::Error;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::fast_blur;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use synthetic::{DefectKind, Request};

use super::{DistilConfig, schedule};
use crate::pictures::Pictures;
use crate::pretrain::augment::{mirror, sample};

pub(super) const PATCH: usize = 16;
pub(super) const GRID: usize = 15;
/// Share of procedural scenes among the images where there are photographs.
const SCENES: f64 = 0.2;

/// The window's source: mostly a photograph, else a scene that is drawn.
fn picture(pictures: &Pictures, rng: &mut ChaCha8Rng) -> Result<RgbImage, Error> {
    if !rng.random_bool(SCENES)
        && let Some((crop, _)) = pictures.crop(rng)?
    {
        return Ok(crop);
    }
    let category = pictures.category(rng);
    let kind = *DefectKind::ALL.choose(rng).expect("there are kinds");
    let defect = rng.random_bool(0.5).then(|| (kind, rng.random()));
    let size = (GRID * PATCH) as u32;
    Ok(synthetic::render(&Request { category, size, scene_seed: rng.random(), defect }).image)
}

/// The images of one part of a step.
pub(super) struct Batch {
    /// Tokens along a side.
    pub(super) grid: usize,
    /// What the teacher sees: 8-bit RGB, `[images, side, side, 3]` flattened.
    pub(super) clean: Vec<u8>,
    /// What the student sees, normalised: `[images, 3, side, side]`, flattened.
    pub(super) pixels: Vec<f32>,
    /// Rows of the positional embedding that the patches stand on, `[images, grid * grid]`.
    pub(super) positions: Vec<i64>,
}

/// One part of a step's batch; depends on nothing but corpus, settings, step and part.
pub(super) fn draw(
    pictures: &Pictures,
    config: &DistilConfig,
    step: usize,
    part: usize,
) -> Result<Batch, Error> {
    let grid = schedule::grid(config, step);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(1 + (step * super::PARTS + part) as u64);
    let count = schedule::images(config, grid);
    let side = grid * PATCH;
    let Preprocess { mean, std, .. } = Preprocess::clip(side, Resize::Squash);
    let mut batch = Batch { grid, clean: Vec::new(), pixels: Vec::new(), positions: Vec::new() };
    let mut donor: Option<RgbImage> = None;
    for _ in 0..count {
        let (top, left) = (rng.random_range(0..=GRID - grid), rng.random_range(0..=GRID - grid));
        let mut clean = window(&picture(pictures, &mut rng)?, side, (top, left), &mut rng);
        if rng.random_bool(0.3) {
            recolour(&mut clean, &mut rng);
        }
        let bare = clean.clone();
        if let Some(donor) = &donor
            && rng.random_bool(0.4)
        {
            paste(&mut clean, donor, &mut rng);
        }
        donor = Some(bare);
        let seen = spoil(clean.clone(), &mut rng)?;
        for channel in 0..3 {
            let value = |pixel: &image::Rgb<u8>| {
                (f32::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel]
            };
            batch.pixels.extend(seen.pixels().map(value));
        }
        batch.clean.extend(clean.into_raw());
        let place = |i: usize| (1 + (top + i / grid) * GRID + left + i % grid) as i64;
        batch.positions.extend((0..grid * grid).map(place));
    }
    Ok(batch)
}

/// The window whose upper left patch is `at`, of an image of the full grid that shows a turned, flipped
/// part of the source at 0.35 to 1 of its side.
fn window(source: &RgbImage, side: usize, at: (usize, usize), rng: &mut ChaCha8Rng) -> RgbImage {
    let whole = (GRID * PATCH) as f32;
    let size = source.width();
    let part = rng.random_range(0.35..1.0) * size as f32;
    let free = (size as f32 - part).max(0.0);
    let (x0, y0) = (rng.random_range(0.0..=free), rng.random_range(0.0..=free));
    let angle = if rng.random_bool(0.5) { rng.random_range(-0.3..0.3f32) } else { 0.0 };
    let (sin, cos) = angle.sin_cos();
    let (flip_x, flip_y) = (rng.random_bool(0.5), rng.random_bool(0.25));
    let turned = rng.random_bool(0.25);
    RgbImage::from_fn(side as u32, side as u32, |x, y| {
        let u = ((at.1 * PATCH) as f32 + x as f32 + 0.5) / whole - 0.5;
        let v = ((at.0 * PATCH) as f32 + y as f32 + 0.5) / whole - 0.5;
        let (u, v) = if turned { (v, u) } else { (u, v) };
        let u = if flip_x { -u } else { u };
        let v = if flip_y { -v } else { v };
        let (u, v) = (u * cos - v * sin, u * sin + v * cos);
        let sx = mirror(x0 + (u + 0.5) * part - 0.5, size);
        let sy = mirror(y0 + (v + 0.5) * part - 0.5, size);
        image::Rgb(sample(source, sx, sy).map(|value| value.round() as u8))
    })
}

/// Another colouring: channels exchanged, another gamma, sometimes grey or negative.
fn recolour(image: &mut RgbImage, rng: &mut ChaCha8Rng) {
    let mut channels = [0, 1, 2];
    channels.shuffle(rng);
    let gamma: f32 = rng.random_range(0.6..1.6);
    let (grey, negative) = (rng.random_bool(0.3), rng.random_bool(0.15));
    let tone = |v: f32| {
        let v = ((v / 255.0).powf(gamma) * 255.0).round() as u8;
        if negative { 255 - v } else { v }
    };
    let table: Vec<u8> = (0..=255u8).map(|v| tone(f32::from(v))).collect();
    for pixel in image.pixels_mut() {
        let mut rgb = channels.map(|c| pixel.0[c]);
        if grey {
            let mean = rgb.iter().map(|&v| u16::from(v)).sum::<u16>() / 3;
            rgb = [mean as u8; 3];
        }
        pixel.0 = rgb.map(|v| table[usize::from(v)]);
    }
}

/// Patches of another image, of any shape between a scratch and a quarter of the window.
fn paste(image: &mut RgbImage, donor: &RgbImage, rng: &mut ChaCha8Rng) {
    let side = image.width();
    if donor.width() != side {
        return;
    }
    for _ in 0..rng.random_range(1..=3) {
        let extent = |rng: &mut ChaCha8Rng| {
            (side as f32 * rng.random_range(0.03f32.ln()..0.5f32.ln()).exp()) as u32 + 1
        };
        let (w, h) = (extent(rng), extent(rng));
        let (x0, y0) = (rng.random_range(0..=side - w), rng.random_range(0..=side - h));
        let (dx, dy) = (rng.random_range(0..=side - w), rng.random_range(0..=side - h));
        let round = rng.random_bool(0.5);
        let cover = if rng.random_bool(0.5) { 1.0 } else { rng.random_range(0.3..1.0f32) };
        for y in 0..h {
            for x in 0..w {
                let (u, v) = ((x as f32 + 0.5) / w as f32 - 0.5, (y as f32 + 0.5) / h as f32 - 0.5);
                if round && u * u + v * v > 0.25 {
                    continue;
                }
                let new = donor.get_pixel(dx + x, dy + y).0;
                let old = &mut image.get_pixel_mut(x0 + x, y0 + y).0;
                for (old, new) in old.iter_mut().zip(new) {
                    let mixed = f32::from(*old) + cover * (f32::from(new) - f32::from(*old));
                    *old = mixed.round() as u8;
                }
            }
        }
    }
}

/// What a camera and a file format do to a picture: exposure, white balance, blur, compression, noise.
fn spoil(mut image: RgbImage, rng: &mut ChaCha8Rng) -> Result<RgbImage, Error> {
    if rng.random_bool(0.15) {
        image = fast_blur(&image, rng.random_range(0.4..1.2));
    }
    if rng.random_bool(0.15) {
        let mut bytes = Vec::new();
        let quality = rng.random_range(40..95);
        let written = JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&image);
        written.map_err(|e| Error::Settings(format!("writing a JPEG into memory: {e}")))?;
        image = decode_image(&bytes, "a JPEG in memory", &Limits::default())?;
    }
    let gain: f32 = rng.random_range(0.8..1.25);
    let lift: f32 = rng.random_range(-20.0..20.0);
    let gains: [f32; 3] = std::array::from_fn(|_| gain * rng.random_range(0.95..1.05));
    let noise: f32 = if rng.random_bool(0.4) { rng.random_range(1.0..12.0) } else { 0.0 };
    for pixel in image.pixels_mut() {
        for (value, gain) in pixel.0.iter_mut().zip(gains) {
            // The sum of two uniform numbers, scaled to a deviation of 1.
            let hiss = if noise > 0.0 {
                (rng.random::<f32>() + rng.random::<f32>() - 1.0) * 2.449_49
            } else {
                0.0
            };
            let v = (f32::from(*value) - 128.0) * gain + 128.0 + lift + noise * hiss;
            *value = v.round().clamp(0.0, 255.0) as u8;
        }
    }
    Ok(image)
}
