//! Stain, discoloration, print, contamination, abrasion, corrosion, foreign object.

use super::Spot;
use super::layer::{Blob, Layer, moved, off, walk};
use crate::canvas::{Canvas, Pose};
use crate::dice::{Dice, blend, cos_turn, hsv, length, sin_turn, smoothstep, times};
use crate::noise::Noise;
use crate::objects::packaged::glyphs;

pub(super) fn stain(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let mut layer = Layer::new(canvas.size);
    let radius = spot.reach(dice, 0.02, 0.3);
    let drops = if dice.chance(0.6) { 1 } else { dice.between(2, 8) };
    let (rough, soft) = (dice.range(0.1, 0.7), dice.range(0.1, 0.9));
    for i in 0..drops {
        let (x, y) = if i == 0 { (spot.x, spot.y) } else { spot.near(dice, radius * 1.6) };
        let own = radius * if i == 0 { 1.0 } else { dice.range(0.1, 0.6) };
        let blob = Blob::new(dice, own, rough, soft);
        layer.blob(canvas, x, y, &blob);
    }
    layer.keep_to(canvas);
    let noise = Noise::new(dice.word());
    let (uneven, scale) = (dice.range(0.0, 0.6), 2.0 / radius);
    let rim = dice.chance(0.3);
    layer.shape(canvas, |u, v| 1.0 - uneven * (0.5 + 0.5 * noise.fractal(u * scale, v * scale)));
    if rim {
        layer.each(|i, a| {
            let ring = a * (1.0 - a) * 4.0;
            canvas.color[i] = times(canvas.color[i], 1.0 - 0.35 * ring * spot.amount);
        });
    }
    let color = match dice.below(4) {
        0 => times(spot.color, dice.range(0.2, 0.7)),
        1 => dice.tint((0.04, 0.12), (0.3, 0.8), (0.15, 0.6)),
        2 => dice.color(),
        _ => off(dice, spot.color, 0.5),
    };
    if dice.chance(0.5) {
        layer.paint(canvas, color, (0.15 + 0.75 * spot.amount).min(1.0));
    } else {
        let factor = color.map(|c| 1.0 - (1.0 - c) * (0.25 + 0.7 * spot.amount).min(1.0));
        layer.scale(canvas, if spot.dark() { factor.map(|f| 1.6 - 0.6 * f) } else { factor });
    }
    if dice.chance(0.3) {
        layer.gloss(canvas, 0.5);
    }
}

pub(super) fn discoloration(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.08, 0.4);
    let (rough, soft) = (dice.range(0.1, 0.5), dice.range(0.1, 1.0));
    let blob = Blob::new(dice, radius, rough, soft);
    let mut layer = Layer::new(canvas.size);
    layer.blob(canvas, spot.x, spot.y, &blob);
    layer.keep_to(canvas);
    let up = if spot.dark() { dice.chance(0.75) } else { dice.chance(0.4) };
    let gain = 1.0 + spot.amount * if up { dice.range(0.15, 0.8) } else { dice.range(-0.6, -0.15) };
    let tint = blend([1.0; 3], hsv(dice.unit(), 0.6, 1.1), spot.amount * dice.range(0.0, 0.7));
    layer.scale(canvas, times(tint, gain));
}

pub(super) fn print(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let turn = if dice.chance(0.5) { dice.normal() * 0.01 } else { dice.unit() };
    let reach = spot.reach(dice, 0.06, 0.4).max(0.05);
    let pose = Pose::new(spot.x, spot.y, turn, reach);
    let mut layer = Layer::new(canvas.size);
    match dice.below(3) {
        0 => {
            let frame = Blob { stretch: 1.5, ..Blob::new(dice, reach * 1.2, 0.0, 0.0) };
            layer.blob(canvas, spot.x, spot.y, &frame);
            let (count, high, seed) = (dice.between(1, 7), dice.range(0.3, 0.6), dice.word());
            let wide = 1.6 / count.max(3) as f32;
            layer.shape(canvas, |u, v| {
                let (x, y) = pose.local(u, v);
                glyphs((x + 0.8) / wide, y / high + 0.5, count, seed)
            });
        }
        1 => {
            // Pen strokes.
            let width = dice.range(0.0015, 0.006);
            for _ in 0..dice.between(1, 3) {
                let start = spot.near(dice, reach * 0.3);
                let bend = dice.range(0.5, 3.0);
                let path = walk(dice, start, turn + 0.125, reach * 1.5, (bend, 0.004), width);
                layer.stroke(canvas, &path, 0.0);
                layer.stroke(canvas, &moved(&path, 0.0, 0.0, 0.6), 0.0);
            }
        }
        _ => {
            // A stamp: ring and bar.
            let frame = Blob { stretch: 1.0, ..Blob::new(dice, reach, 0.0, 0.0) };
            layer.blob(canvas, spot.x, spot.y, &frame);
            let (inner, bar) = (dice.range(0.6, 0.85), dice.range(0.1, 0.3));
            layer.shape(canvas, |u, v| {
                let (x, y) = pose.local(u, v);
                let ring = length(x, y) > inner;
                f32::from(u8::from(ring || y.abs() < bar))
            });
        }
    }
    layer.keep_to(canvas);
    let (worn, missing) = (Noise::new(dice.word()), dice.range(-1.2, 0.2));
    layer
        .shape(canvas, |u, v| smoothstep(missing, missing + 0.3, worn.fractal(u * 25.0, v * 25.0)));
    let ink = if dice.chance(0.5) {
        if spot.dark() { dice.grey(0.7, 1.0) } else { dice.grey(0.0, 0.3) }
    } else {
        let color = dice.color();
        off(dice, color, 0.1)
    };
    layer.paint(canvas, ink, (0.35 + 0.65 * spot.amount).min(1.0));
}

pub(super) fn contamination(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let spread = spot.reach(dice, 0.03, 0.35);
    let count = if dice.chance(0.4) { dice.between(1, 3) } else { dice.between(4, 60) };
    let largest = (spread * if count < 4 { 0.6 } else { 0.16 }).max(0.004);
    let color = match dice.below(4) {
        0 => dice.grey(0.8, 1.0),
        1 => dice.grey(0.0, 0.2),
        2 => dice.tint((0.04, 0.12), (0.3, 0.7), (0.2, 0.6)),
        _ => dice.color(),
    };
    let (mut shadow, mut dirt) = (Layer::new(canvas.size), Layer::new(canvas.size));
    let soft = dice.range(0.1, 0.7);
    for _ in 0..count {
        let (x, y) = spot.near(dice, spread * 0.7);
        let radius = dice.skewed(0.0025, largest);
        let rough = dice.range(0.1, 0.7);
        let blob = if dice.chance(0.3) {
            Blob::shard(dice, radius)
        } else {
            Blob::new(dice, radius, rough, soft)
        };
        shadow.blob(canvas, x + 0.003, y + 0.004, &Blob { soft: 0.8, ..blob.clone() });
        dirt.blob(canvas, x, y, &blob);
    }
    let inside = dice.chance(0.85);
    if inside {
        shadow.keep_to(canvas);
        dirt.keep_to(canvas);
    }
    let dark = 1.0 - 0.4 * dice.unit();
    shadow.scale(canvas, [dark; 3]);
    let color = if (0..3).all(|k| (color[k] - spot.color[k]).abs() < 0.12) {
        off(dice, color, 0.6)
    } else {
        color
    };
    let noise = Noise::new(dice.word());
    dirt.shape(canvas, |u, v| 0.85 + 0.3 * noise.smooth(u * 80.0, v * 80.0));
    dirt.paint(canvas, color, (0.35 + 0.65 * spot.amount).min(1.0));
    dirt.emboss(canvas, largest.min(0.02) * dice.range(0.1, 0.6));
    dirt.gloss(canvas, 0.0);
}

/// A rubbed area: many fine parallel marks, or the structure gone.
pub(super) fn abrasion(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.05, 0.3);
    let (rough, soft) = (dice.range(0.3, 0.8), dice.range(0.3, 1.0));
    let blob = Blob::new(dice, radius, rough, soft);
    let mut layer = Layer::new(canvas.size);
    layer.blob(canvas, spot.x, spot.y, &blob);
    layer.keep_to(canvas);
    let pose = Pose::new(spot.x, spot.y, dice.unit(), 1.0);
    let (streak, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let (along, across) = (dice.range(3.0, 40.0), dice.range(40.0, 120.0));
    let shade =
        if spot.dark() || dice.chance(0.6) { dice.grey(0.6, 1.0) } else { times(spot.color, 0.4) };
    let flat = dice.range(0.0, 0.8);
    let strength = (0.3 + 0.6 * spot.amount).min(1.0);
    let (size, pixel) = (canvas.size, canvas.pixel());
    let color = spot.color;
    layer.each(|i, a| {
        let (x, y) = pose.local((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let mark = smoothstep(
            0.0,
            0.6,
            streak.smooth(x * along, y * across) + 0.3 * fine.smooth(x * 90.0, y * 90.0),
        );
        let rubbed = blend(canvas.color[i], color, flat * a * strength);
        canvas.color[i] = blend(rubbed, shade, a * mark * strength * 0.8);
        canvas.height[i] -= 0.0015 * a * mark;
    });
}

pub(super) fn corrosion(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let mut layer = Layer::new(canvas.size);
    let radius = spot.reach(dice, 0.04, 0.4);
    for i in 0..dice.between(1, 4) {
        let (x, y) = if i == 0 { (spot.x, spot.y) } else { spot.near(dice, radius) };
        let rough = dice.range(0.4, 0.9);
        let blob = Blob::new(dice, if i == 0 { radius } else { 0.5 * radius }, rough, 0.5);
        layer.blob(canvas, x, y, &blob);
    }
    layer.keep_to(canvas);
    let (patch, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(1.0, 3.0) / radius;
    layer.shape(canvas, |u, v| {
        0.25 + 1.2 * smoothstep(-0.4, 0.3, patch.fractal(u * scale, v * scale))
    });
    let rust = dice.tint((0.03, 0.1), (0.45, 0.85), (0.25, 0.65));
    let dark = times(rust, dice.range(0.3, 0.7));
    let (size, pixel) = (canvas.size, canvas.pixel());
    let strength = (0.35 + 0.65 * spot.amount).min(1.0);
    layer.each(|i, a| {
        let (u, v) = ((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let n = fine.fractal(u * 22.0, v * 22.0);
        let color = blend(rust, dark, smoothstep(-0.4, 0.4, n));
        canvas.color[i] = blend(canvas.color[i], color, a * strength);
        canvas.height[i] += 0.004 * a * n;
        canvas.gloss[i] *= 1.0 - a;
    });
}

/// A chip, a slip of paper, a pellet.
pub(super) fn foreign(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.025, 0.28);
    let blob = match dice.below(3) {
        0 => {
            let rough = dice.range(0.0, 0.3);
            Blob::new(dice, radius, rough, 0.04)
        }
        _ => Blob::shard(dice, radius * 1.2),
    };
    let turn = dice.unit();
    let cast = radius * dice.range(0.0, 0.3);
    let mut shadow = Layer::new(canvas.size);
    let soft = Blob { soft: 0.5, ..blob.clone() };
    shadow.blob(canvas, spot.x + cast * cos_turn(turn), spot.y + cast * sin_turn(turn), &soft);
    let dark = 1.0 - 0.6 * dice.unit();
    shadow.scale(canvas, [dark; 3]);
    let mut layer = Layer::new(canvas.size);
    layer.blob(canvas, spot.x, spot.y, &blob);
    let color = dice.color();
    let close = (0..3).all(|k| (color[k] - spot.color[k]).abs() < 0.12);
    let color = if close { off(dice, color, 0.7) } else { color };
    let color = blend(spot.color, color, (0.3 + 0.7 * spot.amount).min(1.0));
    let (broad, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let (mottle, grain) = (dice.range(0.0, 0.4), dice.range(0.0, 0.2));
    let scale = dice.range(0.5, 3.0) / radius;
    let (size, pixel) = (canvas.size, canvas.pixel());
    let (thick, gloss) = (radius * dice.range(0.0, 0.2), dice.skewed(0.0, 0.8));
    layer.each(|i, a| {
        let (u, v) = ((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let tone = 1.0
            + mottle * broad.fractal(u * scale, v * scale)
            + grain * fine.smooth(u * 100.0, v * 100.0);
        canvas.color[i] = blend(canvas.color[i], times(color, tone), a);
        canvas.height[i] += a * (thick + 0.2 * thick * broad.fractal(u * scale, v * scale));
        canvas.gloss[i] = canvas.gloss[i] * (1.0 - a) + gloss * a;
    });
}
