//! Tiles, hexagons, bricks, solar cells.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Texel, rounded_box};
use crate::dice::{Dice, blend, floor, fract, lattice, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

pub(crate) fn tile(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let count = dice.range(1.3, 6.0);
    let base = if dice.chance(0.5) { dice.grey(0.5, 0.95) } else { dice.color() };
    let grout = dice.grey(0.2, 0.9);
    let gap = dice.range(0.008, 0.05);
    let aspect = dice.pick(&[1.0, 1.0, 0.5]);
    let offset = if dice.chance(0.3) { 0.5 } else { 0.0 };
    let (broad, speck) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let spread = dice.range(0.0, 0.1);
    let speckle = dice.range(0.5, 1.2);
    let gloss = dice.skewed(0.0, 0.9);
    let marbling = dice.skewed(0.0, 0.25);
    let seed = dice.word();
    let edge = canvas.pixel() * count;
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let b = y * count * aspect;
        let row = floor(b);
        let a = x * count + offset * row;
        let column = floor(a);
        let id = lattice(column as i32, row as i32, seed);
        let slot = (id % 41) as usize;
        let (dx, dy, _) = fault.shift(slot, 41).unwrap_or_default();
        let (fa, fb) = (fract(a) - 0.5 - dx * 0.06, (fract(b) - 0.5 - dy * 0.06) / aspect);
        let d = rounded_box(fa, fb, 0.5 - gap, 0.5 / aspect - gap, 0.03);
        let cover = if fault.missing(slot, 41) { 0.0 } else { smoothstep(edge, -edge, d) };
        let spot = smoothstep(speckle, speckle + 0.2, speck.smooth(x * 60.0, y * 60.0));
        let tone = 1.0
            + spread * (unit(id, 4) - 0.5)
            + marbling * broad.fractal(x * 4.0 + unit(id, 9) * 9.0, y * 4.0)
            - 0.2 * spot;
        let joint = times(grout, 0.9 + 0.2 * speck.smooth(x * 110.0, y * 110.0));
        let bevel = 0.02 / count * smoothstep(0.0, -0.05, d);
        Texel::new(blend(joint, times(base, tone), cover), cover * bevel, gloss * cover)
    });
}

pub(crate) fn hexagons(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let count = dice.range(3.0, 12.0);
    let base = dice.color();
    let second = if dice.chance(0.5) { base } else { dice.color() };
    let grout = dice.grey(0.1, 0.9);
    let gap = dice.range(0.03, 0.1);
    let (broad, seed) = (Noise::new(dice.word()), dice.word());
    let spread = dice.range(0.0, 0.3);
    let gloss = dice.skewed(0.0, 0.8);
    let edge = canvas.pixel() * count;
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let (a, b) = (x * count, y * count / 1.732_050_8);
        // Two rectangular lattices make a hexagonal one; take the nearer centre.
        let (ax, ay) = (fract(a) - 0.5, (fract(b) - 0.5) * 1.732_050_8);
        let (bx, by) = (fract(a + 0.5) - 0.5, (fract(b + 0.5) - 0.5) * 1.732_050_8);
        let first = ax * ax + ay * ay < bx * bx + by * by;
        let (cx, cy, i, j) = if first {
            (ax, ay, floor(a) as i32, floor(b) as i32 * 2)
        } else {
            (bx, by, floor(a + 0.5) as i32, floor(b + 0.5) as i32 * 2 + 1)
        };
        let id = lattice(i, j, seed);
        let slot = (id % 61) as usize;
        let (dx, dy, _) = fault.shift(slot, 61).unwrap_or_default();
        let (cx, cy) = ((cx - dx * 0.08).abs(), (cy - dy * 0.08).abs());
        let d = cx.max(cx * 0.5 + cy * 0.866_025_4) - 0.5 + gap * 0.5;
        let cover = if fault.missing(slot, 61) { 0.0 } else { smoothstep(edge, -edge, d) };
        let tint = if unit(id, 3) < 0.5 { base } else { second };
        let tone = 1.0 + spread * (unit(id, 9) - 0.5) + 0.1 * broad.fractal(x * 8.0, y * 8.0);
        let joint = times(grout, 1.0 + 0.15 * broad.smooth(x * 80.0, y * 80.0));
        let bevel = 0.05 / count * smoothstep(0.0, -0.12, d);
        Texel::new(blend(joint, times(tint, tone), cover), cover * bevel, gloss * cover)
    });
}

pub(crate) fn bricks(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let rows = dice.range(3.0, 9.0);
    let base = if dice.chance(0.7) {
        dice.tint((0.0, 0.07), (0.3, 0.6), (0.35, 0.7))
    } else {
        dice.color()
    };
    let mortar = dice.grey(0.4, 0.85);
    let (warp, rough, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let spread = dice.range(0.1, 0.5);
    let seed = dice.word();
    let edge = canvas.pixel() * rows;
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let w = 0.035 * warp.smooth(x * 14.0, y * 14.0);
        let b = y * rows + w;
        let row = floor(b);
        let a = x * rows * 0.45 + 0.5 * row + w;
        let id = lattice(floor(a) as i32, row as i32, seed);
        let slot = (id % 37) as usize;
        let (dx, dy, _) = fault.shift(slot, 37).unwrap_or_default();
        let d = rounded_box(
            (fract(a) - 0.5 - dx * 0.08) / 0.45,
            fract(b) - 0.5 - dy * 0.08,
            1.06,
            0.44,
            0.06,
        );
        let cover = if fault.missing(slot, 37) { 0.0 } else { smoothstep(edge, -edge, d) };
        let r = rough.fractal(x * 22.0, y * 22.0);
        let tone =
            1.0 + spread * (unit(id, 6) - 0.5) + 0.14 * r + 0.12 * broad.fractal(x * 5.0, y * 5.0);
        let joint = times(mortar, 0.85 + 0.2 * r);
        Texel::new(blend(joint, times(base, tone), cover), cover * 0.03 / rows + 0.002 * r, 0.0)
    });
}

pub(crate) fn solar(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let base = dice.tint((0.58, 0.68), (0.2, 0.7), (0.15, 0.5));
    let line = dice.grey(0.55, 0.9);
    let fingers = dice.range(18.0, 45.0);
    let bars = dice.range(1.5, 4.0);
    let crystals = dice.range(5.0, 16.0);
    let poly = dice.range(0.0, 0.5);
    let (seed, fine) = (dice.word(), Noise::new(dice.word()));
    let width = (canvas.pixel() * fingers).max(dice.range(0.05, 0.1));
    let mut cells = Cells::new(1.0, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let c = cells.near(x * crystals, y * crystals);
        let tone = 1.0 + poly * (unit(c.id, 4) - 0.5) + 0.05 * fine.smooth(x * 50.0, y * 50.0);
        let finger = floor(y * fingers);
        let slot = (finger as i32).rem_euclid(64) as usize;
        let (shift, _, _) = fault.shift(slot, 64).unwrap_or_default();
        let near = (fract(y * fingers) - 0.5 - shift * 0.5).abs();
        let mut cover = smoothstep(width, width * 0.4, near);
        if fault.missing(slot, 64) && fract(x * bars) > 0.2 {
            cover = 0.0;
        }
        let bar = smoothstep(0.06, 0.045, (fract(x * bars) - 0.5).abs());
        Texel::new(blend(times(base, tone), line, (cover * 0.7).max(bar)), 0.0, 0.1)
    });
}
