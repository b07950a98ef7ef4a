//! Damage that shows in a texture's statistics alone: a patch of the surface is turned, of
//! another scale, sharpness or contrast, or another material's texture in this one's tone.
//!
//! Source: after Li et al., CutPaste, 2021, and Zavrtanik et al., DRAEM, 2021.

use image::RgbImage;
use image::imageops::fast_blur;
use ndarray::Array2;
use rand::Rng;
use rand::seq::IndexedRandom;
use synthetic::{DefectKind, Request, Scene, categories};

use super::augment::{mirror, sample};

/// A patch whose pixels change by less than this many levels on average is not called damage.
const VISIBLE: f32 = 4.0;

/// A scene of a material with a changed patch; none of an object, or where nothing shows.
pub(super) fn patched(request: &Request, donors: &[usize], rng: &mut impl Rng) -> Option<Scene> {
    request.defect?;
    if !categories()[request.category].texture {
        return None;
    }
    let sound = Request { defect: None, ..*request };
    let mut scene = synthetic::render(&sound);
    let size = request.size;
    let blob = Blob::new(size as f32, rng);
    let (kind, other) = match rng.random_range(0..5) {
        0 => (DefectKind::Deformation, turned(&scene.image, &blob, rng)),
        1 => {
            let sigma = rng.random_range(1.2..5.0);
            (DefectKind::Abrasion, fast_blur(&scene.image, sigma))
        }
        2 => (DefectKind::Abrasion, contrasted(&scene.image, rng)),
        3 => {
            // The same material, drawn anew: other pose, scale and wear, this one's tone.
            let again = synthetic::render(&Request { scene_seed: rng.random(), ..sound });
            (DefectKind::Deformation, toned(&again.image, &scene.image))
        }
        _ => {
            let category = *donors.choose(rng)?;
            let foreign = Request { category, scene_seed: rng.random(), ..sound };
            (DefectKind::ForeignObject, toned(&synthetic::render(&foreign).image, &scene.image))
        }
    };
    let (mut change, mut area) = (0.0, 0.0);
    scene.mask = Array2::from_elem((size as usize, size as usize), false);
    for (x, y, pixel) in scene.image.enumerate_pixels_mut() {
        let cover = blob.cover(x as f32, y as f32);
        if cover == 0.0 {
            continue;
        }
        let new = other.get_pixel(x, y).0;
        for (old, new) in pixel.0.iter_mut().zip(new) {
            let difference = (f32::from(new) - f32::from(*old)) * cover;
            change += difference.abs() / 3.0;
            *old = (f32::from(*old) + difference).round() as u8;
        }
        area += 1.0;
        scene.mask[[y as usize, x as usize]] = cover > 0.5;
    }
    scene.defect = Some(kind);
    (change > VISIBLE * area).then_some(scene)
}

/// An ellipse with a wavy, more or less soft rim.
struct Blob {
    centre: (f32, f32),
    radii: (f32, f32),
    turn: (f32, f32),
    waves: [(f32, f32, f32); 3],
    soft: f32,
}

impl Blob {
    fn new(size: f32, rng: &mut impl Rng) -> Self {
        let radius = size * rng.random_range(0.05f32.ln()..0.28f32.ln()).exp();
        let stretch = rng.random_range(0.0..0.7f32).exp();
        let wave = |rng: &mut _, count: f32| {
            let phase = Rng::random_range(rng, 0.0..std::f32::consts::TAU);
            (count, phase, Rng::random_range(rng, 0.0..0.35) / count)
        };
        Self {
            centre: (rng.random_range(0.08..0.92) * size, rng.random_range(0.08..0.92) * size),
            radii: (radius * stretch, radius / stretch),
            turn: rng.random_range(0.0..std::f32::consts::TAU).sin_cos(),
            waves: [wave(rng, 2.0), wave(rng, 3.0), wave(rng, 5.0)],
            soft: rng.random_range(0.03..0.6),
        }
    }

    /// Coverage of a pixel in [0, 1].
    fn cover(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let (sin, cos) = self.turn;
        let (u, v) = ((dx * cos + dy * sin) / self.radii.0, (dy * cos - dx * sin) / self.radii.1);
        let angle = v.atan2(u);
        let wave =
            |(count, phase, height): &(f32, f32, f32)| height * (count * angle + phase).sin();
        let r = u.hypot(v) + self.waves.iter().map(wave).sum::<f32>();
        ((1.0 - r) / self.soft + 0.5).clamp(0.0, 1.0)
    }
}

/// Turned about the patch, scaled, or both.
fn turned(image: &RgbImage, blob: &Blob, rng: &mut impl Rng) -> RgbImage {
    let (sin, cos) =
        if rng.random_bool(0.6) { rng.random_range(0.35..2.8f32).sin_cos() } else { (0.0, 1.0) };
    let scale = if cos == 1.0 || rng.random_bool(0.4) {
        let factor = rng.random_range(1.4..2.6);
        if rng.random_bool(0.5) { factor } else { 1.0 / factor }
    } else {
        1.0
    };
    let size = image.width();
    RgbImage::from_fn(size, size, |x, y| {
        let (dx, dy) = ((x as f32 - blob.centre.0) / scale, (y as f32 - blob.centre.1) / scale);
        let sx = mirror(blob.centre.0 + dx * cos - dy * sin, size);
        let sy = mirror(blob.centre.1 + dx * sin + dy * cos, size);
        image::Rgb(sample(image, sx, sy).map(|v| v.round() as u8))
    })
}

/// Fine structure made flatter or stronger.
fn contrasted(image: &RgbImage, rng: &mut impl Rng) -> RgbImage {
    let broad = fast_blur(image, rng.random_range(4.0..16.0));
    let gain =
        if rng.random_bool(0.5) { rng.random_range(0.0..0.55) } else { rng.random_range(1.6..3.0) };
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (fine, mean) = (image.get_pixel(x, y).0, broad.get_pixel(x, y).0);
        image::Rgb(std::array::from_fn(|c| {
            let (fine, mean) = (f32::from(fine[c]), f32::from(mean[c]));
            (mean + gain * (fine - mean)).round().clamp(0.0, 255.0) as u8
        }))
    })
}

/// The grey structure of one picture at mean and spread of another.
fn toned(image: &RgbImage, like: &RgbImage) -> RgbImage {
    let grey = |p: &image::Rgb<u8>| p.0.iter().map(|&c| f32::from(c)).sum::<f32>() / 3.0;
    let moments = |values: &mut dyn Iterator<Item = f32>| {
        let (n, sum, squares) =
            values.fold((0.0, 0.0, 0.0), |(n, s, q), v| (n + 1.0, s + v, q + v * v));
        let mean: f32 = sum / n;
        (mean, (squares / n - mean * mean).max(1.0).sqrt())
    };
    let (mean, spread) = moments(&mut image.pixels().map(grey));
    let (_, wanted) = moments(&mut like.pixels().map(grey));
    let means: [f32; 3] =
        std::array::from_fn(|c| moments(&mut like.pixels().map(|p| f32::from(p.0[c]))).0);
    let gain = (wanted / spread).min(4.0);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let detail = gain * (grey(image.get_pixel(x, y)) - mean);
        image::Rgb(means.map(|m| (m + detail).round().clamp(0.0, 255.0) as u8))
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_patch_changes_a_material_about_its_mask_and_nowhere_else() {
        let at = |name: &str| categories().iter().position(|c| c.name == name).unwrap();
        let donors = [at("wood"), at("fabric")];
        let mut drawn = 0;
        for seed in 0..12 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let sound =
                Request { category: at("leather"), size: 96, scene_seed: seed, defect: None };
            let request = Request { defect: Some((DefectKind::Stain, 1)), ..sound };
            assert!(patched(&sound, &donors, &mut rng).is_none());
            let Some(scene) = patched(&request, &donors, &mut rng) else { continue };
            drawn += 1;
            let before = synthetic::render(&sound).image;
            let differ = |(a, b): (&image::Rgb<u8>, &image::Rgb<u8>)| a != b;
            let changed = before.pixels().zip(scene.image.pixels()).filter(|p| differ(*p)).count();
            let masked = scene.mask.iter().filter(|&&m| m).count();
            assert!(masked > 0 && changed > 0, "seed {seed}: {masked} masked, {changed} changed");
            // The soft rim reaches a little farther than the mask.
            assert!(changed < 3 * masked + 60, "seed {seed}: {masked} masked, {changed} changed");
            assert!(scene.defect.is_some());
        }
        assert!(drawn >= 8, "{drawn} of 12 patches could be seen");
        let screw = Request {
            category: at("screw"),
            size: 96,
            scene_seed: 1,
            defect: Some((DefectKind::Stain, 1)),
        };
        assert!(patched(&screw, &donors, &mut ChaCha8Rng::seed_from_u64(0)).is_none());
    }
}
