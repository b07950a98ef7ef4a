//! Grown and baked things: kernels, biscuits, sweets.

use super::{Shade, Skin, background, bevel, place};
use crate::Fault;
use crate::canvas::{Canvas, Pose, rounded_box};
use crate::dice::{Dice, angle_turns, blend, length, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

/// Signed distance, in local units, to a lumpy ellipse of radius about 1.
fn lump(x: f32, y: f32, aspect: f32, wobble: f32, noise: &Noise) -> f32 {
    let r = length(x, y / aspect);
    let (nx, ny) = (x / r.max(1e-3), y / aspect / r.max(1e-3));
    let swell = 1.0
        + wobble * noise.smooth(nx * 0.9, ny * 0.9)
        + wobble * 0.2 * noise.smooth(nx * 3.0, ny * 3.0);
    (r - 0.9 * swell) * aspect.min(1.0)
}

/// A kernel with streaks that run to a pale pole.
pub(crate) fn kernel(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.24, 0.44);
    let color = if dice.chance(0.75) {
        dice.tint((0.03, 0.11), (0.3, 0.75), (0.3, 0.85))
    } else {
        dice.color()
    };
    let skin = Skin::new(dice, color);
    let pole = blend(color, dice.tint((0.08, 0.13), (0.1, 0.4), (0.6, 0.9)), dice.range(0.2, 1.0));
    let (aspect, wobble) = (dice.range(0.65, 1.05), dice.range(0.02, 0.16));
    let (shape, streak) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let (px, py) = (dice.range(-0.7, 0.7), dice.range(-0.3, 0.3));
    let lines = dice.range(6.0, 25.0);
    let (strong, cap) = (dice.range(0.05, 0.4), dice.range(0.2, 0.6));
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        lump(x, y, aspect, wobble, &shape) * pose.scale
    };
    let bounds = pose.bounds(1.2);
    Shade::new(dice).cast(canvas, bounds, outline);
    let round = dice.range(0.3, 0.8);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let dome = bevel(d, pose.scale * 0.8, pose.scale * round);
        let mut texel = skin.at(u, v, dome);
        let (qx, qy) = (x - px, y - py);
        let r = length(qx, qy);
        let run = streak.smooth(angle_turns(qx, qy).abs() * lines, r * 1.5);
        texel.color = times(texel.color, 1.0 + strong * run);
        texel.color = blend(texel.color, pole, smoothstep(cap, cap * 0.7, r + 0.08 * run));
        texel
    });
}

/// A biscuit with a rough crust and crumbs or chips in it.
pub(crate) fn biscuit(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.28, 0.46);
    let color = dice.tint((0.05, 0.12), (0.3, 0.65), (0.45, 0.9));
    let skin = Skin {
        mottle: dice.range(0.1, 0.25),
        grain: dice.range(0.05, 0.2),
        gloss: 0.0,
        ..Skin::new(dice, color)
    };
    let brown = times(color, dice.range(0.5, 0.8));
    let wobble = dice.range(0.01, 0.1);
    let (shape, rough) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let square = dice.chance(0.25);
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        let edge = 0.03 * rough.smooth(x * 8.0, y * 8.0);
        let d = if square {
            rounded_box(x, y, 0.72, 0.72, 0.1)
        } else {
            lump(x, y, 1.0, wobble, &shape)
        };
        (d + edge) * pose.scale
    };
    let bounds = pose.bounds(1.15);
    Shade::new(dice).cast(canvas, bounds, outline);
    let relief = dice.range(0.003, 0.012);
    canvas.stamp(bounds, outline, |u, v, d| {
        let r = rough.fractal(u * 14.0, v * 14.0);
        let mut texel = skin.at(u, v, bevel(d, 0.05, 0.03) + relief * r);
        texel.color = blend(texel.color, brown, smoothstep(-0.06, 0.0, d) * 0.8);
        texel
    });
    let chips = dice.between(0, 16);
    let chip_color = if dice.chance(0.7) {
        dice.tint((0.03, 0.08), (0.3, 0.6), (0.12, 0.35))
    } else {
        dice.color()
    };
    let chip = skin.dyed(chip_color);
    for i in 0..chips {
        let (x, y, r) = (dice.range(-0.6, 0.6), dice.range(-0.6, 0.6), dice.range(0.05, 0.14));
        let part = pose.part(x, y, dice.unit(), r);
        let blob = |u: f32, v: f32| {
            let (x, y) = part.local(u, v);
            lump(x + i as f32 * 0.01, y, 0.85, 0.2, &rough) * part.scale
        };
        canvas.stamp(part.bounds(1.3), blob, |u, v, d| chip.at(u, v, 0.03 + bevel(d, 0.02, 0.02)));
    }
}

/// A pillow-shaped piece of gum or soap.
pub(crate) fn pillow(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.26, 0.44);
    let color = if dice.chance(0.6) { dice.grey(0.7, 0.98) } else { dice.color() };
    let skin = Skin::new(dice, color);
    let (a, b) = (0.85, dice.range(0.45, 0.85));
    let corner = dice.range(0.12, 0.4);
    let (bend, noise) = (dice.range(0.0, 0.08), Noise::new(dice.word()));
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        (rounded_box(x, y, a, b, corner) + bend * noise.smooth(x * 1.2, y * 1.2)) * pose.scale
    };
    let bounds = pose.bounds(1.25);
    Shade::new(dice).cast(canvas, bounds, outline);
    let round = dice.range(0.05, 0.3);
    canvas.stamp(bounds, outline, |u, v, d| {
        skin.at(u, v, bevel(d, pose.scale * round, pose.scale * round * 0.8))
    });
}

/// Several like pieces on a belt or tray.
pub(crate) fn pieces(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let color = dice.color();
    let skin = Skin::new(dice, color);
    let (columns, rows) = (dice.between(2, 4), dice.between(2, 4));
    let count = columns * rows;
    let jitter = dice.range(0.0, 0.35);
    let shape = dice.below(4);
    let aspect = dice.range(0.5, 1.0);
    let wobble = Noise::new(dice.word());
    let shade = Shade::new(dice);
    let step = (0.9 / columns as f32, 0.9 / rows as f32);
    let scale = step.0.min(step.1) * dice.range(0.35, 0.48);
    let turn = dice.unit();
    let random = dice.chance(0.5);
    let dotted = dice.chance(0.3).then(|| dice.color());
    let seed = dice.word();
    for i in 0..count {
        let own = if random { dice.unit() } else { turn + dice.normal() * 0.01 };
        let (jx, jy) = (dice.normal() * jitter * 0.2, dice.normal() * jitter * 0.2);
        let value = 1.0 + dice.normal() * 0.06;
        let (dx, dy, dt) = fault.shift(i, count).unwrap_or_default();
        if fault.missing(i, count) {
            continue;
        }
        let x = 0.05 + ((i % columns) as f32 + 0.5 + jx) * step.0 + dx * step.0 * 0.45;
        let y = 0.05 + ((i / columns) as f32 + 0.5 + jy) * step.1 + dy * step.1 * 0.45;
        let pose = Pose::new(x, y, own + dt * 0.2, scale);
        let outline = |u: f32, v: f32| {
            let (x, y) = pose.local(u, v);
            let d = match shape {
                0 => length(x, y) - 0.9,
                1 => rounded_box(x, y, 0.9, 0.9 * aspect, 0.3 * aspect),
                2 => rounded_box(x, y, 0.95, 0.45, 0.45),
                _ => lump(x, y, aspect, 0.15, &wobble),
            };
            d * pose.scale
        };
        shade.cast(canvas, pose.bounds(1.2), outline);
        let piece = skin.dyed(times(color, value));
        let mut cells = Cells::new(1.0, seed);
        canvas.stamp(pose.bounds(1.2), outline, |u, v, d| {
            let mut texel = piece.at(u, v, bevel(d, pose.scale * 0.5, pose.scale * 0.35));
            if let Some(dots) = dotted {
                let c = cells.near(u * 40.0, v * 40.0);
                texel.color =
                    blend(texel.color, dots, smoothstep(0.3 * unit(c.id, 3), 0.0, c.near));
            }
            texel
        });
    }
}
