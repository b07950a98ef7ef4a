//! Pills and printed boxes.

use super::{Shade, Skin, background, bevel, place};
use crate::Fault;
use crate::canvas::{Canvas, rounded_box};
use crate::dice::{Dice, blend, floor, fract, lattice, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

/// A tablet or a two-coloured capsule, plain or speckled, some with letters.
pub(crate) fn pill(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.26, 0.45);
    let color = if dice.chance(0.5) { dice.grey(0.7, 0.98) } else { dice.color() };
    let second = if dice.chance(0.5) { color } else { dice.color() };
    let skin = Skin::new(dice, color);
    let b = dice.range(0.35, 0.95);
    let corner = b * dice.range(0.7, 1.0);
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        rounded_box(x, y, 0.95, b, corner) * pose.scale
    };
    let bounds = pose.bounds(1.3);
    Shade::new(dice).cast(canvas, bounds, outline);
    let speckle = dice.chance(0.35).then(|| (dice.color(), dice.range(25.0, 60.0)));
    let seed = dice.word();
    let round = dice.range(0.15, 0.9) * b;
    let score = dice.chance(0.4);
    let letters = dice.chance(0.4);
    let ink = times(color, 0.45);
    let shift = fault.shift(0, 1).unwrap_or_default();
    let gone = fault.missing(0, 1);
    let mut cells = Cells::new(1.0, seed);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let mut height = bevel(d, pose.scale * round, pose.scale * round * 0.7);
        if score && !gone {
            height -= 0.012 * smoothstep(0.04, 0.0, (x - shift.0 * 0.3).abs());
        }
        let own = if x < 0.0 { skin } else { skin.dyed(second) };
        let mut texel = own.at(u, v, height);
        if let Some((dots, scale)) = speckle {
            let c = cells.near(x * scale * 0.4, y * scale * 0.4);
            texel.color = blend(texel.color, dots, smoothstep(0.35 * unit(c.id, 3), 0.0, c.near));
        }
        if letters && !score && !gone {
            let mark =
                glyphs((x - shift.0 * 0.3 + 0.4) * 6.0, (y - shift.1 * 0.2 + 0.09) * 5.5, 5, seed);
            texel.color = blend(texel.color, ink, mark);
        }
        texel
    });
}

/// Coverage of one line of made-up letters: each stands in a unit cell of x, y runs from 0 to 1.
pub(crate) fn glyphs(x: f32, y: f32, count: usize, seed: u32) -> f32 {
    if x < 0.0 || x >= count as f32 || !(0.0..1.0).contains(&y) {
        return 0.0;
    }
    let letter = floor(x);
    let hash = lattice(letter as i32, 0, seed);
    let (a, b) = ((fract(x) * 1.25) * 3.0, y * 5.0);
    if a >= 3.0 {
        return 0.0;
    }
    let bit = b as u32 * 3 + a as u32;
    // Strokes prefer the outline of the cell, as letters do.
    let edge = (a as u32) != 1 || (b as u32).is_multiple_of(2);
    let set = hash >> (bit + 3) & 1 == 1;
    f32::from(u8::from(edge && (set || hash >> (bit % 7) & 3 == 0)))
}

/// A printed face of a box: bands, text, a bar code.
pub(crate) fn label(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.4, 0.56);
    let paper = if dice.chance(0.6) { dice.grey(0.75, 0.98) } else { dice.color() };
    let skin = Skin::new(dice, paper);
    let (a, b) = (0.85, dice.range(0.5, 0.85));
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        rounded_box(x, y, a, b, 0.02) * pose.scale
    };
    let bounds = pose.bounds(1.25);
    Shade::new(dice).cast(canvas, bounds, outline);
    let band = dice.color();
    let (band_at, band_high) = (dice.range(-0.7, 0.4), dice.range(0.1, 0.5));
    let lines = dice.between(3, 7);
    let ink = if dice.chance(0.6) { dice.grey(0.02, 0.2) } else { times(dice.color(), 0.5) };
    let (code_x, code_y) = (dice.range(-0.2, 0.3), dice.range(0.1, 0.4));
    let logo = (dice.range(-0.6, 0.0), dice.range(0.1, 0.25), dice.color());
    let seed = dice.word();
    let worn = Noise::new(dice.word());
    let shift = |i: usize| fault.shift(i, lines + 2).unwrap_or_default();
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let mut texel = skin.at(u, v, bevel(d, 0.004, 0.004));
        let (s, t) = (x / a, y / b);
        if (band_at..band_at + band_high).contains(&t) {
            texel.color = blend(texel.color, band, 0.92 + 0.05 * worn.smooth(x * 9.0, y * 9.0));
        }
        for i in 0..lines {
            if fault.missing(i, lines + 2) {
                continue;
            }
            let (dx, dy, _) = shift(i);
            let high = if i == 0 { 0.13 } else { 0.065 };
            let top = -0.8 + i as f32 * 0.2 + dy * 0.15;
            let letters = 5 + (seed as usize >> i) % 12;
            let mark = glyphs(
                (s + 0.85 - dx * 0.15) / high * 0.8,
                (t - top) / high,
                letters,
                seed ^ i as u32,
            );
            texel.color = blend(texel.color, ink, mark);
        }
        let (dx, dy, _) = shift(lines);
        let (cx, cy) = (s - code_x - dx * 0.3, t - code_y - dy * 0.2);
        if (0.0..0.55).contains(&cx)
            && (0.0..0.35).contains(&cy)
            && !fault.missing(lines, lines + 2)
        {
            let bar = lattice((cx * 70.0) as i32, 3, seed) & 1 == 0;
            texel.color = if bar { ink } else { [0.95; 3] };
        }
        let (dx, dy, _) = shift(lines + 1);
        let disc = crate::dice::length(x - logo.0 - dx * 0.2, y - 0.35 - dy * 0.2);
        if disc < logo.1 && !fault.missing(lines + 1, lines + 2) {
            texel.color = logo.2;
        }
        texel
    });
}
