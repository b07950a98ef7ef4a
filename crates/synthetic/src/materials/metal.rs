//! Brushed, cast, painted and perforated metal, wire mesh, magnetic tile.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Texel};
use crate::dice::{Dice, blend, floor, fract, length, lerp, smoothstep, times};
use crate::noise::Noise;

fn steel(dice: &mut Dice) -> [f32; 3] {
    match dice.below(5) {
        0 => dice.tint((0.07, 0.12), (0.25, 0.5), (0.5, 0.85)),
        1 => dice.tint((0.55, 0.65), (0.03, 0.15), (0.3, 0.7)),
        _ => dice.grey(0.3, 0.82),
    }
}

pub(crate) fn brushed(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = steel(dice);
    let (line, broad, band) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let fine = dice.range(50.0, 160.0);
    let along = dice.range(0.3, 4.0);
    let strength = dice.range(0.04, 0.24);
    let banding = dice.skewed(0.0, 0.2);
    let gloss = dice.skewed(0.0, 0.5);
    let sheen = dice.range(0.0, 0.35);
    let centre = dice.range(0.2, 0.8);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let thin = line.smooth(x * fine, y * along)
            + 0.6 * line.smooth(x * fine * 0.37 + 5.0, y * along * 0.6);
        let wide = band.smooth(x * 9.0, y * 0.25);
        let across = (x + pose.x - centre) * 2.2;
        let glow = sheen / (1.0 + across * across * 4.0) - sheen * 0.4;
        let tone =
            1.0 + strength * thin + banding * wide + 0.08 * broad.fractal(x * 2.0, y * 2.0) + glow;
        Texel::new(times(base, tone), 0.0002 * thin, gloss)
    });
}

pub(crate) fn cast(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.7) { dice.grey(0.18, 0.65) } else { steel(dice) };
    let (rough, fine, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(8.0, 40.0);
    let depth = dice.range(0.15, 0.8) / scale * 0.3;
    let gloss = dice.skewed(0.0, 0.6);
    let mottle = dice.range(0.05, 0.25);
    let lines = if dice.chance(0.3) { dice.range(0.02, 0.1) } else { 0.0 };
    let pitch = dice.range(20.0, 70.0);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let r = rough.fractal(x * scale, y * scale);
        let f = fine.smooth(x * 110.0, y * 110.0);
        let milled = fract(x * pitch + 0.3 * broad.smooth(x * 3.0, y)) - 0.5;
        let tone =
            1.0 + mottle * broad.fractal(x * 3.0, y * 3.0) + 0.08 * r + 0.05 * f + lines * milled;
        Texel::new(times(base, tone), depth * r + 0.0003 * f + lines * 0.03 * milled.abs(), gloss)
    });
}

pub(crate) fn painted(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.color();
    let (peel, broad, fine) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let scale = dice.range(20.0, 80.0);
    let depth = dice.skewed(0.0, 0.03) / scale;
    let gloss = dice.skewed(0.05, 0.8);
    let flake = if dice.chance(0.25) { dice.range(0.03, 0.15) } else { 0.0 };
    let drift = dice.range(0.02, 0.1);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let p = peel.smooth(x * scale, y * scale);
        let glint = fine.white(x * 260.0, y * 260.0) - 0.5;
        let tone = 1.0 + drift * broad.fractal(x * 1.7, y * 1.7) + 0.01 * p + flake * glint;
        Texel::new(times(base, tone), depth * p, gloss)
    });
}

pub(crate) fn perforated(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.7) { steel(dice) } else { dice.color() };
    let below = times(dice.color(), dice.range(0.05, 0.7));
    let count = dice.range(6.0, 18.0);
    let radius = dice.range(0.22, 0.4);
    let stagger = if dice.chance(0.6) { 0.5 } else { 0.0 };
    let square = dice.chance(0.2);
    let (broad, line) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let gloss = dice.skewed(0.0, 0.5);
    let edge = canvas.pixel() * count;
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let (mut a, b) = (x * count, y * count);
        let row = floor(b);
        a += stagger * row;
        let column = floor(a);
        let index = (column as i32 * 5 + row as i32 * 31).rem_euclid(151) as usize;
        let (mut fa, mut fb) = (a - column - 0.5, b - row - 0.5);
        if let Some((dx, dy, _)) = fault.shift(index, 151) {
            fa -= dx * 0.25;
            fb -= dy * 0.25;
        }
        let d = if square { fa.abs().max(fb.abs()) } else { length(fa, fb) } - radius;
        let open =
            if fault.missing(index, 151) { 0.0 } else { smoothstep(edge * 0.7, -edge * 0.7, d) };
        let grainy = line.smooth(x * 120.0, y * 6.0);
        let metal = times(base, 1.0 + 0.1 * broad.fractal(x * 2.0, y * 2.0) + 0.06 * grainy);
        let lip = 0.004 * smoothstep(0.0, 0.12, d);
        let hole = times(below, 0.5 + 0.6 * smoothstep(-0.3, 0.3, fa + fb));
        Texel::new(
            blend(metal, hole, open),
            if open > 0.5 { 0.0 } else { lip },
            gloss * (1.0 - open),
        )
    });
}

pub(crate) fn mesh(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let wire = if dice.chance(0.7) { steel(dice) } else { dice.color() };
    let below = if dice.chance(0.5) {
        dice.grey(0.02, 0.2)
    } else {
        times(dice.color(), dice.range(0.5, 1.1))
    };
    let count = dice.range(6.0, 20.0);
    let radius = dice.range(0.07, 0.2);
    let bend = dice.range(0.0, 0.12);
    let woven = dice.chance(0.6);
    let (wobble, broad) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let edge = canvas.pixel() * count;
    let gloss = dice.range(0.0, 0.7);
    let shadow = dice.range(0.05, 0.25);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let a = x * count + bend * wobble.smooth(y * count * 0.5, floor(x * count) * 7.3);
        let b = y * count + bend * wobble.smooth(x * count * 0.5 + 40.0, floor(y * count) * 5.1);
        let (ia, ib) = (floor(a), floor(b));
        let bar = |position: f32, index: f32, side: usize| {
            let index = index as i32 * 2 + side as i32;
            let slot = index.rem_euclid(64) as usize;
            let shift = fault.shift(slot, 64).map_or(0.0, |(dx, _, _)| dx * 0.5);
            let gone = fault.missing(slot, 64)
                && (8.0..14.0).contains(&(if side == 0 { b } else { a } + 9.0));
            if gone { 9.0 } else { position - 0.5 - shift }
        };
        let (da, db) = (bar(fract(a), ia, 0), bar(fract(b), ib, 1));
        let vertical_first = !woven || (ia as i32 + ib as i32).rem_euclid(2) == 0;
        let inside = |d: f32| smoothstep(radius + edge * 0.6, radius - edge * 0.6, d.abs());
        let round = |d: f32| (1.0 - (d / radius) * (d / radius)).max(0.0).sqrt();
        let shade =
            1.0 - 0.35 * smoothstep(0.25, 0.0, (da - shadow).abs().min((db - shadow).abs()));
        let mut color = times(below, shade * (1.0 + 0.15 * broad.fractal(x * 3.0, y * 3.0)));
        let (mut height, mut shiny) = (0.0, 0.0);
        let order = if vertical_first { [db, da] } else { [da, db] };
        for d in order {
            let cover = inside(d);
            color = blend(color, times(wire, 0.55 + 0.45 * round(d)), cover);
            height = lerp(height, round(d) * radius / count, cover);
            shiny = lerp(shiny, gloss, cover);
        }
        Texel::new(color, height, shiny)
    });
}

/// Ground ferrite: dark grey, vertical grinding marks, a bright middle and dark borders.
pub(crate) fn ferrite(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let level = dice.range(0.18, 0.45);
    let (line, broad, fine) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let streak = dice.range(0.08, 0.35);
    let rim = dice.range(0.0, 0.18);
    let middle = dice.range(0.3, 0.7);
    let glow = dice.range(0.2, 0.9);
    let patches = dice.range(0.05, 0.3);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let along = (x + 0.5 - middle).abs();
        let border = smoothstep(0.0, rim + 0.01, u.min(1.0 - u).min(v.min(1.0 - v)));
        let bright = smoothstep(0.55, 0.9, line.smooth(x * 70.0, y * 0.7)) * streak;
        let thin = line.smooth(x * 130.0, y * 2.0) * streak * 0.4;
        let blotch = broad.fractal(x * 4.0, y * 2.0) * patches;
        let field = 1.0 + glow * (0.35 - along).max(-0.4);
        let tone =
            level * field * (1.0 + bright + thin + blotch) + 0.03 * fine.smooth(x * 90.0, y * 90.0);
        Texel::new([tone * (0.35 + 0.65 * border); 3], 0.0003 * (thin + bright), 0.0)
    });
}
