//! Wood, cloth, knit, leather, carpet, paper, cardboard.

use super::grain;
use crate::Fault;
use crate::canvas::{Canvas, Texel};
use crate::dice::{Dice, blend, floor, fract, sin_turn, smoothstep, times, unit};
use crate::noise::{Cells, Noise};

pub(crate) fn wood(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let (warp, fibre, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let dark = dice.tint((0.04, 0.1), (0.35, 0.7), (0.2, 0.55));
    let light = blend(dark, dice.tint((0.07, 0.12), (0.2, 0.5), (0.6, 0.92)), dice.range(0.3, 0.9));
    let rings = dice.range(4.0, 18.0);
    let stretch = dice.range(6.0, 16.0);
    let wave = dice.range(0.02, 0.14);
    let pores = dice.range(0.0, 0.35);
    let ringed = dice.range(0.2, 1.0);
    let gloss = dice.skewed(0.0, 0.12);
    let planks = dice.chance(0.3).then(|| dice.range(0.15, 0.5));
    canvas.fill(|u, v| {
        let (mut x, y) = pose.local(u, v);
        let mut seam = 0.0;
        let mut shade = 1.0;
        if let Some(width) = planks {
            let plank = floor(x / width);
            let inside = fract(x / width) * width;
            seam = smoothstep(0.006, 0.002, inside.min(width - inside));
            x += plank * 3.7;
            shade = 0.88 + 0.24 * fibre.white(plank, 3.0);
        }
        let bend = warp.smooth(x * 2.5, y * 0.8) * wave
            + warp.smooth(x * 9.0 + 3.0, y * 1.3) * wave * 0.15;
        let ring = fract((x + bend) * rings);
        let late = smoothstep(0.1, 0.85, ring) * smoothstep(1.0, 0.9, ring);
        let fine = fibre.smooth((x + bend * 0.5) * 140.0, y * stretch * 0.8);
        let pore = smoothstep(0.45, 0.8, fibre.smooth(x * 85.0 + 7.0, y * stretch * 0.5));
        let tone =
            (late * ringed + 0.35 * broad.fractal(x * 4.0, y * 1.2) + 0.16 * fine).clamp(-0.3, 1.2);
        let color = blend(light, dark, tone);
        let dim = shade * (1.0 - pores * pore) * (1.0 - 0.7 * seam);
        Texel::new(times(color, dim), -0.001 * pore * pores - 0.004 * seam + 0.0003 * fine, gloss)
    });
}

pub(crate) fn fabric(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let threads = dice.range(14.0, 60.0);
    let warp_color = dice.color();
    let weft_color =
        if dice.chance(0.6) { times(warp_color, dice.range(0.8, 1.1)) } else { dice.color() };
    let pattern = dice.below(3);
    let (wobble, fuzz, broad) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let depth = dice.range(0.3, 1.0);
    let loose = dice.range(0.05, 0.3);
    let stripes = if dice.chance(0.2) { dice.between(3, 12) } else { 0 };
    let stripe_color = dice.color();
    let lines = threads as usize * 2;
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let a = x * threads + loose * wobble.smooth(y * 6.0, x * threads * 0.7);
        let b = y * threads + loose * wobble.smooth(x * 6.0 + 9.0, y * threads * 0.7);
        let (ia, ib) = (floor(a), floor(b));
        let (fa, fb) = (fract(a) - 0.5, fract(b) - 0.5);
        let (na, nb) = (ia as i32, ib as i32);
        let mut over = match pattern {
            0 => (na + nb).rem_euclid(2) == 0,
            1 => (na + nb).rem_euclid(4) < 2,
            _ => (na * 3 + nb).rem_euclid(5) != 0,
        };
        if fault.missing(na.rem_euclid(lines as i32) as usize, lines) {
            over = false;
        }
        let (across, along) = if over { (fa, fb) } else { (fb, fa) };
        let round = 1.0 - 4.0 * across * across;
        let arch = 1.0 - 2.4 * along * along;
        let mut color = if over { warp_color } else { weft_color };
        if stripes > 0 && over && na.rem_euclid(stripes as i32) == 0 {
            color = stripe_color;
        }
        let yarn = if over { wobble.white(ia, 1.0) } else { wobble.white(2.0, ib) };
        let fibre = fuzz.smooth(a * 4.0, b * 4.0);
        let tone = (0.62 + 0.38 * round * arch * depth + 0.1 * (yarn - 0.5) + 0.12 * fibre)
            * (1.0 + 0.1 * broad.fractal(x * 1.5, y * 1.5));
        Texel::new(times(color, tone), round * arch * depth * 0.25 / threads, 0.0)
    });
}

pub(crate) fn knit(canvas: &mut Canvas, dice: &mut Dice, fault: Fault) {
    let pose = grain(dice);
    let columns = dice.range(9.0, 26.0);
    let aspect = dice.range(1.1, 1.6);
    let color = dice.color();
    let (wobble, fuzz) = (Noise::new(dice.word()), Noise::new(dice.word()));
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let a = x * columns + 0.12 * wobble.smooth(x * 5.0, y * 5.0);
        let b = y * columns * aspect + 0.2 * wobble.smooth(x * 4.0 + 5.0, y * 4.0);
        let fa = fract(a) - 0.5;
        let b = b + 1.2 * fa.abs();
        let fb = fract(b) - 0.5;
        let (ia, ib) = (floor(a) as i32, floor(b) as i32);
        let dropped = fault.missing((ia * 7 + ib).rem_euclid(97) as usize, 97);
        let across = (fa.abs() - 0.25) * 3.2;
        let round = (1.0 - across * across).max(0.0) * (1.0 - 3.2 * fb * fb).max(0.0);
        let fibre = fuzz.smooth(a * 8.0 + b * 3.0, b * 2.0);
        let lift = if dropped { 0.0 } else { round };
        Texel::new(times(color, 0.38 + 0.6 * lift + 0.14 * fibre), lift * 0.3 / columns, 0.0)
    });
}

pub(crate) fn leather(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = if dice.chance(0.7) {
        dice.tint((0.02, 0.1), (0.2, 0.7), (0.15, 0.7))
    } else {
        dice.color()
    };
    let scale = dice.range(16.0, 55.0);
    let jitter = dice.range(0.6, 1.0);
    let seed = dice.word();
    let (broad, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let depth = dice.range(0.1, 0.5) / scale;
    let gloss = dice.skewed(0.02, 0.35);
    let squash = dice.range(0.7, 1.0);
    let crease = dice.range(0.1, 0.5);
    let mut cells = Cells::new(jitter, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let wx = 0.25 * fine.smooth(x * scale * 0.7, y * scale * 0.7);
        let c = cells.near(x * scale * squash + wx, y * scale + wx);
        let bump = smoothstep(0.0, 0.45, c.next - c.near);
        let grainy = fine.smooth(x * 150.0, y * 150.0);
        let tone = 1.0 - crease * (1.0 - bump)
            + 0.16 * broad.fractal(x * 1.6, y * 1.6)
            + 0.04 * grainy
            + 0.06 * (unit(c.id, 8) - 0.5);
        Texel::new(times(base, tone), bump * depth + grainy * 0.0002, gloss * (0.5 + 0.5 * bump))
    });
}

pub(crate) fn carpet(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let scale = dice.range(35.0, 90.0);
    let (a, b) = (dice.color(), dice.color());
    let mixed = dice.range(0.0, 0.5);
    let base = dice.tint((0.0, 1.0), (0.0, 0.4), (0.2, 0.7));
    let seed = dice.word();
    let (broad, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    let rows = if dice.chance(0.5) { dice.range(0.3, 0.9) } else { 0.0 };
    let mut cells = Cells::new(1.0 - rows * 0.6, seed);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let c = cells.near(x * scale, y * scale * 0.8);
        let tuft = 1.0 - c.near * 1.1;
        let pick = unit(c.id, 4);
        let color = if pick < mixed * 0.5 {
            a
        } else if pick < mixed {
            b
        } else {
            base
        };
        let tone = 0.55
            + 0.4 * tuft
            + 0.2 * broad.fractal(x * 2.5, y * 2.5)
            + 0.15 * fine.smooth(x * 160.0, y * 160.0)
            + 0.15 * (unit(c.id, 12) - 0.5);
        Texel::new(times(color, tone), tuft * 0.35 / scale, 0.0)
    });
}

pub(crate) fn paper(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.tint((0.05, 0.16), (0.0, 0.25), (0.65, 0.95));
    let (pulp, fine, fleck) =
        (Noise::new(dice.word()), Noise::new(dice.word()), Noise::new(dice.word()));
    let rough = dice.range(0.0, 0.0008);
    let speckle = dice.range(0.72, 1.1);
    let mottle = dice.range(0.02, 0.07);
    let stretch = dice.range(0.3, 1.0);
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let p = pulp.fractal(x * 9.0, y * 9.0 * stretch);
        let f = fine.smooth(x * 120.0, y * 120.0 * stretch);
        let spot = smoothstep(speckle, speckle + 0.2, fleck.smooth(x * 60.0, y * 25.0));
        Texel::new(times(base, 1.0 + mottle * p + 0.02 * f - 0.2 * spot), rough * (f + p), 0.0)
    });
}

pub(crate) fn cardboard(canvas: &mut Canvas, dice: &mut Dice, _: Fault) {
    let pose = grain(dice);
    let base = dice.tint((0.06, 0.1), (0.3, 0.55), (0.5, 0.8));
    let flutes = dice.range(18.0, 45.0);
    let strength = dice.skewed(0.0, 0.06);
    let (pulp, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
    canvas.fill(|u, v| {
        let (x, y) = pose.local(u, v);
        let p = pulp.fractal(x * 6.0, y * 6.0);
        let f = fine.smooth(x * 110.0, y * 30.0);
        let dark = smoothstep(0.75, 1.0, fine.smooth(x * 40.0 + 4.0, y * 12.0));
        let flute = sin_turn(x * flutes);
        let tone = 1.0 + 0.09 * p + 0.04 * f + strength * flute - 0.12 * dark;
        Texel::new(times(base, tone), 0.0004 * f + strength * 0.02 * flute, 0.0)
    });
}
