//! The categories and the defects that they can have.

use crate::canvas::Canvas;
use crate::defects::DefectKind;
use crate::dice::Dice;
use crate::{Fault, materials as m, objects as o};

type Draw = fn(&mut Canvas, &mut Dice, Fault);

/// A kind of thing that can be drawn.
pub struct Category {
    /// Name in lower case with underscores, as used for folders.
    pub name: &'static str,
    /// What captions call it.
    pub noun: &'static str,
    /// Whether it is a material that fills the picture, rather than an object on a background.
    pub texture: bool,
    pub(crate) draw: Draw,
    /// Probability of a grey-scale camera.
    pub(crate) grey: f32,
    pub(crate) parts: bool,
    metal: bool,
}

impl Category {
    const fn material(name: &'static str, noun: &'static str, draw: Draw) -> Self {
        Self { name, noun, texture: true, draw, grey: 0.3, parts: false, metal: false }
    }

    const fn object(name: &'static str, noun: &'static str, draw: Draw) -> Self {
        Self { name, noun, texture: false, draw, grey: 0.2, parts: false, metal: false }
    }

    const fn grey(self, grey: f32) -> Self {
        Self { grey, ..self }
    }

    const fn parts(self) -> Self {
        Self { parts: true, ..self }
    }

    const fn metal(self) -> Self {
        Self { metal: true, ..self }
    }

    /// The kind itself, or the one that replaces it where it cannot occur.
    pub(crate) fn possible(&self, kind: DefectKind) -> DefectKind {
        match kind {
            DefectKind::MissingPart if self.texture && !self.parts => DefectKind::Hole,
            DefectKind::MisplacedPart if !self.parts => DefectKind::Deformation,
            DefectKind::Corrosion if !self.metal => DefectKind::Stain,
            kind => kind,
        }
    }
}

/// Names of the categories held out of every training, for testing.
pub const HELD_OUT: [&str; 8] =
    ["knit", "cork", "marble", "solar_cell", "gear", "biscuit", "cable", "button"];

static CATEGORIES: [Category; 48] = [
    Category::material("wood", "wood", m::fibrous::wood),
    Category::material("fabric", "fabric", m::fibrous::fabric).parts(),
    Category::material("knit", "knitted cloth", m::fibrous::knit).parts(),
    Category::material("leather", "leather", m::fibrous::leather),
    Category::material("carpet", "carpet", m::fibrous::carpet),
    Category::material("paper", "paper", m::fibrous::paper),
    Category::material("cardboard", "cardboard", m::fibrous::cardboard),
    Category::material("brushed_metal", "brushed metal", m::metal::brushed).grey(0.5).metal(),
    Category::material("cast_metal", "cast metal", m::metal::cast).grey(0.6).metal(),
    Category::material("painted_metal", "painted metal", m::metal::painted).metal(),
    Category::material("perforated_sheet", "perforated metal", m::metal::perforated)
        .parts()
        .metal(),
    Category::material("wire_mesh", "wire mesh", m::metal::mesh).parts().metal(),
    Category::material("magnetic_tile", "magnetic tile", m::metal::ferrite).grey(0.9),
    Category::material("concrete", "concrete", m::mineral::concrete),
    Category::material("asphalt", "asphalt", m::mineral::asphalt),
    Category::material("terrazzo", "stone", m::mineral::terrazzo),
    Category::material("marble", "marble", m::mineral::marble),
    Category::material("glass", "glass", m::mineral::glass).grey(0.5),
    Category::material("ceramic_tile", "tile", m::pattern::tile).parts(),
    Category::material("hexagon_tile", "hexagonal tile", m::pattern::hexagons).parts(),
    Category::material("brick", "brick wall", m::pattern::bricks).parts(),
    Category::material("solar_cell", "solar cell", m::pattern::solar).grey(0.5).parts(),
    Category::material("rubber", "rubber", m::soft::rubber),
    Category::material("plastic", "plastic", m::soft::plastic),
    Category::material("foam", "foam", m::soft::foam),
    Category::material("cork", "cork", m::soft::cork),
    Category::material("tissue", "tissue", m::soft::tissue).grey(0.05),
    Category::material("streaks", "striped texture", m::statistical::streaks).grey(0.8),
    Category::material("clouds", "texture", m::statistical::clouds).grey(0.7),
    Category::material("waves", "wave pattern", m::statistical::waves).grey(0.8),
    Category::material("rays", "ray pattern", m::statistical::rays).grey(0.8),
    Category::object("bottle", "bottle", o::round::bottle),
    Category::object("washer", "metal ring", o::round::washer).parts().metal(),
    Category::object("gear", "gear", o::round::gear).parts().metal(),
    Category::object("button", "button", o::round::button).parts(),
    Category::object("cable", "cable", o::round::cable).parts(),
    Category::object("hex_nut", "metal nut", o::round::nut).parts().metal(),
    Category::object("screw", "screw", o::hardware::screw).parts().metal(),
    Category::object("metal_plate", "metal plate", o::hardware::plate).parts().metal(),
    Category::object("circuit_board", "circuit board", o::electronic::board).parts(),
    Category::object("connector", "connector", o::electronic::connector).parts(),
    Category::object("kernel", "nut", o::organic::kernel),
    Category::object("biscuit", "biscuit", o::organic::biscuit),
    Category::object("gum", "chewing gum", o::organic::pillow),
    Category::object("pieces", "pieces", o::organic::pieces).parts(),
    Category::object("pill", "pill", o::packaged::pill).parts(),
    Category::object("label", "label", o::packaged::label).parts(),
    Category::object("scan", "scan", o::scan::section).grey(1.0),
];

/// Every category; the index is what [`crate::Request`] and [`crate::Scene`] hold.
pub fn categories() -> &'static [Category] {
    &CATEGORIES
}
