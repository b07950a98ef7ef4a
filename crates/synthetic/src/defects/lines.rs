//! Scratch, crack, cut, thread.

use super::Spot;
use super::layer::{Layer, Path, moved, taper, walk};
use crate::canvas::Canvas;
use crate::dice::{Dice, cos_turn, lerp, sin_turn, smoothstep, times};
use crate::noise::Noise;

pub(super) fn scratch(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let mut layer = Layer::new(canvas.size);
    let turn = dice.unit();
    let reach = spot.reach(dice, 0.06, 0.8);
    let count = if dice.chance(0.5) { 1 } else { dice.between(2, 7) };
    let width = dice.skewed(0.0008, 0.005);
    for _ in 0..count {
        let (x, y) = spot.near(dice, if count > 1 { reach * 0.12 } else { 0.0 });
        let own = turn + dice.normal() * 0.02;
        let half = reach * dice.range(0.3, 0.6);
        let start = (x - half * cos_turn(own), y - half * sin_turn(own));
        let curl = dice.skewed(0.0, 0.25);
        let mut path = walk(dice, start, own, 2.0 * half, (curl, 0.004), width);
        taper(&mut path);
        layer.stroke(canvas, &path, 0.0);
    }
    layer.keep_to(canvas);
    let (noise, gaps) = (Noise::new(dice.word()), dice.range(-1.2, 0.1));
    layer.shape(canvas, |u, v| smoothstep(gaps, gaps + 0.4, noise.smooth(u * 40.0, v * 40.0)));
    let bright = if spot.dark() { 0.85 } else { 0.55 };
    if dice.chance(bright) {
        let light = dice.grey(0.75, 1.0);
        layer.paint(canvas, light, (0.2 + 0.7 * spot.amount).min(1.0));
    } else {
        layer.scale(canvas, [(1.0 - 0.85 * spot.amount).max(0.1); 3]);
    }
    layer.emboss(canvas, -width * dice.range(0.0, 1.2));
}

pub(super) fn crack(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let mut layer = Layer::new(canvas.size);
    let turn = dice.unit();
    let reach = spot.reach(dice, 0.1, 1.2);
    let width = dice.skewed(0.0012, 0.007);
    let jitter = dice.range(0.04, 0.14);
    let bend = dice.range(0.05, 0.4);
    let start = (spot.x - 0.5 * reach * cos_turn(turn), spot.y - 0.5 * reach * sin_turn(turn));
    let mut path = walk(dice, start, turn, reach, (bend, jitter), width);
    taper(&mut path);
    layer.stroke(canvas, &path, 0.0);
    for _ in 0..dice.below(5) {
        let from = path[dice.below(path.len())];
        let branch_turn = turn + dice.sign() * dice.range(0.06, 0.2);
        let branch_reach = reach * dice.range(0.08, 0.4);
        let mut branch =
            walk(dice, (from.0, from.1), branch_turn, branch_reach, (bend, jitter), width * 0.7);
        let last = (branch.len() - 1) as f32;
        for (i, point) in branch.iter_mut().enumerate() {
            point.2 *= 1.0 - 0.8 * i as f32 / last;
        }
        layer.stroke(canvas, &branch, 0.0);
    }
    layer.keep_to(canvas);
    if spot.dark() && dice.chance(0.5) {
        let light = dice.grey(0.5, 0.9);
        layer.paint(canvas, light, (0.3 + 0.6 * spot.amount).min(1.0));
    } else {
        let dark = dice.grey(0.0, 0.12);
        layer.paint(canvas, dark, (0.3 + 0.65 * spot.amount).min(1.0));
    }
    layer.emboss(canvas, -width * dice.range(0.2, 1.5));
    layer.gloss(canvas, 0.0);
}

pub(super) fn cut(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let turn = dice.unit();
    let reach = spot.reach(dice, 0.06, 0.4);
    let width = (reach * dice.range(0.02, 0.09)).max(0.002);
    let bend = dice.range(0.0, 0.15);
    let start = (spot.x - 0.5 * reach * cos_turn(turn), spot.y - 0.5 * reach * sin_turn(turn));
    let mut path = walk(dice, start, turn, reach, (bend, 0.006), width);
    taper(&mut path);
    let mut lips = Layer::new(canvas.size);
    lips.stroke(canvas, &moved(&path, 0.0, 0.0, 2.4), width);
    lips.keep_to(canvas);
    let pale = dice.range(1.0, 1.5);
    lips.scale(canvas, [pale; 3]);
    lips.emboss(canvas, width * dice.range(0.2, 0.9));
    let mut slit = Layer::new(canvas.size);
    slit.stroke(canvas, &path, 0.0);
    slit.keep_to(canvas);
    let inside =
        if spot.dark() || dice.chance(0.25) { dice.grey(0.4, 0.9) } else { dice.grey(0.0, 0.2) };
    slit.paint(canvas, inside, (0.4 + 0.6 * spot.amount).min(1.0));
    slit.emboss(canvas, -2.0 * width);
    slit.gloss(canvas, 0.0);
}

pub(super) fn thread(canvas: &mut Canvas, dice: &mut Dice, spot: &Spot) {
    let width = dice.skewed(0.0009, 0.004);
    let count = if dice.chance(0.8) { 1 } else { dice.between(2, 4) };
    for _ in 0..count {
        let reach = spot.reach(dice, 0.08, 0.9);
        let turn = dice.unit();
        let start = (spot.x - 0.4 * reach * cos_turn(turn), spot.y - 0.4 * reach * sin_turn(turn));
        let bend = dice.range(0.2, 1.6);
        let path: Path = walk(dice, start, turn, reach, (bend, 0.004), width);
        let mut shadow = Layer::new(canvas.size);
        let (dx, dy) = (dice.range(-0.006, 0.006), dice.range(0.0, 0.008));
        shadow.stroke(canvas, &moved(&path, dx, dy, 1.4), 0.006);
        let shade = lerp(1.0, 0.55, dice.unit());
        shadow.scale(canvas, [shade; 3]);
        let mut fibre = Layer::new(canvas.size);
        fibre.stroke(canvas, &path, 0.0);
        let color = match dice.below(3) {
            0 => dice.grey(0.75, 1.0),
            1 => dice.grey(0.0, 0.25),
            _ => dice.color(),
        };
        // Never the colour of what it lies on.
        let same = color.iter().zip(spot.color).all(|(a, b)| (a - b).abs() < 0.15);
        let color = if same { times(color, if spot.dark() { 2.5 } else { 0.4 }) } else { color };
        fibre.paint(canvas, color, (0.55 + 0.45 * spot.amount).min(1.0));
        fibre.emboss(canvas, width);
    }
}
