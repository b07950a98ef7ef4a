//! Screws, brackets, plates.

use super::{Shade, Skin, background, bevel, place};
use crate::Fault;
use crate::canvas::{Canvas, polygon, rounded_box};
use crate::dice::{Dice, fract, length, smoothstep, times};

pub(crate) fn screw(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.36, 0.48);
    let skin = Skin::metal(dice);
    let (shaft, head, head_length) =
        (dice.range(0.1, 0.2), dice.range(0.24, 0.4), dice.range(0.1, 0.25));
    let pitch = dice.range(10.0, 24.0);
    let from = dice.range(-0.6, 0.2);
    let pointed = dice.chance(0.5);
    let depth = dice.range(0.02, 0.05);
    let gone = fault.missing(0, 1);
    let bent = fault.shift(0, 1).map_or(0.0, |s| s.0 * 0.5);
    let outline = |u: f32, v: f32| {
        let (x, mut y) = pose.local(u, v);
        y -= bent * (x + 0.2).max(0.0) * (x + 0.2).max(0.0);
        let threaded = smoothstep(from, from + 0.05, x) * if gone { 0.0 } else { 1.0 };
        let tooth = depth * (fract((x + y * 0.12) * pitch) - 0.5).abs() * 2.0 * threaded;
        let taper = if pointed { smoothstep(0.98, 0.7, x) } else { 1.0 };
        let rod = rounded_box(
            x - 0.05,
            y,
            0.93,
            (shaft - depth * threaded + tooth) * taper.max(0.02),
            0.02,
        );
        rod.min(rounded_box(x + 1.0 - head_length, y, head_length, head, 0.05)) * pose.scale
    };
    let bounds = pose.bounds(1.1);
    Shade::new(dice).cast(canvas, bounds, outline);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, mut y) = pose.local(u, v);
        y -= bent * (x + 0.2).max(0.0) * (x + 0.2).max(0.0);
        let in_head = x < -1.0 + 2.0 * head_length;
        let radius = if in_head { head } else { shaft };
        let t = (y / radius).clamp(-1.0, 1.0);
        let mut height = radius * (1.0 - t * t).sqrt() * pose.scale * 0.6;
        let thread = smoothstep(from, from + 0.05, x);
        if !in_head && !gone {
            let wave = (fract((x + y * 0.12) * pitch) - 0.5).abs() * 2.0;
            height += thread * depth * wave * pose.scale;
        }
        let mut texel = skin.at(u, v, height.min(bevel(d, 0.01, 1.0)));
        let wave = if in_head || gone { 0.0 } else { thread };
        texel.color = times(
            texel.color,
            1.0 - 0.5 * wave * smoothstep(0.3, 0.0, (fract((x + y * 0.12) * pitch) - 0.5).abs()),
        );
        texel
    });
}

/// A flat plate of painted or bare metal with holes.
pub(crate) fn plate(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.34, 0.47);
    let skin = if dice.chance(0.5) {
        Skin::metal(dice)
    } else {
        let c = dice.color();
        Skin::new(dice, c)
    };
    let shape = dice.below(3);
    let (a, b) = (dice.range(0.6, 0.8), dice.range(0.35, 0.75));
    let corner = dice.skewed(0.01, 0.25);
    let sides = dice.between(5, 8);
    let holes: Vec<(f32, f32, f32)> = match dice.below(3) {
        0 => vec![(0.0, 0.0, dice.range(0.08, 0.22))],
        1 => {
            let r = dice.range(0.05, 0.11);
            vec![(-a * 0.7, 0.0, r), (a * 0.7, 0.0, r)]
        }
        _ => {
            let r = dice.range(0.05, 0.09);
            [(-0.7, -0.65), (0.7, -0.65), (0.7, 0.65), (-0.7, 0.65)]
                .map(|(x, y)| (x * a, y * b, r))
                .to_vec()
        }
    };
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        let d = match shape {
            0 => rounded_box(x, y, a, b, corner),
            1 => polygon(x, y, sides, 0.75),
            _ => rounded_box(x, y, a, b, corner).max(-rounded_box(
                x - a,
                y - b,
                a * 0.7,
                b * 0.9,
                corner,
            )),
        };
        d * pose.scale
    };
    let bounds = pose.bounds(1.2);
    Shade::new(dice).cast(canvas, bounds, outline);
    let width = dice.range(0.006, 0.02);
    canvas.stamp(bounds, outline, |u, v, d| skin.at(u, v, bevel(d, width, width)));
    for (i, &(x, y, r)) in holes.iter().enumerate() {
        if fault.missing(i, holes.len()) {
            continue;
        }
        let (dx, dy, _) = fault.shift(i, holes.len()).unwrap_or_default();
        let hole = pose.part(x + dx * 0.2, y + dy * 0.2, 0.0, r);
        let disc =
            |grow: f32| move |u: f32, v: f32| length(u - hole.x, v - hole.y) - hole.scale * grow;
        let wall = skin.dyed(times(skin.color, 0.5));
        canvas.stamp(hole.bounds(1.1), disc(1.1), |u, v, d| wall.at(u, v, 0.01 + d * 0.4));
        canvas.punch(hole.bounds(1.0), disc(1.0));
    }
}
