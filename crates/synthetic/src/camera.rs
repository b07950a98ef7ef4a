//! From the scene to pixels: light, optics, sensor and compression.

use std::ops::Range;

use crate::blur::{binomial_passes, smooth};
use crate::canvas::Canvas;
use crate::dice::{Dice, length, lerp, mix, split};
use crate::grain::Grain;
use crate::jpeg;
use crate::wide::wide;

/// Everything about light and camera of one picture.
pub(crate) struct Camera {
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
    pub(crate) grey: bool,
    seed: u64,
}

/// Values of each pixel of a row, from which its light is computed.
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
    value: Vec<f32>,
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
            value: zeros(),
        }
    }
}

/// A picture before the sensor: perceptual values, about [0, 1].
pub(crate) type Radiance = Vec<[f32; 3]>;

impl Camera {
    /// Draws a camera; `grey` is the probability of a grey-scale one.
    pub(crate) fn new(dice: &mut Dice, grey: f32, size: usize) -> Self {
        let turn = dice.unit();
        let low = dice.range(0.15, 1.1);
        let light = [crate::dice::cos_turn(turn) * low, crate::dice::sin_turn(turn) * low, 1.0];
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

    /// A camera that gives a flat scene back as it is, and lights only relief, from a side.
    pub(crate) fn faithful(dice: &mut Dice) -> Self {
        let drawn = Self::new(dice, 0.0, 1);
        Self {
            ambient: dice.range(0.45, 0.75),
            exposure: 1.0,
            white: [1.0; 3],
            slope: [0.0; 2],
            vignette: 0.0,
            spot: [0.0, 0.0, 1.0, 0.0],
            blur: Vec::new(),
            gamma: 0.0,
            contrast: 1.0,
            haze: 0.0,
            noise: 0.0,
            sharpen: 0.0,
            jpeg: None,
            ..drawn
        }
    }

    /// Words for the light, where it is unusual.
    pub(crate) fn mood(&self) -> Option<&'static str> {
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
    pub(crate) fn visible(&self) -> f32 {
        (0.016 + self.noise * 0.5).min(0.03)
    }

    /// The rows of the picture that depend on the given rows of the scene.
    pub(crate) fn reach(&self, rows: Range<usize>, size: usize) -> Range<usize> {
        let margin = self.blur.len() + 1;
        rows.start.saturating_sub(margin)..(rows.end + margin).min(size)
    }

    /// Light and optics of the given rows.
    pub(crate) fn expose(&self, canvas: &Canvas, rows: &Range<usize>) -> Radiance {
        let size = canvas.size;
        // Blur draws on rows beyond.
        let margin = self.blur.len();
        let top = rows.start.saturating_sub(margin);
        let drawn = top..(rows.end + margin).min(size);
        let mut out = Vec::with_capacity(size * drawn.len());
        let mut line = Line::new(canvas);
        let mut target = vec![[0.0; 3]; size];
        wide(
            #[inline(always)]
            || {
                for y in drawn.clone() {
                    self.shade(canvas, y, &mut line, &mut target);
                    out.extend_from_slice(&target);
                }
            },
        );
        smooth(&mut out, size, &self.blur);
        out.truncate((rows.end - top) * size);
        out.drain(..(rows.start - top) * size);
        wide(
            #[inline(always)]
            || self.tone(&mut out),
        );
        out
    }

    /// The light that row `y` of the scene throws back; passes over plain arrays, which the compiler vectorises.
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
        let Line { u, heights, gx, gy, inverse, field, light, shine, value } = line;
        let slope = |from: f32, to: f32| ((to - from) * side).clamp(-2.5, 2.5);
        for (gx, (&left, &right)) in gx.iter_mut().zip(heights.iter().zip(&heights[2..])) {
            *gx = slope(left, right);
        }
        for (gy, (&up, &down)) in gy.iter_mut().zip(up.iter().zip(down)) {
            *gy = slope(up, down);
        }
        for (inverse, (gx, gy)) in inverse.iter_mut().zip(gx.iter().zip(&*gy)) {
            *inverse = 1.0 / (1.0 + gx * gx + gy * gy).sqrt();
        }
        let Self { spot, slope: fading, vignette, ambient, exposure, .. } = *self;
        for (field, u) in field.iter_mut().zip(&*u) {
            let (su, sv) = (u + 0.5 - spot[0], v + 0.5 - spot[1]);
            let fall = 1.0 / (1.0 + (su * su + sv * sv) / (spot[2] * spot[2]));
            *field = (1.0 + fading[0] * u * 2.0 + fading[1] * v * 2.0)
                * (1.0 - vignette * (u * u + v * v))
                + spot[3] * fall * fall;
        }
        let surface = gx.iter().zip(&*gy).zip(&*inverse);
        for ((light, field), ((gx, gy), inverse)) in
            light.iter_mut().zip(&*field).zip(surface.clone())
        {
            let facing = ((lz - gx * lx - gy * ly) * inverse).max(0.0) / lz;
            *light = (ambient + (1.0 - ambient) * facing) * field.max(0.02);
        }
        let gloss = &canvas.gloss[row(y)];
        shine.fill(0.0);
        if gloss.iter().any(|&gloss| gloss > 0.0) {
            let half = length(length(lx, ly), lz + 1.0);
            let (hx, hy, hz) = (lx / half, ly / half, (lz + 1.0) / half);
            for ((shine, u), ((gx, gy), inverse)) in shine.iter_mut().zip(&*u).zip(surface) {
                // A near light: its direction varies over the picture.
                let (hu, hv) = (hx - u * 0.3, hy - v * 0.3);
                *shine = ((hz - gx * hu - gy * hv) * inverse).clamp(0.0, 1.0);
            }
            for _ in 0..self.shine {
                shine.iter_mut().for_each(|s| *s *= *s);
            }
            for ((shine, &gloss), field) in shine.iter_mut().zip(gloss).zip(&*field) {
                let strength = *shine * gloss * field.max(0.0);
                *shine = if gloss > 0.0 { strength } else { 0.0 };
            }
        }
        let color = &canvas.color[row(y)];
        let lit = light.iter().zip(&*shine);
        let one = |c: f32, w: f32, (light, shine): (&f32, &f32)| {
            ((c * c * light * w + shine) * exposure).sqrt()
        };
        if self.grey {
            for (target, (c, lit)) in target.iter_mut().zip(color.iter().zip(lit)) {
                let lum = 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2];
                *target = [one(lum, 1.0, lit); 3];
            }
            return;
        }
        for (channel, white) in self.white.into_iter().enumerate() {
            for (value, (c, lit)) in value.iter_mut().zip(color.iter().zip(lit.clone())) {
                *value = one(c[channel], white, lit);
            }
            for (target, value) in target.iter_mut().zip(&*value) {
                target[channel] = *value;
            }
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
    pub(crate) fn develop(&self, mut picture: Radiance, size: usize) -> image::RgbImage {
        let mut grain = Grain::new(self.seed as u32 | 1);
        wide(
            #[inline(always)]
            || self.add_noise(&mut picture, &mut grain),
        );
        if self.sharpen > 0.0 {
            let mut soft = picture.clone();
            smooth(&mut soft, size, &[0.25]);
            for (p, s) in picture.as_flattened_mut().iter_mut().zip(soft.as_flattened()) {
                *p += self.sharpen * (*p - s);
            }
        }
        if let Some(coarseness) = self.jpeg {
            jpeg::compress(&mut picture, size, coarseness, self.grey);
        }
        let mut image = image::RgbImage::new(size as u32, size as u32);
        wide(
            #[inline(always)]
            || {
                for (byte, c) in image.iter_mut().zip(picture.as_flattened()) {
                    // Not `as u8`, which is not vectorised.
                    *byte = split((c * 255.0 + 0.5).clamp(0.0, 255.0)).1 as u8;
                }
            },
        );
        image
    }

    /// Noise of the sensor, stronger in the lights; of one colour or of every channel its own.
    #[inline(always)]
    fn add_noise(&self, picture: &mut Radiance, grain: &mut Grain) {
        const BLOCK: usize = 256;
        let colored = self.color_noise && !self.grey;
        let mut values = [0.0; 3 * BLOCK];
        for pixels in picture.chunks_mut(BLOCK) {
            if colored {
                let values = &mut values[..3 * pixels.len()];
                grain.fill(values);
                for (pixel, [shared, red, blue]) in pixels.iter_mut().zip(values.as_chunks().0) {
                    let amplitude = self.noise * (0.5 + 0.7 * pixel[1]);
                    let shared = shared * amplitude;
                    *pixel = [
                        pixel[0] + 0.6 * shared + 0.8 * amplitude * red,
                        pixel[1] + shared,
                        pixel[2] + 0.6 * shared + 0.8 * amplitude * blue,
                    ];
                }
            } else {
                let values = &mut values[..pixels.len()];
                grain.fill(values);
                for (pixel, shared) in pixels.iter_mut().zip(values) {
                    let amplitude = self.noise * (0.5 + 0.7 * pixel[1]);
                    let shared = *shared * amplitude;
                    *pixel = pixel.map(|c| c + shared);
                }
            }
        }
    }
}
