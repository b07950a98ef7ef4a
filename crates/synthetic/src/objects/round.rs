//! Concentric and turned things: bottle mouth, washer, gear, button, cable.

use super::{Shade, Skin, background, bevel, place};
use crate::Fault;
use crate::canvas::{Canvas, around, polygon};
use crate::dice::{Dice, angle_turns, blend, cos_turn, fract, length, sin_turn, smoothstep, times};
use crate::noise::Noise;

/// A vessel seen from above: rings of different tone with lights that run along them.
pub(crate) fn bottle(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.3, 0.47);
    let glass = dice.tint((0.0, 1.0), (0.0, 0.5), (0.08, 0.5));
    let skin = Skin::new(dice, glass);
    let inner = if dice.chance(0.6) { times(glass, 0.4) } else { dice.color() };
    let light = dice.tint((0.02, 0.15), (0.1, 0.8), (0.6, 1.0));
    let rings: Vec<(f32, f32, f32)> = (0..dice.between(4, 10))
        .map(|_| (dice.range(0.55, 0.98), dice.range(0.008, 0.06), dice.range(-0.6, 0.9)))
        .collect();
    let mouth = dice.range(0.45, 0.62);
    let (run, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let lights: Vec<(f32, f32)> =
        (0..dice.between(1, 4)).map(|_| (dice.range(0.6, 0.95), dice.range(0.01, 0.03))).collect();
    let outline = |u: f32, v: f32| (length(u - pose.x, v - pose.y) / pose.scale - 1.0) * pose.scale;
    let bounds = pose.bounds(1.0);
    Shade::new(dice).cast(canvas, bounds, outline);
    canvas.stamp(bounds, outline, |u, v, _| {
        let (x, y) = pose.local(u, v);
        let r = length(x, y);
        let angle = angle_turns(x, y).abs() * 2.0;
        let mut texel = skin.at(u, v, 0.0);
        let mut tone = 1.0 + 0.2 * broad.smooth(x * 2.0, y * 2.0);
        for (at, width, strength) in &rings {
            let d = ((r - at) / width).abs();
            if d < 1.0 {
                tone += strength * (1.0 - d * d);
            }
        }
        texel.color = times(texel.color, tone.max(0.1));
        for (at, width) in &lights {
            let d = ((r - at) / width).abs();
            if d < 1.0 {
                let glow = smoothstep(0.1, 0.8, run.smooth(angle * 5.0, at * 40.0)) * (1.0 - d * d);
                texel.color = blend(texel.color, light, glow);
            }
        }
        let open = smoothstep(mouth + 0.015, mouth - 0.015, r);
        let depth = times(inner, 0.7 + 0.35 * broad.smooth(x * 1.5 + 5.0, y * 1.5));
        texel.color = blend(texel.color, depth, open);
        texel.gloss *= 1.0 - open;
        texel
    });
}

pub(crate) fn washer(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.25, 0.46);
    let skin = if dice.chance(0.7) {
        Skin::metal(dice)
    } else {
        let c = dice.color();
        Skin::new(dice, c)
    };
    let hole = dice.range(0.25, 0.65);
    let turned = dice.range(0.0, 0.2);
    let lathe = dice.range(15.0, 60.0);
    let line = Noise::new(dice.word());
    let teeth = if dice.chance(0.3) { dice.between(4, 10) } else { 0 };
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        let r = length(x, y);
        let mut inside = hole - r;
        if teeth > 0 {
            let sector = angle_turns(x, y) * teeth as f32;
            let index = crate::dice::floor(sector + 0.5) as i32;
            let slot = index.rem_euclid(teeth as i32) as usize;
            let shift = fault.shift(slot, teeth).map_or(0.0, |s| s.0 * 0.2);
            let tooth = smoothstep(0.25, 0.15, (fract(sector + 0.5) - 0.5 - shift).abs());
            if !fault.missing(slot, teeth) {
                inside -= 0.12 * tooth;
            }
        }
        (r - 1.0).max(inside) * pose.scale
    };
    let bounds = pose.bounds(1.0);
    Shade::new(dice).cast(canvas, bounds, outline);
    let width = dice.range(0.01, 0.05);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let mut texel = skin.at(u, v, bevel(d, width, width));
        texel.color = times(texel.color, 1.0 + turned * line.smooth(length(x, y) * lathe, 2.0));
        texel
    });
}

pub(crate) fn gear(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.28, 0.46);
    let skin = if dice.chance(0.7) {
        Skin::metal(dice)
    } else {
        let c = dice.color();
        Skin::new(dice, c)
    };
    let teeth = dice.between(9, 28);
    let (depth, duty) = (dice.range(0.08, 0.2), dice.range(0.2, 0.3));
    let bore = dice.range(0.12, 0.35);
    let windows = dice.pick(&[0usize, 0, 3, 4, 5, 6]);
    let window = dice.range(0.09, 0.15);
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        let r = length(x, y);
        let sector = angle_turns(x, y) * teeth as f32;
        let index = crate::dice::floor(sector + 0.5) as i32;
        let slot = index.rem_euclid(teeth as i32) as usize;
        let slope = duty + (1.0 - r) * 0.5;
        let shift = fault.shift(slot, teeth).map_or(0.0, |s| s.0 * 0.35);
        let flank = ((fract(sector + 0.5) - 0.5 - shift).abs() - slope) * r * std::f32::consts::TAU
            / teeth as f32;
        let tip = (r - 1.0).max(flank);
        let body = r - 1.0 + depth;
        let mut d = if fault.missing(slot, teeth) { body } else { body.min(tip) };
        d = d.max(bore - r);
        for i in 0..windows {
            let turn = i as f32 / windows as f32;
            let (cx, cy) = (0.58 * cos_turn(turn), 0.58 * sin_turn(turn));
            d = d.max(window - length(x - cx, y - cy));
        }
        d * pose.scale
    };
    let bounds = pose.bounds(1.0);
    Shade::new(dice).cast(canvas, bounds, outline);
    let width = dice.range(0.01, 0.04);
    canvas.stamp(bounds, outline, |u, v, d| skin.at(u, v, bevel(d, width, width)));
}

pub(crate) fn button(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.22, 0.44);
    let color = dice.color();
    let skin = Skin::new(dice, color);
    let holes = dice.pick(&[2usize, 4, 4]);
    let (ring, radius) = (dice.range(0.18, 0.32), dice.range(0.06, 0.12));
    let rim = dice.range(0.7, 0.9);
    let outline = |u: f32, v: f32| (length(u - pose.x, v - pose.y) / pose.scale - 1.0) * pose.scale;
    let bounds = pose.bounds(1.0);
    Shade::new(dice).cast(canvas, bounds, outline);
    let swirl = dice.skewed(0.0, 0.4);
    let pearl = Noise::new(dice.word());
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let dish = 0.03 * smoothstep(rim - 0.12, rim, length(x, y));
        let mut texel = skin.at(u, v, bevel(d, 0.03, 0.02) + dish);
        texel.color = times(texel.color, 1.0 + swirl * pearl.fractal(x * 1.2, y * 3.0));
        texel
    });
    for i in 0..holes {
        if fault.missing(i, holes) {
            continue;
        }
        let (dx, dy, _) = fault.shift(i, holes).unwrap_or_default();
        let turn = (i as f32 + 0.5) / holes as f32;
        let part = pose.part(
            ring * cos_turn(turn) + dx * 0.15,
            ring * sin_turn(turn) + dy * 0.15,
            0.0,
            radius,
        );
        canvas.punch(part.bounds(1.0), |u, v| {
            (length(u - part.x, v - part.y) / part.scale - 1.0) * part.scale
        });
    }
}

/// A cut cable: strands in coloured sleeves inside a jacket.
pub(crate) fn cable(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.3, 0.46);
    let jacket_color = dice.color();
    let jacket = Skin::new(dice, jacket_color);
    let fill = jacket.dyed(dice.grey(0.03, 0.7));
    let wall = dice.range(0.1, 0.22);
    let wires = dice.between(2, 5);
    let sleeves: Vec<[f32; 3]> = (0..wires).map(|_| dice.color()).collect();
    let copper = dice.tint((0.03, 0.09), (0.3, 0.7), (0.5, 0.85));
    let metal = Skin { gloss: 0.5, ..jacket.dyed(copper) };
    let disc = |x: f32, y: f32, r: f32| move |u: f32, v: f32| length(u - x, v - y) - r;
    let outline = disc(pose.x, pose.y, pose.scale);
    Shade::new(dice).cast(canvas, pose.bounds(1.0), outline);
    canvas.stamp(pose.bounds(1.0), outline, |u, v, d| jacket.at(u, v, bevel(d, 0.02, 0.01)));
    let core = pose.scale * (1.0 - wall);
    canvas.stamp(pose.bounds(1.0), disc(pose.x, pose.y, core), |u, v, _| fill.at(u, v, 0.0));
    let inner = 1.0 - wall;
    let half = sin_turn(0.5 / wires as f32);
    let radius = inner * half / (1.0 + half) * 0.94;
    let strands = dice.between(7, 19);
    for (i, &color) in sleeves.iter().enumerate() {
        if fault.missing(i, wires) {
            continue;
        }
        let (dx, dy, _) = fault.shift(i, wires).unwrap_or_default();
        let turn = i as f32 / wires as f32;
        let reach = inner - radius * 1.04;
        let wire = pose.part(
            reach * cos_turn(turn) + dx * 0.15,
            reach * sin_turn(turn) + dy * 0.15,
            0.0,
            radius,
        );
        let sleeve = jacket.dyed(color);
        canvas.stamp(wire.bounds(1.0), disc(wire.x, wire.y, wire.scale), |u, v, d| {
            sleeve.at(u, v, bevel(d, 0.01, 0.008))
        });
        for s in 0..strands {
            let ring = if s == 0 {
                0.0
            } else if s < 7 {
                0.3
            } else {
                0.58
            };
            let turn = s as f32 / if s < 7 { 6.0 } else { (strands - 7) as f32 };
            let strand = wire.part(ring * cos_turn(turn), ring * sin_turn(turn), 0.0, 0.15);
            let bounds = around(strand.x, strand.y, strand.scale);
            canvas.stamp(bounds, disc(strand.x, strand.y, strand.scale), |u, v, d| {
                metal.at(u, v, bevel(d, strand.scale, strand.scale * 0.5))
            });
        }
    }
}

pub(crate) fn nut(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    background(canvas, dice);
    let pose = place(dice, 0.22, 0.42);
    let skin = Skin::metal(dice);
    let sides = dice.pick(&[6usize, 6, 6, 4, 8]);
    let bore = dice.range(0.42, 0.58);
    let shift = fault.shift(0, 1).unwrap_or_default();
    let gone = fault.missing(0, 1);
    let outline = |u: f32, v: f32| {
        let (x, y) = pose.local(u, v);
        polygon(x, y, sides, 0.88).max(length(x, y) - 0.985) * pose.scale
    };
    let bounds = pose.bounds(1.05);
    Shade::new(dice).cast(canvas, bounds, outline);
    let width = dice.range(0.02, 0.06);
    canvas.stamp(bounds, outline, |u, v, d| {
        let (x, y) = pose.local(u, v);
        let chamfer = smoothstep(0.98, 0.85, length(x, y)) * 0.02;
        skin.at(u, v, bevel(d, width, width * 0.7) + chamfer)
    });
    if !gone {
        let hole = pose.part(shift.0 * 0.2, shift.1 * 0.2, 0.0, bore);
        let ring = |r: f32| move |u: f32, v: f32| length(u - hole.x, v - hole.y) - hole.scale * r;
        let thread = skin.dyed(times(skin.color, 0.45));
        canvas.stamp(hole.bounds(1.0), ring(1.0), |u, v, d| {
            thread.at(u, v, 0.01 * sin_turn(d / hole.scale * 8.0))
        });
        canvas.punch(hole.bounds(0.8), ring(0.8));
    }
}
