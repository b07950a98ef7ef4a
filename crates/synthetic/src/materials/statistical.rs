//! Random fields of given spectra, as in optical inspection benchmarks.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Pose, Texel};
use crate::dice::{Dice, angle_turns, length, lerp, sin_turn, smoothstep, times};
use crate::noise::Noise;

fn ground(dice: &mut Dice) -> [f32; 3] {
    if dice.chance(0.8) { [dice.range(0.2, 0.75); 3] } else { dice.color() }
}

/// Streaks: noise much longer one way than the other.
pub(crate) fn streaks(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = ground(dice);
    let (a, b, c) = (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let fine = dice.range(30.0, 110.0);
    let stretch = dice.range(0.08, 0.35);
    let broad = dice.range(3.0, 12.0);
    let (strong, wide) = (dice.range(0.15, 0.55), dice.skewed(0.0, 0.6));
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let thin = a.smooth(x * fine, y * fine * stretch)
            + 0.7 * b.smooth(x * fine * 1.7, y * fine * stretch * 1.3);
        let band = c.smooth(x * broad, y * broad * 0.15)
            + 0.4 * c.smooth(x * broad * 2.1, y * broad * 0.5);
        Texel::new(times(base, (1.0 + strong * thin + wide * band).max(0.05)), 0.0002 * thin, 0.0)
    });
}

/// Cloudy noise of one scale, with fine grain.
pub(crate) fn clouds(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = ground(dice);
    let (a, b) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(3.0, 45.0);
    let stretch = dice.range(0.4, 1.0);
    let strong = dice.range(0.1, 0.5);
    let grainy = dice.skewed(0.0, 0.35);
    let relief = if dice.chance(0.4) { dice.range(0.05, 0.5) / scale } else { 0.0 };
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let cloud = a.fractal(x * scale, y * scale * stretch);
        let grain = b.smooth(x * 120.0, y * 120.0);
        Texel::new(
            times(base, (1.0 + strong * cloud + grainy * grain).max(0.05)),
            relief * cloud,
            0.0,
        )
    });
}

/// Interfering waves, moiré and rings.
pub(crate) fn waves(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let base = ground(dice);
    let centres: Vec<(Pose, f32, bool)> = (0..dice.between(2, 4))
        .map(|_| {
            let pose = Pose::new(dice.range(-0.6, 1.6), dice.range(-0.6, 1.6), dice.unit(), 1.0);
            (pose, dice.range(12.0, 70.0), dice.chance(0.5))
        })
        .collect();
    let (warp, grain) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let strong = dice.range(0.06, 0.3);
    let bend = dice.range(0.0, 0.03);
    let noisy = dice.range(0.0, 0.25);
    canvas.fill(|u, v| {
        let w = bend * warp.smooth(u * 3.0, v * 3.0);
        let mut sum = 0.0;
        for (pose, frequency, round) in &centres {
            let (x, y) = pose.local(u, v);
            let phase = if *round { length(x, y) } else { x };
            sum += sin_turn((phase + w) * frequency);
        }
        let noise = grain.smooth(u * 110.0, v * 110.0);
        let envelope = 0.6 + 0.6 * warp.smooth(u * 2.0 + 9.0, v * 2.0);
        Texel::new(times(base, (1.0 + strong * sum * envelope + noisy * noise).max(0.05)), 0.0, 0.0)
    });
}

/// Relief lines that run out from a centre.
pub(crate) fn rays(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let base = ground(dice);
    let (cx, cy) = (dice.range(0.2, 0.8), dice.range(0.2, 0.8));
    let (line, grain) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let spokes = dice.range(25.0, 90.0);
    let radial = dice.range(1.0, 6.0);
    let depth = dice.range(0.0005, 0.004);
    let noisy = dice.range(0.0, 0.15);
    let paint = dice.range(0.0, 0.25);
    canvas.fill(|u, v| {
        let (x, y) = (u - cx, v - cy);
        let r = length(x, y);
        let angle = angle_turns(x, y) + 0.5;
        // Blend across the cut of the angle, so that no seam shows.
        let turn = |a: f32| line.smooth(a * spokes, r * radial);
        let cut = smoothstep(0.96, 1.0, angle);
        let spoke = lerp(turn(angle), turn(angle - 1.0), cut) * smoothstep(0.0, 0.08, r);
        let noise = grain.smooth(u * 100.0, v * 100.0);
        let tone = 1.0 + paint * spoke + noisy * noise - 0.4 * smoothstep(0.03, 0.0, r);
        Texel::new(times(base, tone), depth * spoke * (0.2 + r), 0.05)
    });
}
