//! From the scene to pixels: light, optics, sensor and compression.

use std::ops::Range;

use super::canvas::Canvas;
use super::dice::{Dice, length, lerp, mix};
use super::jpeg;
use super::wide::wide;

/// Everything about light and camera of one picture.
pub(super) struct Camera {
    light: [f32; 3],
    ambient: f32,
    shine: u32,
    exposure: f32,
    white: [f32; 3],
    slope: [f32; 2],
    vignette: f32,
    spot: [f32; 4],
    blur: Vec<f32>,
    gamma: f32,
    contrast: f32,
    haze: f32,
    noise: f32,
    color_noise: bool,
    sharpen: f32,
    jpeg: Option<f32>,
    pub(super) grey: bool,
    seed: u64,
}

/// What is known of each pixel of a row on the way from scene to light.
struct Line {
    /// Position in image sides from the middle.
    u: Vec<f32>,
    /// One more on either side.
    heights: Vec<f32>,
    gx: Vec<f32>,
    gy: Vec<f32>,
    inverse: Vec<f32>,
    field: Vec<f32>,
    light: Vec<f32>,
    shine: Vec<f32>,
}

impl Line {
    fn new(canvas: &Canvas) -> Self {
        let (size, pixel) = (canvas.size, canvas.pixel());
        let zeros = || vec![0.0; size];
        Self {
            u: (0..size).map(|x| (x as f32 + 0.5) * pixel - 0.5).collect(),
            heights: vec![0.0; size + 2],
            gx: zeros(),
            gy: zeros(),
            inverse: zeros(),
            field: zeros(),
            light: zeros(),
            shine: zeros(),
        }
    }
}

/// A picture before the sensor: perceptual values, about [0, 1].
pub(super) type Radiance = Vec<[f32; 3]>;

impl Camera {
    /// Draws a camera; `grey` is the probability of a grey-scale one.
    pub(super) fn new(dice: &mut Dice, grey: f32, size: usize) -> Self {
        let turn = dice.unit();
        let low = dice.range(0.15, 1.1);
        let light = [super::dice::cos_turn(turn) * low, super::dice::sin_turn(turn) * low, 1.0];
        let norm = (light[0] * light[0] + light[1] * light[1] + 1.0).sqrt();
        let clean = dice.chance(0.25);
        let warm = dice.normal() * 0.06;
        let green = dice.normal() * 0.02;
        let blur = if dice.chance(0.3) { 0.0 } else { dice.skewed(0.1, 1.6) } * size as f32 / 400.0;
        Self {
            light: light.map(|c| c / norm),
            ambient: dice.range(0.15, 0.6),
            shine: dice.between(3, 6) as u32,
            exposure: 0.97 + dice.normal() * 0.17,
            white: [1.0 + warm, 1.0 + green, 1.0 - warm],
            slope: [dice.normal() * 0.16, dice.normal() * 0.16],
            vignette: if dice.chance(0.4) { 0.0 } else { dice.skewed(0.0, 0.9) },
            spot: [
                dice.range(-0.1, 1.1),
                dice.range(-0.1, 1.1),
                dice.range(0.15, 0.7),
                if dice.chance(0.6) { 0.0 } else { dice.range(0.0, 0.5) },
            ],
            blur: binomial_passes(blur),
            gamma: dice.normal() * 0.18,
            contrast: 1.0 + dice.normal() * 0.13,
            haze: if dice.chance(0.6) { 0.0 } else { dice.skewed(0.0, 0.12) },
            noise: if clean { 0.002 } else { dice.skewed(0.004, 0.035) },
            color_noise: dice.chance(0.5),
            sharpen: if dice.chance(0.6) { 0.0 } else { dice.range(0.1, 0.9) },
            jpeg: dice.chance(0.4).then(|| dice.skewed(0.15, 2.2)),
            grey: dice.chance(grey),
            seed: mix(u64::from(dice.word()), 9),
        }
    }

    /// Words for the light, where it is striking.
    pub(super) fn mood(&self) -> Option<&'static str> {
        if self.exposure < 0.8 {
            Some("dark")
        } else if self.exposure > 1.22 {
            Some("bright")
        } else if self.blur.len() > 4 {
            Some("blurry")
        } else if self.noise > 0.026 {
            Some("grainy")
        } else {
            None
        }
    }

    /// Smallest difference, of 1, that counts as visible through the noise of this camera.
    pub(super) fn visible(&self) -> f32 {
        (0.016 + self.noise * 0.5).min(0.03)
    }

    /// The rows of the picture that depend on the given rows of the scene.
    pub(super) fn reach(&self, rows: Range<usize>, size: usize) -> Range<usize> {
        let margin = self.blur.len() + 1;
        rows.start.saturating_sub(margin)..(rows.end + margin).min(size)
    }

    /// Light and optics of the given rows.
    pub(super) fn expose(&self, canvas: &Canvas, rows: &Range<usize>) -> Radiance {
        let size = canvas.size;
        // Blur draws on rows beyond.
        let margin = self.blur.len();
        let top = rows.start.saturating_sub(margin);
        let drawn = top..(rows.end + margin).min(size);
        let mut out = vec![[0.0f32; 3]; size * drawn.len()];
        let mut line = Line::new(canvas);
        wide(
            #[inline(always)]
            || {
                for (y, target) in drawn.clone().zip(out.chunks_exact_mut(size)) {
                    self.shade(canvas, y, &mut line, target);
                }
            },
        );
        for &weight in &self.blur {
            smooth(&mut out, size, weight);
        }
        out.truncate((rows.end - top) * size);
        out.drain(..(rows.start - top) * size);
        wide(
            #[inline(always)]
            || self.tone(&mut out),
        );
        out
    }

    /// The light that row `y` of the scene throws back; passes over plain arrays, which become wide instructions.
    #[inline(always)]
    fn shade(&self, canvas: &Canvas, y: usize, line: &mut Line, target: &mut [[f32; 3]]) {
        let size = canvas.size;
        let row = |y: usize| y * size..(y + 1) * size;
        let [lx, ly, lz] = self.light;
        let side = size as f32 * 0.5;
        let v = (y as f32 + 0.5) * canvas.pixel() - 0.5;
        let heights = &canvas.height[row(y)];
        line.heights[0] = heights[0];
        line.heights[1..=size].copy_from_slice(heights);
        line.heights[size + 1] = heights[size - 1];
        let up = &canvas.height[row(y.saturating_sub(1))];
        let down = &canvas.height[row((y + 1).min(size - 1))];
        let (left, right) = (&line.heights[..size], &line.heights[2..]);
        for x in 0..size {
            let u = line.u[x];
            let gx = ((right[x] - left[x]) * side).clamp(-2.5, 2.5);
            let gy = ((down[x] - up[x]) * side).clamp(-2.5, 2.5);
            let inverse = 1.0 / (1.0 + gx * gx + gy * gy).sqrt();
            let facing = ((lz - gx * lx - gy * ly) * inverse).max(0.0) / lz;
            let (su, sv) = (u + 0.5 - self.spot[0], v + 0.5 - self.spot[1]);
            let fall = 1.0 / (1.0 + (su * su + sv * sv) / (self.spot[2] * self.spot[2]));
            let field = (1.0 + self.slope[0] * u * 2.0 + self.slope[1] * v * 2.0)
                * (1.0 - self.vignette * (u * u + v * v))
                + self.spot[3] * fall * fall;
            line.gx[x] = gx;
            line.gy[x] = gy;
            line.inverse[x] = inverse;
            line.field[x] = field;
            line.light[x] = (self.ambient + (1.0 - self.ambient) * facing) * field.max(0.02);
        }
        let gloss = &canvas.gloss[row(y)];
        line.shine.fill(0.0);
        if gloss.iter().any(|&gloss| gloss > 0.0) {
            let half = length(length(lx, ly), lz + 1.0);
            let (hx, hy, hz) = (lx / half, ly / half, (lz + 1.0) / half);
            for x in 0..size {
                // A light that is near: its direction changes over the picture.
                let (hu, hv) = (hx - line.u[x] * 0.3, hy - v * 0.3);
                let s = (hz - line.gx[x] * hu - line.gy[x] * hv) * line.inverse[x];
                line.shine[x] = s.clamp(0.0, 1.0);
            }
            for _ in 0..self.shine {
                line.shine.iter_mut().for_each(|s| *s *= *s);
            }
            for ((shine, &gloss), field) in line.shine.iter_mut().zip(gloss).zip(&line.field) {
                let strength = *shine * gloss * field.max(0.0);
                *shine = if gloss > 0.0 { strength } else { 0.0 };
            }
        }
        for ((target, c), (&light, &shine)) in
            target.iter_mut().zip(&canvas.color[row(y)]).zip(line.light.iter().zip(&line.shine))
        {
            let one = |c: f32, w: f32| ((c * c * light * w + shine) * self.exposure).sqrt();
            *target = if self.grey {
                let lum = 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2];
                [one(lum, 1.0); 3]
            } else {
                [one(c[0], self.white[0]), one(c[1], self.white[1]), one(c[2], self.white[2])]
            };
        }
    }

    /// The curve from light to values.
    #[inline(always)]
    fn tone(&self, picture: &mut Radiance) {
        for pixel in picture.as_flattened_mut() {
            let c = *pixel;
            let toned = c + self.gamma * c * (1.0 - c.min(1.0));
            let contrasted = (toned - 0.5) * self.contrast + 0.5;
            // A shoulder keeps structure in the lights.
            let over = (contrasted - 0.75).max(0.0);
            let rolled = contrasted - over + over / (1.0 + over * 1.6);
            *pixel = lerp(rolled, 0.6, self.haze).clamp(0.0, 1.0);
        }
    }

    /// Sensor noise, sharpening and compression.
    pub(super) fn develop(&self, mut picture: Radiance, size: usize) -> image::RgbImage {
        let mut state = self.seed as u32 | 1;
        let mut gauss = || {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(0x1234_5679);
            let mut h = state ^ (state >> 15);
            h = h.wrapping_mul(0x2c1b_3c6d);
            h ^= h >> 13;
            let sum = (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24);
            (sum as i32 - 510) as f32 * (1.0 / 147.8)
        };
        for pixel in &mut picture {
            let amplitude = self.noise * (0.5 + 0.7 * pixel[1]);
            let shared = gauss() * amplitude;
            if self.color_noise && !self.grey {
                *pixel = [
                    pixel[0] + 0.6 * shared + 0.8 * amplitude * gauss(),
                    pixel[1] + shared,
                    pixel[2] + 0.6 * shared + 0.8 * amplitude * gauss(),
                ];
            } else {
                *pixel = pixel.map(|c| c + shared);
            }
        }
        if self.sharpen > 0.0 {
            let mut soft = picture.clone();
            smooth(&mut soft, size, 0.25);
            for (p, s) in picture.as_flattened_mut().iter_mut().zip(soft.as_flattened()) {
                *p += self.sharpen * (*p - s);
            }
        }
        if let Some(coarseness) = self.jpeg {
            jpeg::compress(&mut picture, size, coarseness, self.grey);
        }
        let bytes =
            picture.as_flattened().iter().map(|c| (c * 255.0 + 0.5).clamp(0.0, 255.0) as u8);
        image::RgbImage::from_raw(size as u32, size as u32, bytes.collect())
            .unwrap_or_else(|| image::RgbImage::new(size as u32, size as u32))
    }
}

/// Weights of three-tap passes whose variances add up to that of the wanted blur.
fn binomial_passes(sigma: f32) -> Vec<f32> {
    let variance = sigma * sigma;
    if variance < 0.02 {
        return Vec::new();
    }
    let passes = (variance / 0.5) as usize + 1;
    vec![variance / passes as f32 * 0.5; passes.min(12)]
}

/// One pass of the kernel (w, 1 - 2w, w) in both directions, edges repeated.
pub(super) fn smooth(picture: &mut Radiance, size: usize, weight: f32) {
    wide(
        #[inline(always)]
        || smooth_with(picture, size, weight),
    );
}

#[inline(always)]
fn smooth_with(picture: &mut Radiance, size: usize, weight: f32) {
    let centre = 1.0 - 2.0 * weight;
    let rows = picture.len() / size;
    let mut row = vec![[0.0f32; 3]; size + 2];
    for y in 0..rows {
        let line = &mut picture[y * size..(y + 1) * size];
        row[1..=size].copy_from_slice(line);
        row[0] = line[0];
        row[size + 1] = line[size - 1];
        let flat = row.as_flattened();
        for (i, out) in line.as_flattened_mut().iter_mut().enumerate() {
            *out = weight * (flat[i] + flat[i + 6]) + centre * flat[i + 3];
        }
    }
    let width = size * 3;
    let flat = picture.as_flattened_mut();
    let mut previous = flat[..width].to_vec();
    let mut current = previous.clone();
    for y in 0..rows {
        current.copy_from_slice(&flat[y * width..(y + 1) * width]);
        let below = (y + 1).min(rows - 1) * width;
        for x in 0..width {
            let next = if y + 1 < rows { flat[below + x] } else { current[x] };
            flat[y * width + x] = weight * (previous[x] + next) + centre * current[x];
        }
        std::mem::swap(&mut previous, &mut current);
    }
}
