//! Circuit boards and connectors.

use super::{Shade, Skin, background, bevel, place};
use crate::Fault;
use crate::canvas::{Canvas, Pose, rounded_box};
use crate::dice::{Dice, blend, floor, fract, lattice, length, smoothstep, times, unit};

fn block(canvas: &mut Canvas, pose: Pose, a: f32, b: f32, skin: &Skin, height: f32) {
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        rounded_box(x, y, a, b, 0.05 * a.min(b)) * pose.scale
    };
    canvas.stamp(pose.bounds(length(a, b)), outline, |u, v, d| {
        skin.at(u, v, bevel(d, 0.006, height))
    });
}

pub(crate) fn board(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.4, 0.6);
    let resist = if dice.chance(0.6) {
        dice.tint((0.3, 0.45), (0.4, 0.9), (0.15, 0.5))
    } else {
        dice.color()
    };
    let skin = Skin::new(dice, resist);
    let (a, b) = (dice.range(0.65, 0.85), dice.range(0.5, 0.8));
    let tracks = dice.range(14.0, 34.0);
    let copper =
        blend(resist, dice.tint((0.1, 0.14), (0.2, 0.6), (0.6, 0.9)), dice.range(0.1, 0.4));
    let seed = dice.word();
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        rounded_box(x, y, a, b, 0.03) * pose.scale
    };
    let bounds = pose.bounds(1.2);
    Shade::new(dice).cast(canvas, bounds, outline);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let (i, j) = (floor(x * tracks), floor(y * tracks));
        let (fa, fb) = (fract(x * tracks) - 0.5, fract(y * tracks) - 0.5);
        let block = lattice(floor(i / 4.0) as i32, floor(j / 4.0) as i32, seed);
        let across = if unit(block, 2) < 0.5 { fa } else { fb };
        let id = lattice(i as i32, j as i32, seed ^ 5);
        let line = if unit(block, 9) < 0.7 { smoothstep(0.28, 0.18, across.abs()) } else { 0.0 };
        let pad = if unit(id, 4) < 0.12 { smoothstep(0.42, 0.34, length(fa, fb)) } else { 0.0 };
        let mut texel = skin.at(u, v, bevel(d, 0.005, 0.004));
        texel.color = blend(texel.color, copper, line.max(pad));
        texel.color = times(texel.color, 1.0 - 0.8 * pad * smoothstep(0.2, 0.12, length(fa, fb)));
        texel
    });
    let parts = dice.between(6, 16);
    let pins_skin = Skin::metal(dice);
    for i in 0..parts {
        let (x, y) = (dice.range(-0.8, 0.8) * a, dice.range(-0.8, 0.8) * b);
        let kind = dice.below(4);
        let turn = dice.pick(&[0.0, 0.25]);
        let size = dice.range(0.05, 0.17);
        let dark = dice.grey(0.05, 0.2);
        let hue = dice.color();
        let (dx, dy, dt) = fault.shift(i, parts).unwrap_or_default();
        if fault.missing(i, parts) {
            continue;
        }
        let part = pose.part(x + dx * 0.1, y + dy * 0.1, turn + dt * 0.12, size);
        match kind {
            0 | 1 => {
                let pins = (size * 40.0) as usize + 2;
                for p in 0..pins {
                    let at = (p as f32 + 0.5) / pins as f32 * 2.0 - 1.0;
                    block(
                        canvas,
                        part.part(at * 0.9, 0.0, 0.0, 1.0),
                        0.45 / pins as f32,
                        0.85,
                        &pins_skin,
                        0.004,
                    );
                }
                block(canvas, part, 1.0, 0.6, &skin.dyed(dark), 0.02);
            }
            2 => {
                block(canvas, part, 0.6, 0.26, &pins_skin, 0.006);
                block(canvas, part, 0.35, 0.27, &skin.dyed(hue), 0.012);
            }
            _ => {
                let disc = |u: f32, v: f32| length(u - part.x, v - part.y) - part.scale * 0.6;
                let can = pins_skin.dyed(if hue[0] > 0.5 { hue } else { dark });
                canvas.stamp(part.bounds(0.7), disc, |u, v, d| can.at(u, v, bevel(d, 0.008, 0.02)));
            }
        }
    }
}

pub(crate) fn connector(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.36, 0.47);
    let color = if dice.chance(0.5) { dice.grey(0.05, 0.9) } else { dice.color() };
    let skin = Skin::new(dice, color);
    let pins = Skin::metal(dice);
    let (columns, rows) = (dice.between(4, 12), dice.between(1, 4));
    let (a, b) = (0.95, dice.range(0.25, 0.6));
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        rounded_box(x, y, a, b, 0.04) * pose.scale
    };
    let bounds = pose.bounds(1.15);
    Shade::new(dice).cast(canvas, bounds, outline);
    canvas.stamp(bounds, outline, |u, v, d| skin.at(u, v, bevel(d, 0.01, 0.01)));
    let well = skin.dyed(times(color, dice.range(0.25, 0.8)));
    if dice.chance(0.6) {
        block(canvas, pose, a * 0.93, b * 0.86, &well, -0.01);
    }
    let count = columns * rows;
    let (wide, tall) = (dice.range(0.15, 0.3), dice.range(0.2, 0.42));
    let (step_x, step_y) = (a * 1.75 / columns as f32, b * 1.5 / rows as f32);
    for i in 0..count {
        let (dx, dy, turn) = fault.shift(i, count).unwrap_or_default();
        if fault.missing(i, count) {
            continue;
        }
        let x = ((i % columns) as f32 + 0.5) * step_x - a * 0.875 + dx * step_x * 0.6;
        let y = ((i / columns) as f32 + 0.5) * step_y - b * 0.75 + dy * step_y * 0.5;
        let pin = pose.part(x, y, turn * 0.15, 1.0);
        block(canvas, pin, step_x * wide, step_y * tall, &pins, 0.015);
    }
}
