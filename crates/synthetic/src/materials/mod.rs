//! Materials that fill the picture.

pub(super) mod fibrous;
pub(super) mod metal;
pub(super) mod mineral;
pub(super) mod pattern;
pub(super) mod soft;
pub(super) mod statistical;

use super::canvas::Pose;
use super::dice::Dice;

/// A pose for a directed texture: often along the image axes, else at any angle.
fn grain(dice: &mut Dice) -> Pose {
    let turn = if dice.chance(0.6) {
        dice.pick(&[0.0, 0.25]) + dice.normal() * 0.006
    } else {
        dice.unit()
    };
    Pose::new(dice.unit(), dice.unit(), turn, 1.0)
}
