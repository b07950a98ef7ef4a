//! Defects: what can go wrong with a material or a part.

mod layer;
mod lines;
mod marks;
mod relief;

use super::canvas::Canvas;
use super::dice::{Dice, length};

/// Kinds of defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DefectKind {
    /// Thin, nearly straight marks.
    Scratch,
    /// A jagged, branching line.
    Crack,
    /// A pit or a hole.
    Hole,
    /// A soft spot of another tone.
    Stain,
    /// A short, open slit.
    Cut,
    /// A dip or a bump of the surface.
    Dent,
    /// A fibre that lies on the surface.
    Thread,
    /// A part that is not there, or a piece broken off.
    MissingPart,
    /// A part at the wrong place.
    MisplacedPart,
    /// Ink where none belongs.
    Print,
    /// Dirt, crumbs, powder.
    Contamination,
    /// A crease.
    Fold,
    /// A wrong tone of an area.
    Discoloration,
    /// A worn, rubbed area.
    Abrasion,
    /// Structure bent out of shape.
    Deformation,
    /// Rust.
    Corrosion,
    /// A swelling or growth.
    Lump,
    /// A thing that does not belong there.
    ForeignObject,
}

impl DefectKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Scratch,
        Self::Crack,
        Self::Hole,
        Self::Stain,
        Self::Cut,
        Self::Dent,
        Self::Thread,
        Self::MissingPart,
        Self::MisplacedPart,
        Self::Print,
        Self::Contamination,
        Self::Fold,
        Self::Discoloration,
        Self::Abrasion,
        Self::Deformation,
        Self::Corrosion,
        Self::Lump,
        Self::ForeignObject,
    ];

    /// Name in lower case with underscores, as used for folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Crack => "crack",
            Self::Hole => "hole",
            Self::Stain => "stain",
            Self::Cut => "cut",
            Self::Dent => "dent",
            Self::Thread => "thread",
            Self::MissingPart => "missing_part",
            Self::MisplacedPart => "misplaced_part",
            Self::Print => "print",
            Self::Contamination => "contamination",
            Self::Fold => "fold",
            Self::Discoloration => "discoloration",
            Self::Abrasion => "abrasion",
            Self::Deformation => "deformation",
            Self::Corrosion => "corrosion",
            Self::Lump => "lump",
            Self::ForeignObject => "foreign_object",
        }
    }

    /// A phrase for captions, such as "a scratch".
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Scratch => "a scratch",
            Self::Crack => "a crack",
            Self::Hole => "a hole",
            Self::Stain => "a stain",
            Self::Cut => "a cut",
            Self::Dent => "a dent",
            Self::Thread => "a loose thread",
            Self::MissingPart => "a missing part",
            Self::MisplacedPart => "a misplaced part",
            Self::Print => "a print mark",
            Self::Contamination => "contamination",
            Self::Fold => "a fold",
            Self::Discoloration => "discoloration",
            Self::Abrasion => "a worn spot",
            Self::Deformation => "a bent area",
            Self::Corrosion => "rust",
            Self::Lump => "a lump",
            Self::ForeignObject => "a foreign object",
        }
    }
}

/// Where a defect goes and how large and strong it is.
struct Spot {
    x: f32,
    y: f32,
    /// Size of the thing, in image sides.
    thing: f32,
    /// Mean colour around.
    color: [f32; 3],
    /// Contrast in (0, 1], or more on a second try.
    amount: f32,
}

impl Spot {
    fn find(canvas: &Canvas, dice: &mut Dice, force: f32) -> Self {
        let size = canvas.size;
        let inside = |i: usize| canvas.region[i] > 0.9;
        let mut at = size * size / 2 + size / 2;
        for _ in 0..200 {
            at = dice.below(size * size);
            let (x, y) = (at % size, at / size);
            let margin = size / 40;
            let central =
                (margin..size - margin).contains(&x) && (margin..size - margin).contains(&y);
            if central && inside(at) {
                break;
            }
        }
        let area = canvas.region.iter().step_by(7).sum::<f32>() * 7.0 / (size * size) as f32;
        let mut color = [0.0f32; 3];
        for _ in 0..24 {
            let (dx, dy) = (dice.below(size / 8 + 1), dice.below(size / 8 + 1));
            let x = (at % size + dx).saturating_sub(size / 16).min(size - 1);
            let y = (at / size + dy).saturating_sub(size / 16).min(size - 1);
            let i = if inside(y * size + x) { y * size + x } else { at };
            for (sum, c) in color.iter_mut().zip(canvas.color[i]) {
                *sum += c / 24.0;
            }
        }
        let pixel = canvas.pixel();
        Self {
            x: (at % size) as f32 * pixel + pixel * 0.5,
            y: (at / size) as f32 * pixel + pixel * 0.5,
            thing: area.sqrt().clamp(0.15, 1.0),
            color,
            amount: dice.range(0.25, 1.0) * force,
        }
    }

    /// A size between the two shares of the thing, small ones preferred.
    fn reach(&self, dice: &mut Dice, low: f32, high: f32) -> f32 {
        // Log-uniform by repeated halving, without a logarithm.
        let mut top = high;
        while top * 0.5 > low && dice.chance(0.45) {
            top *= 0.5;
        }
        dice.range((top * 0.5).max(low), top) * self.thing
    }

    fn dark(&self) -> bool {
        0.3 * self.color[0] + 0.59 * self.color[1] + 0.11 * self.color[2] < 0.3
    }

    /// A point near the spot.
    fn near(&self, dice: &mut Dice, spread: f32) -> (f32, f32) {
        let (dx, dy) = (dice.normal() * spread, dice.normal() * spread);
        let shrink = spread / length(dx, dy).max(spread);
        (self.x + dx * shrink, self.y + dy * shrink)
    }
}

/// Draws a defect onto the canvas; `force` above 1 makes it plainer.
///
/// The structural kinds are drawn with the scene; here, a missing part is a piece broken off, and a
/// misplaced part a stretch of the picture that slipped.
pub(super) fn apply(kind: DefectKind, canvas: &mut Canvas, dice: &mut Dice, force: f32) {
    let spot = Spot::find(canvas, dice, force);
    match kind {
        DefectKind::Scratch => lines::scratch(canvas, dice, &spot),
        DefectKind::Crack => lines::crack(canvas, dice, &spot),
        DefectKind::Cut => lines::cut(canvas, dice, &spot),
        DefectKind::Thread => lines::thread(canvas, dice, &spot),
        DefectKind::Hole => relief::hole(canvas, dice, &spot),
        DefectKind::Dent => relief::dent(canvas, dice, &spot),
        DefectKind::Fold => relief::fold(canvas, dice, &spot),
        DefectKind::Lump => relief::lump(canvas, dice, &spot),
        DefectKind::Deformation | DefectKind::MisplacedPart => {
            relief::deformation(canvas, dice, &spot)
        }
        DefectKind::MissingPart => relief::broken(canvas, dice, &spot),
        DefectKind::Stain => marks::stain(canvas, dice, &spot),
        DefectKind::Discoloration => marks::discoloration(canvas, dice, &spot),
        DefectKind::Print => marks::print(canvas, dice, &spot),
        DefectKind::Contamination => marks::contamination(canvas, dice, &spot),
        DefectKind::Abrasion => marks::abrasion(canvas, dice, &spot),
        DefectKind::Corrosion => marks::corrosion(canvas, dice, &spot),
        DefectKind::ForeignObject => marks::foreign(canvas, dice, &spot),
    }
}
