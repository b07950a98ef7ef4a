//! Stone, concrete, asphalt, terrazzo, marble, glass.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Texel};
use crate::dice::{Dice, blend, lerp, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

pub(crate) fn concrete(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.tint((0.05, 0.14), (0.0, 0.15), (0.4, 0.8));
    let (broad, rough, fine) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let pits = dice.range(0.55, 1.1);
    let depth = dice.range(0.0002, 0.0025);
    let mottle = dice.range(0.06, 0.25);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let b = broad.fractal(x * 2.2, y * 2.2);
        let r = rough.fractal(x * 14.0, y * 14.0);
        let f = fine.smooth(x * 120.0, y * 120.0);
        let pit = smoothstep(pits, pits + 0.25, rough.smooth(x * 45.0, y * 45.0));
        let tone = 1.0 + mottle * b + 0.07 * r + 0.06 * f - 0.35 * pit;
        Texel::new(times(base, tone), depth * (r + 0.5 * f - 2.0 * pit), 0.0)
    });
}

pub(crate) fn asphalt(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let scale = dice.range(40.0, 110.0);
    let binder = dice.grey(0.2, 0.6);
    let stone = dice.tint((0.0, 0.15), (0.0, 0.2), (0.45, 0.85));
    let seed = dice.word();
    let (broad, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let depth = dice.range(0.1, 0.5);
    let shown = dice.range(0.2, 0.8);
    let mut cells = Cells::new(1.0, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let c = cells.near(x * scale, y * scale);
        let size = unit(c.id, 2);
        let grain =
            smoothstep(0.1 + 0.5 * size, 0.0, c.near) * smoothstep(0.0, 0.25, c.next - c.near);
        let tint = blend(binder, times(stone, 0.7 + 0.6 * unit(c.id, 13)), grain * shown);
        let f = fine.smooth(x * 140.0, y * 140.0);
        let tone = 1.0 + 0.15 * broad.fractal(x * 2.0, y * 2.0) + 0.12 * f;
        Texel::new(times(tint, tone), depth * grain / scale + 0.0006 * f, 0.0)
    });
}

pub(crate) fn terrazzo(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let ground = dice.tint((0.0, 1.0), (0.0, 0.2), (0.4, 0.95));
    let chips: Vec<[f32; 3]> = (0..dice.between(2, 5)).map(|_| dice.color()).collect();
    let scale = dice.range(9.0, 30.0);
    let (seed, small) = (dice.word(), dice.word());
    let density = dice.range(0.3, 0.95);
    let (warp, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let gloss = dice.skewed(0.0, 0.4);
    let edge = canvas.pixel() * scale;
    let mut layers = [(2.3, Cells::new(0.95, small)), (1.0, Cells::new(0.95, seed))];
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let w = 0.25 * warp.smooth(x * scale * 1.6, y * scale * 1.6);
        let mut color = times(ground, 1.0 + 0.06 * broad.fractal(x * 5.0, y * 5.0));
        for (factor, cells) in &mut layers {
            let c = cells.near(x * scale * *factor + w, y * scale * *factor - w);
            if unit(c.id, 1) < density {
                let reach = 0.12 + 0.33 * unit(c.id, 9);
                let inside = smoothstep(edge, -edge, (c.near - reach).max(0.1 - (c.next - c.near)));
                let chip = chips[(c.id >> 5) as usize % chips.len()];
                color = blend(color, times(chip, 0.85 + 0.3 * unit(c.id, 14)), inside);
            }
        }
        Texel::new(color, 0.0, gloss)
    });
}

pub(crate) fn marble(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.7) { dice.grey(0.65, 0.95) } else { dice.color() };
    let vein = blend(base, if dice.chance(0.7) { dice.grey(0.15, 0.5) } else { dice.color() }, 0.8);
    let (warp, veins, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(1.0, 3.5);
    let twist = dice.range(0.1, 0.6);
    let stretch = dice.range(0.4, 1.0);
    let gloss = dice.skewed(0.0, 0.5);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let w = twist * warp.fractal(x * scale, y * scale);
        let (a, b) = ((x + w) * scale, (y + w * 0.7) * scale * stretch);
        let line = smoothstep(0.45, 0.95, veins.ridged(a, b));
        let cloud = 0.5 + 0.5 * broad.fractal(a * 0.8 + 3.0, b * 0.8);
        let fade = smoothstep(0.3, 0.7, cloud);
        let color = blend(base, vein, (line * 0.8 * fade + 0.3 * cloud * cloud).min(1.0));
        Texel::new(color, 0.0, gloss)
    });
}

/// Lightly structured sheet glass, seen against a plain field, sometimes with its dark edge.
pub(crate) fn glass(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.6) {
        dice.grey(0.3, 0.8)
    } else {
        dice.tint((0.35, 0.6), (0.05, 0.3), (0.3, 0.8))
    };
    let (pattern, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(15.0, 70.0);
    let frost = dice.skewed(0.0, 0.12);
    let lines = if dice.chance(0.3) { 0.012 } else { 0.0 };
    let edge = dice
        .chance(0.5)
        .then(|| (dice.range(-0.48, -0.25), dice.range(-0.48, -0.2), dice.range(0.006, 0.03)));
    let both = dice.chance(0.6);
    let outside = dice.range(0.6, 1.2);
    let turned = crate::canvas::Pose::new(
        0.5,
        0.5,
        dice.pick(&[0.0, 0.25, 0.5, 0.75]) + dice.normal() * 0.01,
        1.0,
    );
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let bump = pattern.smooth(x * scale, y * scale)
            + 0.5 * pattern.smooth(x * scale * 2.1 + 7.0, y * scale * 2.1);
        let line = crate::dice::sin_turn(y * 60.0) * lines;
        let mut tone = 1.0 + frost * bump + 0.07 * broad.smooth(x * 1.3, y * 1.3) + line;
        if let Some((left, top, width)) = edge {
            let (a, b) = turned.local(u, v);
            let d = if both { (a - left).min(b - top) } else { a - left };
            tone *= lerp(outside, 1.0, smoothstep(-0.003, 0.003, d));
            tone *= 1.0 - 0.85 * smoothstep(width, width * 0.4, d.abs());
        }
        Texel::new(times(base, tone), frost * 0.006 * bump, 0.15)
    });
}
