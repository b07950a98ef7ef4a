//! Rubber, plastic, foam, cork, living tissue.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Texel};
use crate::dice::{Dice, blend, fract, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

pub(crate) fn rubber(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.7) { dice.grey(0.07, 0.3) } else { times(dice.color(), 0.7) };
    let (fine, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let ribs = if dice.chance(0.4) { dice.range(8.0, 40.0) } else { 0.0 };
    let relief = dice.range(0.0, 0.003);
    let gloss = dice.skewed(0.0, 0.25);
    let scale = dice.range(25.0, 90.0);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let rib = smoothstep(0.1, 0.25, (fract(x * ribs) - 0.5).abs());
        let f = fine.smooth(x * scale, y * scale);
        let bloom = broad.fractal(x * 2.0, y * 2.0);
        Texel::new(
            times(base, 1.0 + 0.18 * bloom + 0.08 * f),
            relief * f * 0.3 + 0.004 * rib,
            gloss,
        )
    });
}

pub(crate) fn plastic(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.color();
    let (fine, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let grainy = dice.chance(0.5);
    let scale = if grainy { dice.range(60.0, 120.0) } else { dice.range(2.0, 8.0) };
    let relief = dice.range(0.01, 0.12) / scale;
    let gloss = dice.range(0.05, 0.7);
    let flow = dice.skewed(0.0, 0.08);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let f = fine.smooth(x * scale, y * scale);
        Texel::new(times(base, 1.0 + flow * broad.fractal(x * 2.0, y * 5.0)), relief * f, gloss)
    });
}

pub(crate) fn foam(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.color();
    let scale = dice.range(18.0, 60.0);
    let (seed, broad) = (dice.word(), Noise::new(dice.word()));
    let open = dice.range(0.2, 0.8);
    let mut cells = Cells::new(1.0, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let c = cells.near(x * scale, y * scale);
        let size = 0.15 + 0.4 * unit(c.id, 3);
        let pore = smoothstep(size, size * 0.5, c.near);
        let tone = 1.0 - open * pore
            + 0.1 * broad.fractal(x * 2.0, y * 2.0)
            + 0.1 * (unit(c.id, 11) - 0.5);
        Texel::new(times(base, tone), -0.3 * pore / scale, 0.0)
    });
}

pub(crate) fn cork(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.tint((0.06, 0.1), (0.35, 0.6), (0.5, 0.8));
    let dark = times(base, dice.range(0.3, 0.6));
    let scale = dice.range(14.0, 40.0);
    let (seed, warp, fine) = (dice.word(), Noise::new(dice.word()), Noise::new(dice.word()));
    let mut cells = Cells::new(1.0, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let w = 0.35 * warp.smooth(x * scale, y * scale);
        let c = cells.near(x * scale + w, y * scale - w);
        let seam = smoothstep(0.16, 0.02, c.next - c.near);
        let fleck = smoothstep(0.5, 0.9, fine.smooth(x * scale * 1.4, y * scale * 1.4));
        let tone = 0.8 + 0.4 * unit(c.id, 7) + 0.12 * fine.fractal(x * 30.0, y * 30.0);
        Texel::new(
            blend(times(base, tone), dark, (0.45 * seam + 0.8 * fleck).min(1.0)),
            -0.0015 * seam,
            0.0,
        )
    });
}

/// Moist folds with vessels, as an endoscope sees them.
pub(crate) fn tissue(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.tint((-0.02, 0.06), (0.35, 0.65), (0.55, 0.9));
    let vein = blend(base, [0.55, 0.08, 0.1], dice.range(0.3, 0.8));
    let (fold, vessel, broad, fine) = (
        Noise::new(dice.word()),
        Noise::new(dice.word()),
        Noise::new(dice.word()),
        Noise::new(dice.word()),
    );
    let scale = dice.range(1.2, 4.0);
    let depth = dice.range(0.02, 0.1);
    let gloss = dice.range(0.1, 0.9);
    let vessels = dice.range(0.0, 0.7);
    let circle = dice.chance(0.5).then(|| dice.range(0.45, 0.62));
    let dark = dice
        .chance(0.4)
        .then(|| (dice.range(0.2, 0.8), dice.range(0.2, 0.8), dice.range(0.1, 0.3)));
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let w = 0.2 * broad.smooth(x * 2.0, y * 2.0);
        let f = fold.smooth((x + w) * scale, (y + w) * scale * 1.6)
            + 0.25 * fold.smooth(x * scale * 3.0, y * scale * 3.0);
        let net = smoothstep(0.5, 0.9, vessel.ridged(x * 2.6 + w, y * 2.6));
        let tone = 0.9 + 0.18 * f + 0.14 * broad.fractal(x * 2.0, y * 2.0);
        let mut color = times(blend(base, vein, vessels * net), tone);
        if let Some((dx, dy, radius)) = dark {
            let d = crate::dice::length(u - dx, v - dy);
            color = times(color, 0.25 + 0.75 * smoothstep(radius * 0.3, radius * 1.6, d));
        }
        let mut lit = 1.0;
        if let Some(radius) = circle {
            lit = smoothstep(radius, radius - 0.015, crate::dice::length(u - 0.5, v - 0.5));
        }
        let height = depth * f / scale + 0.001 * fine.smooth(x * 25.0, y * 25.0);
        Texel::new(times(color, lit), height * lit, gloss * lit)
    });
}
