//! Hole, dent, fold, lump, deformation, a piece broken off.

use super::Spot;
use super::layer::{Blob, Layer, off, taper, walk};
use crate::canvas::Canvas;
use crate::dice::{Dice, blend, cos_turn, length, lerp, sin_turn, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

pub(super) fn hole(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let count = if dice.chance(0.7) { 1 } else { dice.between(2, 6) };
    let radius = spot.reach(dice, 0.012, 0.14);
    for i in 0..count {
        let (x, y) = if i == 0 { (spot.x, spot.y) } else { spot.near(dice, radius * 4.0) };
        let own = radius * dice.range(0.5, 1.0);
        let rough = dice.range(0.05, 0.5);
        let soft = dice.range(0.05, 0.4);
        let blob = Blob::new(dice, own, rough, soft);
        let mut rim = Layer::new(canvas.size);
        rim.blob(canvas, x, y, &Blob { radius: own * 1.35, soft: 0.4, ..blob.clone() });
        rim.keep_to(canvas);
        let worn = dice.range(0.75, 1.3);
        rim.scale(canvas, [worn; 3]);
        let mut pit = Layer::new(canvas.size);
        pit.blob(canvas, x, y, &blob);
        pit.keep_to(canvas);
        let deep = if dice.chance(0.25) {
            off(dice, spot.color, 0.7)
        } else if spot.dark() && dice.chance(0.4) {
            dice.grey(0.45, 0.9)
        } else {
            times(spot.color, dice.range(0.05, 0.5))
        };
        pit.paint(canvas, deep, (0.35 + 0.65 * spot.amount).min(1.0));
        pit.emboss(canvas, -own * dice.range(0.1, 0.8));
        pit.gloss(canvas, 0.0);
    }
}

pub(super) fn dent(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.03, 0.3);
    let mut layer = Layer::new(canvas.size);
    let rough = dice.range(0.0, 0.35);
    let soft = dice.range(0.5, 1.0);
    let blob = Blob::new(dice, radius, rough, soft);
    layer.blob(canvas, spot.x, spot.y, &blob);
    layer.keep_to(canvas);
    layer.emboss(canvas, -radius * dice.range(0.15, 0.6) * spot.amount * dice.sign());
    let tone = 1.0 + 0.3 * spot.amount * dice.range(-1.0, 0.5);
    layer.scale(canvas, [tone; 3]);
    if dice.chance(0.5) {
        layer.each(|i, a| canvas.gloss[i] += 0.3 * a);
    }
}

pub(super) fn fold(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let reach = spot.reach(dice, 0.15, 1.0);
    let count = dice.between(1, 3);
    let turn = dice.unit();
    for _ in 0..count {
        let own = turn + dice.normal() * 0.06;
        let width = dice.range(0.006, 0.03) * spot.thing;
        let (x, y) = spot.near(dice, reach * 0.1);
        let start = (x - 0.5 * reach * cos_turn(own), y - 0.5 * reach * sin_turn(own));
        let bend = dice.range(0.0, 0.4);
        let mut path = walk(dice, start, own, reach, (bend, 0.01), width * 0.5);
        taper(&mut path);
        let mut layer = Layer::new(canvas.size);
        layer.stroke(canvas, &path, width * 1.6);
        layer.keep_to(canvas);
        layer.emboss(canvas, dice.sign() * width * dice.range(0.4, 1.2) * spot.amount);
        let tone = 1.0 + dice.sign() * dice.range(0.05, 0.3) * spot.amount;
        layer.scale(canvas, [tone; 3]);
    }
}

/// A rounded growth with a structure of its own.
pub(super) fn lump(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.04, 0.26);
    let rough = dice.range(0.05, 0.45);
    let soft = dice.range(0.15, 0.7);
    let blob = Blob::new(dice, radius, rough, soft);
    let mut layer = Layer::new(canvas.size);
    layer.blob(canvas, spot.x, spot.y, &blob);
    layer.keep_to(canvas);
    let (noise, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(1.0, 3.0) / radius;
    let lighter = if spot.dark() { dice.chance(0.85) } else { dice.chance(0.55) };
    let aim = if lighter {
        blend(spot.color, dice.grey(0.75, 1.0), 0.6)
    } else {
        times(spot.color, 0.45)
    };
    // Some growths have the colour of what they grow on, and only their form shows.
    let aim = if dice.chance(0.25) { off(dice, spot.color, 0.1) } else { off(dice, aim, 0.15) };
    let inner = off(dice, aim, 0.5);
    let veined = dice.range(0.0, 0.8);
    let (size, pixel) = (canvas.size, canvas.pixel());
    let strength = (0.2 + 0.65 * spot.amount).min(1.0);
    let bump = radius * dice.range(0.0, 0.6);
    layer.each(|i, a| {
        let (u, v) = ((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let n = smoothstep(-0.2, 0.5, noise.fractal(u * scale, v * scale));
        let color = blend(aim, inner, veined * n * smoothstep(0.5, 1.0, a));
        let grain = 1.0 + 0.06 * fine.smooth(u * 70.0, v * 70.0);
        canvas.color[i] = blend(canvas.color[i], times(color, grain), a * strength);
        canvas.height[i] += bump * a;
    });
}

/// Bends the picture itself: a swirl, a pull or a slip.
pub(super) fn deformation(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let radius = spot.reach(dice, 0.06, 0.35).max(0.04);
    let before = canvas.clone();
    let (size, pixel) = (canvas.size, canvas.pixel());
    let style = dice.below(4);
    let turn = dice.unit();
    let (dx, dy) = (cos_turn(turn), sin_turn(turn));
    let pull = radius * dice.range(0.25, 0.7) * (0.5 + 0.5 * spot.amount);
    let spin = dice.sign() * dice.range(0.06, 0.3) * (0.5 + spot.amount);
    let zoom = dice.pick(&[0.45, 0.6, 1.7, 2.2]);
    let noise = Noise::new(dice.word());
    let tone = 1.0 + dice.range(-0.18, 0.1);
    let mut layer = Layer::new(size);
    let blob = Blob::new(dice, radius, 0.15, 0.6);
    layer.blob(canvas, spot.x, spot.y, &blob);
    layer.keep_to(canvas);
    layer.each(|i, a| {
        let (u, v) = ((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let (x, y) = (u - spot.x, v - spot.y);
        let (su, sv) = match style {
            0 => (u + dx * pull * a, v + dy * pull * a),
            1 => {
                let (c, s) = (cos_turn(spin * a), sin_turn(spin * a));
                (spot.x + x * c - y * s, spot.y + x * s + y * c)
            }
            2 => (spot.x + x * lerp(1.0, zoom, a), spot.y + y * lerp(1.0, zoom, a)),
            _ => (
                u + pull * a * noise.smooth(u / radius * 2.0, v / radius * 2.0),
                v + pull * a * noise.smooth(u / radius * 2.0 + 9.0, v / radius * 2.0),
            ),
        };
        let column = ((su * size as f32).max(0.0) as usize).min(size - 1);
        let row = ((sv * size as f32).max(0.0) as usize).min(size - 1);
        let from = row * size + column;
        canvas.color[i] = times(before.color[from], lerp(1.0, tone, a));
        canvas.height[i] = before.height[from];
        canvas.gloss[i] = before.gloss[from];
    });
}

/// A piece broken off: at the outline of an object, what lies behind shows; within a material, the
/// raw inside does.
pub(super) fn broken(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let size = canvas.size;
    let (mut x, mut y) = (spot.x, spot.y);
    if !canvas.behind.is_empty() {
        // Walk outwards to the outline.
        let turn = dice.unit();
        let (dx, dy) = (cos_turn(turn) * canvas.pixel(), sin_turn(turn) * canvas.pixel());
        for _ in 0..size {
            let (nx, ny) = (x + dx, y + dy);
            if !(0.03..0.97).contains(&nx) || !(0.03..0.97).contains(&ny) {
                break;
            }
            (x, y) = (nx, ny);
            if canvas.region[(y * size as f32) as usize * size + (x * size as f32) as usize] < 0.5 {
                break;
            }
        }
    }
    let radius = spot.reach(dice, 0.05, 0.32);
    let blob = if dice.chance(0.5) {
        Blob::shard(dice, radius * 1.2)
    } else {
        let rough = dice.range(0.2, 0.6);
        Blob::new(dice, radius, rough, 0.05)
    };
    let mut layer = Layer::new(size);
    layer.blob(canvas, x, y, &blob);
    layer.keep_to(canvas);
    let inside = times(spot.color, dice.range(0.5, 1.3));
    let raw = off(dice, inside, 0.25);
    let rough = Noise::new(dice.word());
    // Facets as of broken glass, or rings as of a shell.
    let facets = if dice.chance(0.5) { dice.range(0.1, 0.8) } else { 0.0 };
    let (facet_scale, facet_seed) = (dice.range(2.0, 6.0) / radius, dice.word());
    let rings = if dice.chance(0.3) { dice.range(0.15, 0.6) } else { 0.0 };
    let ring_count = dice.range(2.0, 6.0);
    let through = !canvas.behind.is_empty() && dice.chance(0.7);
    let wall = dice.range(0.003, 0.02);
    let pixel = canvas.pixel();
    let mut cells = Cells::new(1.0, facet_seed);
    layer.each(|i, a| {
        let (u, v) = ((i % size) as f32 * pixel, (i / size) as f32 * pixel);
        let grain = 1.0 + 0.25 * rough.fractal(u * 25.0, v * 25.0);
        let facet = length(u - x, v - y) / radius;
        let id = cells.near(u * facet_scale, v * facet_scale).id;
        let wave = sin_turn(ring_count * (facet + 0.25 * rough.smooth(u / radius, v / radius)));
        let shade = grain + facets * (2.6 * unit(id, 3) * unit(id, 9) - 0.4) + rings * wave;
        let broken = times(raw, shade.max(0.05));
        if through {
            // The wall of the break shows on one side.
            let side = blob.cover(u - x + wall, v - y + wall);
            let shown = blend(broken, canvas.behind[i], side);
            canvas.color[i] = blend(canvas.color[i], shown, a);
            canvas.height[i] *= 1.0 - a;
            canvas.gloss[i] *= 1.0 - a;
        } else {
            canvas.color[i] = blend(canvas.color[i], broken, a * 0.85);
            canvas.height[i] +=
                a * (radius * 0.15 * facet + 0.006 * rough.fractal(u * 25.0, v * 25.0) - 0.02);
        }
    });
}
