//! Augmentation of scenes: other colours, another scale and rotation, a second scene beside it,
//! another scene's defect on it. Forty categories are few; damage must be recognised whatever the
//! material's colours, its scale and its neighbours.

use ndarray::Array2;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use synthetic::{DefectKind, Request, Scene};

/// Kinds that lie on a surface and mean the same on any other.
const MOVABLE: [DefectKind; 10] = [
    DefectKind::Scratch,
    DefectKind::Crack,
    DefectKind::Hole,
    DefectKind::Stain,
    DefectKind::Cut,
    DefectKind::Dent,
    DefectKind::Thread,
    DefectKind::Print,
    DefectKind::Contamination,
    DefectKind::Abrasion,
];

/// A scene of one category with a defect that was drawn on a scene of another one.
pub(super) fn transplanted(
    request: &Request,
    donors: &[usize],
    rng: &mut impl Rng,
) -> Option<Scene> {
    let (kind, seed) = request.defect?;
    if !MOVABLE.contains(&kind) {
        return None;
    }
    let category = *donors.choose(rng)?;
    let donor = Request { category, scene_seed: rng.random(), ..*request };
    let sound = synthetic::render(&Request { defect: None, ..donor }).image;
    let hurt = synthetic::render(&Request { defect: Some((kind, seed)), ..donor });
    if hurt.defect != Some(kind) {
        return None;
    }
    let mut scene = synthetic::render(&Request { defect: None, ..*request });
    for ((pixel, before), after) in
        scene.image.pixels_mut().zip(sound.pixels()).zip(hurt.image.pixels())
    {
        for channel in 0..3 {
            let change = i16::from(after[channel]) - i16::from(before[channel]);
            pixel[channel] = (i16::from(pixel[channel]) + change).clamp(0, 255) as u8;
        }
    }
    scene.mask = hurt.mask;
    scene.defect = Some(kind);
    Some(scene)
}

/// Pastes a sound scene of another category over one side of the picture; damage beneath it is removed.
pub(super) fn border(scene: &mut Scene, categories: &[usize], rng: &mut impl Rng) {
    let Some(&category) = categories.choose(rng) else { return };
    let size = scene.image.width();
    let other =
        synthetic::render(&Request { category, size, scene_seed: rng.random(), defect: None });
    let turn = rng.random_range(0.0..std::f32::consts::TAU);
    let (across, along) = turn.sin_cos();
    let distance = rng.random_range(0.05..0.4) * size as f32;
    let (bend, wave) = (rng.random_range(0.0..0.04), rng.random_range(0.005..0.04));
    let middle = size as f32 / 2.0;
    for (x, y, pixel) in scene.image.enumerate_pixels_mut() {
        let (dx, dy) = (x as f32 - middle, y as f32 - middle);
        let edge = distance + bend * middle * ((dx * across - dy * along) * wave).sin();
        if dx * along + dy * across > edge {
            *pixel = *other.image.get_pixel(x, y);
            scene.mask[[y as usize, x as usize]] = false;
        }
    }
}

/// Scales, rotates and stretches about the centre; beyond the border the picture is mirrored.
pub(super) fn warp(scene: &mut Scene, rng: &mut impl Rng) {
    let size = scene.image.width();
    let scale = rng.random_range(0.6f32.ln()..1.7f32.ln()).exp();
    let stretch = rng.random_range(-0.15f32..0.15).exp();
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let middle = (size as f32 - 1.0) / 2.0;
    let source = |x: u32, y: u32| {
        let (dx, dy) = ((x as f32 - middle) / scale, (y as f32 - middle) / (scale * stretch));
        (mirror(middle + dx * cos - dy * sin, size), mirror(middle + dx * sin + dy * cos, size))
    };
    let (image, mask) = (&scene.image, &scene.mask);
    let warped = image::RgbImage::from_fn(size, size, |x, y| {
        let (sx, sy) = source(x, y);
        image::Rgb(sample(image, sx, sy).map(|v| v.round() as u8))
    });
    let moved = Array2::from_shape_fn(mask.dim(), |(y, x)| {
        let (sx, sy) = source(x as u32, y as u32);
        mask[[sy.round() as usize, sx.round() as usize]]
    });
    (scene.image, scene.mask) = (warped, moved);
}

/// A coordinate mirrored at the border of a picture of `size` pixels.
pub(crate) fn mirror(v: f32, size: u32) -> f32 {
    let last = size as f32 - 1.0;
    let v = v.rem_euclid(2.0 * last);
    if v > last { 2.0 * last - v } else { v }
}

/// The picture between its pixels, bilinear.
pub(crate) fn sample(image: &image::RgbImage, x: f32, y: f32) -> [f32; 3] {
    let (x0, y0) = (x as u32, y as u32);
    let (x1, y1) = ((x0 + 1).min(image.width() - 1), (y0 + 1).min(image.height() - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let corner = |x: u32, y: u32| image.get_pixel(x, y).0.map(f32::from);
    let (a, b, c, d) = (corner(x0, y0), corner(x1, y0), corner(x0, y1), corner(x1, y1));
    std::array::from_fn(|i| {
        let top = a[i] + (b[i] - a[i]) * fx;
        let bottom = c[i] + (d[i] - c[i]) * fx;
        top + (bottom - top) * fy
    })
}

/// Another colouring. Captions are written afterwards and name the new colours.
pub(super) fn recolour(scene: &mut Scene, rng: &mut impl Rng) {
    let mut channels = [0, 1, 2];
    channels.shuffle(rng);
    let gamma: f32 = rng.random_range(0.7..1.4);
    let negative = rng.random_bool(0.2);
    let table: Vec<u8> = (0..=255u8)
        .map(|v| {
            let v = ((f32::from(v) / 255.0).powf(gamma) * 255.0).round() as u8;
            if negative { 255 - v } else { v }
        })
        .collect();
    for pixel in scene.image.pixels_mut() {
        pixel.0 = channels.map(|c| table[usize::from(pixel.0[c])]);
    }
}
