//! A procedural world: photograph-like images of materials and parts, with and without defects,
//! their exact masks, and captions.
//!
//! A scene is drawn in three steps. A category fills a canvas with colour, relief and gloss; a
//! defect changes the canvas; a camera lights it and adds blur, noise and compression. The mask is
//! the difference that the defect makes before the sensor: the pixels that visibly changed.
//!
//! [`damage`] draws the same defects, cut-and-paste and blended textures onto a photograph.
//!
//! # Determinism
//! [`render`] gives the same bytes for the same [`Request`] on every machine: choices come from
//! ChaCha8, and only integer operations, `+ - * /` and `sqrt` of IEEE 754 `f32` are used, never a
//! platform's own `sin` or `exp`. Captions and the files of [`write_dataset`] follow from them.
//!
//! ```
//! use synthetic::{DefectKind, Request, categories, render};
//!
//! let wood = categories().iter().position(|c| c.name == "wood").expect("a category");
//! let request = Request { category: wood, size: 64, scene_seed: 1, defect: Some((DefectKind::Crack, 2)) };
//! let scene = render(&request);
//! assert_eq!(scene.image.dimensions(), (64, 64));
//! assert!(scene.mask.iter().any(|&changed| changed));
//! ```

mod blur;
mod camera;
mod canvas;
mod captions;
mod catalogue;
mod dataset;
mod defects;
mod dice;
mod grain;
mod jpeg;
mod mask;
mod materials;
mod noise;
mod objects;
mod photograph;
mod wear;
mod wide;

pub use captions::{caption, photograph_caption, region_caption};
pub use catalogue::{Category, HELD_OUT, categories};
pub use dataset::{Error, WriteOptions, write_dataset};
pub use defects::DefectKind;
pub use photograph::{Damage, Damaged, damage};

use camera::Camera;
use canvas::Canvas;
use dice::{Dice, mix};
use ndarray::Array2;

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Index into [`categories`].
    pub category: usize,
    /// Side of the square image, in pixels, 16 to 4096.
    pub size: u32,
    /// Seed of the scene: material, pose, light, camera and its noise.
    pub scene_seed: u64,
    /// Kind and seed of the defect, if any.
    pub defect: Option<(DefectKind, u64)>,
}

/// A picture with its ground truth.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The picture, `size` × `size`; the three channels of a grey-scale camera are equal.
    pub image: image::RgbImage,
    /// Shape `[size, size]` (row, column); true where the defect visibly changed the picture.
    pub mask: Array2<bool>,
    /// Index into [`categories`].
    pub category: usize,
    /// The kind drawn: another than asked for where that cannot occur on the category.
    pub defect: Option<DefectKind>,
    grey: bool,
    mood: Option<&'static str>,
}

/// A fault in the construction of a scene: the drawing functions ask it about each of their parts.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Missing(u64),
    Misplaced(u64),
}

impl Fault {
    /// Whether part `index` of `count` is left out.
    fn missing(self, index: usize, count: usize) -> bool {
        matches!(self, Self::Missing(seed) if seed % count as u64 == index as u64)
    }

    /// Shift (x, y) and turn, each in ±1, if part `index` of `count` is out of place.
    fn shift(self, index: usize, count: usize) -> Option<(f32, f32, f32)> {
        let Self::Misplaced(seed) = self else { return None };
        if seed % count as u64 != index as u64 {
            return None;
        }
        let one = |shift: u64| {
            let t = (mix(seed, shift) & 0xffff) as f32 / 65536.0;
            if t < 0.5 { t - 1.0 } else { t }
        };
        Some((one(1), one(2), one(3)))
    }
}

/// Draws a scene.
///
/// The same `scene_seed` with and without a defect gives the same scene, camera noise included: the
/// pictures differ only about the mask. A kind that cannot occur on the category is replaced by
/// one that can: a missing part of a material without parts by a hole, a misplaced part of anything
/// without parts by a deformation, rust on anything but metal by a stain. [`Scene::defect`] tells.
///
/// # Panics
/// If the category is not below `categories().len()` or the size is not in 16..=4096.
pub fn render(request: &Request) -> Scene {
    let size = request.size as usize;
    assert!((16..=4096).contains(&size), "expected a size in 16..=4096, got {size}");
    let all = categories();
    assert!(
        request.category < all.len(),
        "expected a category below {}, got {}",
        all.len(),
        request.category
    );
    let category = &all[request.category];
    let seed = mix(request.scene_seed, request.category as u64);

    let draw = |fault: Fault| {
        let mut canvas = Canvas::new(size);
        (category.draw)(&mut canvas, &mut Dice::new(mix(seed, 1)), fault);
        wear::apply(&mut canvas, &mut Dice::new(mix(seed, 2)));
        canvas
    };
    let camera = Camera::new(&mut Dice::new(mix(seed, 3)), category.grey, size);
    let canvas = draw(Fault::None);
    let mut picture = camera.expose(&canvas, &(0..size));
    let mut mask = Array2::from_elem((size, size), false);
    let defect = request.defect.map(|(kind, defect_seed)| {
        let kind = category.possible(kind);
        let seed = mix(seed, defect_seed);
        for attempt in 0..12u64 {
            let seed = mix(seed, attempt);
            let fault = match kind {
                // A part that this scene does not have, or that is out of sight, is given up soon.
                _ if attempt > 3 => None,
                DefectKind::MissingPart
                    if category.parts && (category.texture || seed & 3 != 0) =>
                {
                    Some(Fault::Missing(seed >> 8))
                }
                DefectKind::MisplacedPart => Some(Fault::Misplaced(seed >> 8)),
                _ => None,
            };
            let changed = fault.map(draw).unwrap_or_else(|| {
                let mut changed = canvas.clone();
                // After many failed tries: a plain stain is visible on anything.
                let drawn = if attempt < 9 { kind } else { DefectKind::Stain };
                let force = 1.0 + attempt as f32 * 0.25;
                defects::apply(drawn, &mut changed, &mut Dice::new(mix(seed, 4)), force);
                changed
            });
            let rows = camera.reach(canvas.rows_unlike(&changed), size);
            let exposed = camera.expose(&changed, &rows);
            if let Some(found) = mask::changed(&picture, &exposed, &rows, size, camera.visible()) {
                picture = mask::compose(std::mem::take(&mut picture), &exposed, &rows, &found);
                mask = found;
                break;
            }
        }
        kind
    });
    Scene {
        image: camera.develop(picture, size),
        mask,
        category: request.category,
        defect,
        grey: camera.grey,
        mood: camera.mood(),
    }
}
