//! Grey sections of a rounded body with inner organs, as medical scanners make them.

use super::place;
use crate::Fault;
use crate::canvas::{Canvas, Texel};
use crate::dice::{Dice, blend, length, smoothstep};
use crate::noise::Noise;

pub(crate) fn section(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let dark = dice.skewed(0.0, 0.08);
    canvas.fill(|_, _| Texel::new([dark; 3], 0.0, 0.0));
    canvas.keep_behind();
    let pose = place(dice, 0.36, 0.48);
    let aspect = dice.range(0.75, 0.98);
    let (shape, fold, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let rind = dice.range(0.03, 0.12);
    let (rind_tone, gap_tone) = (dice.range(0.3, 1.0), dice.range(0.0, 0.3));
    let (matter, second) = (dice.range(0.25, 0.6), dice.range(0.3, 0.75));
    let folds = dice.range(2.5, 6.0);
    let fluid = if dice.chance(0.5) { dice.range(0.0, 0.15) } else { dice.range(0.7, 1.0) };
    let middle = dice.chance(0.8);
    let spread = dice.range(0.1, 0.3);
    let wing = (dice.range(0.08, 0.2), dice.range(0.1, 0.35));
    let lobes: Vec<(f32, f32, f32, f32)> = (0..dice.between(0, 3))
        .map(|_| {
            (
                dice.range(0.1, 0.6),
                dice.range(-0.6, 0.6),
                dice.range(0.08, 0.25),
                dice.range(0.2, 0.8),
            )
        })
        .collect();
    let wobble = dice.range(0.01, 0.06);
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        (length(x / aspect, y) - 1.0 + wobble * shape.smooth(x * 1.5, y * 1.5))
            * pose.scale
            * aspect
    };
    canvas.stamp(pose.bounds(1.1), outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let depth = -d / pose.scale;
        let mirror = x.abs() + 0.05 * broad.smooth(x * 2.0, y * 2.0);
        let ridge = fold.ridged(x * folds * 0.5, y * folds * 0.5);
        let bright = smoothstep(0.0, 0.6, ridge + 0.25 * broad.smooth(x * 3.0, y * 3.0));
        let mut tone = matter
            + (second - matter) * bright * spread * 3.0
            + 0.06 * broad.fractal(x * 3.0, y * 3.0);
        let groove = smoothstep(0.6, 0.95, ridge) * smoothstep(0.5, 0.1, depth);
        tone += (fluid - tone) * groove * 0.7;
        if middle {
            tone += (gap_tone - tone)
                * 0.7
                * smoothstep(0.025, 0.008, mirror)
                * smoothstep(0.2, 0.35, y.abs());
        }
        let w = length((mirror - wing.0) / 0.09, (y - 0.03 * x) / wing.1);
        tone += (fluid - tone) * smoothstep(1.1, 0.9, w + 0.2 * broad.smooth(x * 5.0, y * 5.0));
        for (lx, ly, r, value) in &lobes {
            let lobe = length(mirror - lx, y - ly) / r + 0.15 * broad.smooth(x * 4.0, y * 4.0);
            tone += (value - tone) * 0.5 * smoothstep(1.1, 0.85, lobe);
        }
        let skull = smoothstep(0.0, 0.015, depth) * smoothstep(rind, rind * 0.7, depth);
        let gap = smoothstep(rind * 0.7, rind, depth) * smoothstep(rind * 1.9, rind * 1.5, depth);
        let mut color = [tone.clamp(0.0, 1.0); 3];
        color = blend(color, [gap_tone; 3], gap);
        color = blend(color, [rind_tone * (0.8 + 0.3 * broad.smooth(x * 6.0, y * 6.0)); 3], skull);
        Texel::new(color, 0.0, 0.0)
    });
}
