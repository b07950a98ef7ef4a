//! Parametric things on backgrounds.

pub(super) mod electronic;
pub(super) mod hardware;
pub(super) mod organic;
pub(super) mod packaged;
pub(super) mod round;
pub(super) mod scan;

use super::Fault;
use super::canvas::{Bounds, Canvas, Pose, Texel};
use super::dice::{Dice, times};
use super::materials::{fibrous, metal, mineral, soft, statistical};
use super::noise::Noise;

/// Draws what lies behind an object: mostly plain, dark, white or coloured; sometimes a material.
fn background(canvas: &mut Canvas, dice: &mut Dice) {
    let style = dice.below(10);
    match style {
        0 => metal::brushed(canvas, dice, Fault::None),
        1 => {
            let material = dice.pick(&[
                fibrous::fabric,
                fibrous::wood,
                mineral::concrete,
                soft::rubber,
                statistical::clouds,
            ]);
            material(canvas, dice, Fault::None);
        }
        _ => {
            let base = match style {
                2..=4 => dice.grey(0.02, 0.2),
                5..=6 => dice.grey(0.8, 1.0),
                7 => dice.grey(0.25, 0.8),
                _ => dice.color(),
            };
            let (broad, fine) = (Noise::new(dice.word()), Noise::new(dice.word()));
            let (cloud, grain) = (dice.skewed(0.0, 0.12), dice.skewed(0.0, 0.2));
            let scale = dice.range(20.0, 100.0);
            let (mut clouds, mut grains) = (vec![0.0; canvas.size], vec![0.0; canvas.size]);
            canvas.fill_rows(|columns, v, row| {
                for ((u, c), g) in columns.iter().zip(&mut clouds).zip(&mut grains) {
                    (*c, *g) = (u * 1.5, u * scale);
                }
                broad.fractal_along(&mut clouds, v * 1.5);
                fine.smooth_along(&mut grains, v * scale);
                for ((t, c), g) in row.iter_mut().zip(&clouds).zip(&grains) {
                    let tone = 1.0 + cloud * c + grain * g;
                    *t = Texel::new(times(base, tone), grain * 0.002 * g, 0.0);
                }
            });
        }
    }
    canvas.keep_behind();
}

/// A pose near the centre, so that the thing of local radius 1 is mostly in the picture.
fn place(dice: &mut Dice, smallest: f32, largest: f32) -> Pose {
    let scale = dice.range(smallest, largest);
    let room = (0.5 - scale).max(0.03) * 0.8;
    let turn = if dice.chance(0.4) { dice.normal() * 0.02 } else { dice.unit() };
    Pose::new(0.5 + dice.range(-room, room), 0.5 + dice.range(-room, room), turn, scale)
}

/// The shadow that the light throws: offset, softness, strength.
#[derive(Clone, Copy)]
struct Shade {
    x: f32,
    y: f32,
    soft: f32,
    strength: f32,
}

impl Shade {
    fn new(dice: &mut Dice) -> Self {
        let reach = dice.skewed(0.0, 0.05);
        let turn = dice.unit();
        Self {
            x: reach * super::dice::cos_turn(turn),
            y: reach * super::dice::sin_turn(turn),
            soft: dice.range(0.008, 0.06),
            strength: if dice.chance(0.3) { 0.0 } else { dice.range(0.1, 0.7) },
        }
    }

    fn cast(&self, canvas: &mut Canvas, bounds: Bounds, distance: impl Fn(f32, f32) -> f32) {
        if self.strength > 0.0 {
            let moved =
                [bounds[0] + self.x, bounds[1] + self.y, bounds[2] + self.x, bounds[3] + self.y];
            canvas.shadow(moved, |u, v| distance(u - self.x, v - self.y), self.soft, self.strength);
        }
    }
}

/// Height of a rounded edge: 0 at the outline, `height` from `width` inwards.
#[inline]
fn bevel(distance: f32, width: f32, height: f32) -> f32 {
    let t = (-distance / width).clamp(0.0, 1.0);
    height * (t * (2.0 - t)).sqrt()
}

/// A speckled, slightly uneven skin of one colour.
#[derive(Clone, Copy)]
struct Skin {
    color: [f32; 3],
    gloss: f32,
    mottle: f32,
    grain: f32,
    scale: f32,
    noise: Noise,
    fine: Noise,
}

impl Skin {
    fn new(dice: &mut Dice, color: [f32; 3]) -> Self {
        Self {
            color,
            gloss: dice.skewed(0.0, 0.7),
            mottle: dice.skewed(0.01, 0.2),
            grain: dice.skewed(0.0, 0.12),
            scale: dice.range(2.0, 12.0),
            noise: Noise::new(dice.word()),
            fine: Noise::new(dice.word()),
        }
    }

    fn metal(dice: &mut Dice) -> Self {
        let color = if dice.chance(0.75) {
            dice.grey(0.3, 0.8)
        } else {
            dice.tint((0.06, 0.12), (0.3, 0.6), (0.5, 0.85))
        };
        Self { gloss: dice.range(0.1, 0.9), ..Self::new(dice, color) }
    }

    /// The skin at a point whose relief is `height`.
    #[inline]
    fn at(&self, u: f32, v: f32, height: f32) -> Texel {
        let grain = self.fine.smooth(u * 110.0, v * 110.0);
        let tone = 1.0
            + self.mottle * self.noise.fractal(u * self.scale, v * self.scale)
            + self.grain * grain;
        Texel::new(times(self.color, tone), height + self.grain * 0.002 * grain, self.gloss)
    }

    fn dyed(self, color: [f32; 3]) -> Self {
        Self { color, ..self }
    }
}
