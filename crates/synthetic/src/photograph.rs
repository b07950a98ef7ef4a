//! Damage drawn onto photographs.

use image::RgbImage;
use ndarray::Array2;

use crate::camera::Camera;
use crate::canvas::{Canvas, Texel};
use crate::defects::{self, DefectKind};
use crate::dice::{Dice, blend, cos_turn, fract, mix, sin_turn, smoothstep};
use crate::mask;
use crate::noise::Noise;

/// Attempts to draw damage that is visible.
const TRIES: u64 = 12;

/// What is done to a photograph.
#[derive(Clone, Copy, Debug)]
pub enum Damage<'a> {
    /// One of the procedural defects, lit from a side. What needs parts is replaced: a missing part by a hole, a
    /// misplaced part by a deformation.
    Defect(DefectKind),
    /// A patch or a thin strip of the photograph laid elsewhere on it (Li et al., CutPaste, 2021).
    CutPaste,
    /// Islands of another picture, more or less opaque (Zavrtanik et al., DRAEM, 2021). It is repeated where it is
    /// smaller.
    Blend(&'a RgbImage),
}

/// A damaged photograph with its ground truth.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// The photograph, changed within two pixels of the mask only.
    pub image: RgbImage,
    /// Shape `[size, size]` (row, column); true where it visibly changed.
    pub mask: Array2<bool>,
    /// What it looks like: [`DefectKind::MisplacedPart`] for [`Damage::CutPaste`], [`DefectKind::ForeignObject`] for
    /// [`Damage::Blend`].
    pub kind: DefectKind,
}

/// Damages a square photograph; the same seed gives the same bytes on every machine. `None` if nothing showed in
/// twelve tries.
///
/// # Panics
/// If the photograph is not square, its side is not in 16..=4096, or the picture of a [`Damage::Blend`] is empty.
pub fn damage(photograph: &RgbImage, damage: Damage<'_>, seed: u64) -> Option<Damaged> {
    let (width, height) = photograph.dimensions();
    assert!(
        width == height && (16..=4096).contains(&width),
        "expected a square of 16..=4096 pixels a side, got {width} x {height}"
    );
    let size = width as usize;
    let mut pixels = photograph.pixels();
    let mut canvas = Canvas::new(size);
    // A photograph is lit already: its relief is taken as flat.
    canvas.fill(|_, _| {
        let color = pixels.next().map_or([0.0; 3], |p| p.0.map(|c| f32::from(c) / 255.0));
        Texel::new(color, 0.0, 0.0)
    });
    let camera = Camera::faithful(&mut Dice::new(mix(seed, 3)));
    let clean = camera.expose(&canvas, &(0..size));
    for attempt in 0..TRIES {
        let dice = &mut Dice::new(mix(mix(seed, attempt), 4));
        let mut changed = canvas.clone();
        let kind = match damage {
            Damage::Defect(kind) => {
                let kind = match kind {
                    DefectKind::MissingPart => DefectKind::Hole,
                    DefectKind::MisplacedPart => DefectKind::Deformation,
                    kind => kind,
                };
                defects::apply(kind, &mut changed, dice, 1.0 + attempt as f32 * 0.25);
                kind
            }
            Damage::CutPaste => {
                cut_paste(&canvas, &mut changed, dice);
                DefectKind::MisplacedPart
            }
            Damage::Blend(other) => {
                islands(&mut changed, other, dice);
                DefectKind::ForeignObject
            }
        };
        let rows = camera.reach(canvas.rows_unlike(&changed), size);
        let exposed = camera.expose(&changed, &rows);
        let Some(mask) = mask::changed(&clean, &exposed, &rows, size, camera.visible()) else {
            continue;
        };
        let after = mask::compose(clean.clone(), &exposed, &rows, &mask);
        let mut image = photograph.clone();
        for (pixel, (before, after)) in image.pixels_mut().zip(clean.iter().zip(&after)) {
            for (c, (before, after)) in pixel.0.iter_mut().zip(before.iter().zip(after)) {
                // The difference is added, so that what did not change keeps its bytes.
                *c = (f32::from(*c) + (after - before) * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
        return Some(Damaged { image, mask, kind });
    }
    None
}

/// A rectangle of the picture, turned, laid elsewhere; one in three is a thin strip.
fn cut_paste(from: &Canvas, to: &mut Canvas, dice: &mut Dice) {
    let (long, wide) = if dice.chance(0.33) {
        (dice.range(0.1, 0.35), dice.range(0.01, 0.04))
    } else {
        let side = dice.range(0.06, 0.3);
        let stretch = dice.range(0.5, 1.0);
        (side, side * stretch)
    };
    let turn = if dice.chance(0.5) { 0.0 } else { dice.unit() };
    let (cos, sin) = (cos_turn(turn), sin_turn(turn));
    let own = if dice.chance(0.5) { 0.0 } else { dice.unit() };
    let (own_cos, own_sin) = (cos_turn(own), sin_turn(own));
    let (x, y) = (dice.range(0.1, 0.9), dice.range(0.1, 0.9));
    let (from_x, from_y) = (dice.unit(), dice.unit());
    let tone = if dice.chance(0.5) { 1.0 } else { dice.range(0.8, 1.25) };
    let (size, pixel) = (from.size, from.pixel());
    for row in 0..size {
        for column in 0..size {
            let (u, v) = ((column as f32 + 0.5) * pixel - x, (row as f32 + 0.5) * pixel - y);
            let (a, b) = (u * cos + v * sin, v * cos - u * sin);
            if a.abs() > long * 0.5 || b.abs() > wide * 0.5 {
                continue;
            }
            let at = |centre: f32, offset: f32| {
                // Beyond the edge the picture goes on on the other side.
                ((fract(centre + offset) * size as f32) as usize).min(size - 1)
            };
            let source = at(from_y, a * own_sin + b * own_cos) * size
                + at(from_x, a * own_cos - b * own_sin);
            to.color[row * size + column] = from.color[source].map(|c| (c * tone).min(1.0));
        }
    }
}

/// Where fractal noise is high, another picture shows through.
fn islands(canvas: &mut Canvas, other: &RgbImage, dice: &mut Dice) {
    let (width, height) = other.dimensions();
    assert!(width > 0 && height > 0, "expected a picture to blend with, got none");
    let noise = Noise::new(dice.word());
    let scale = dice.range(1.0, 6.0);
    let (low, soft) = (dice.range(0.15, 0.5), dice.range(0.01, 0.1));
    let opacity = dice.range(0.25, 1.0);
    let (left, top) = (dice.below(width as usize), dice.below(height as usize));
    let (size, pixel) = (canvas.size, canvas.pixel());
    for row in 0..size {
        for column in 0..size {
            let (u, v) = (column as f32 * pixel * scale, row as f32 * pixel * scale);
            let cover = opacity * smoothstep(low, low + soft, noise.fractal(u, v));
            if cover == 0.0 {
                continue;
            }
            let x = (left + column) as u32 % width;
            let y = (top + row) as u32 % height;
            let color = other.get_pixel(x, y).0.map(|c| f32::from(c) / 255.0);
            let here = &mut canvas.color[row * size + column];
            *here = blend(*here, color, cover);
        }
    }
}
