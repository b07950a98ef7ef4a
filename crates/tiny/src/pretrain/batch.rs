//! Drawing a batch: scenes, windows of them, captions and patch labels.

use data::{Preprocess, Resize, Shows};
use fe_clip::Error;
use image::RgbImage;
use image::imageops::crop_imm;
use ndarray::Array2;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use synthetic::{Damage, Damaged, DefectKind, Request, Scene, damage};

use super::{PARTS, PretrainConfig, augment, patch, schedule};
use crate::pictures::Pictures;

const PATCH: usize = 16;
const GRID: usize = 15;
/// Fewer defect pixels than this in a window are not called a defect.
const VISIBLE_PIXELS: usize = 12;
/// Share of photographs among the pictures where there is a corpus of them.
const PHOTOGRAPHS: f64 = 0.5;

/// One step's images and their labels.
pub(super) struct Batch {
    /// Tokens along a side.
    pub(super) grid: usize,
    /// Normalised images, `[images, 3, grid * 16, grid * 16]`, flattened.
    pub(super) pixels: Vec<f32>,
    /// Rows of the positional embedding that the patches stand on, `[images, grid * grid]`.
    pub(super) positions: Vec<i64>,
    /// One caption an image.
    pub(super) captions: Vec<String>,
    /// 1 where a defect is visible, else 0, an image.
    pub(super) damaged: Vec<f32>,
    /// Share of anomalous pixels a patch, `[images, grid * grid]`.
    pub(super) coverage: Vec<f32>,
    /// The pair of prompts of the state terms: normal, damaged.
    pub(super) prompts: [String; 2],
    /// The phrases of the region term.
    pub(super) phrases: Vec<String>,
    /// Index into `phrases` a patch, or -1 for none, `[images, grid * grid]`.
    pub(super) regions: Vec<i64>,
}

/// A crop of the full grid's size, damaged where it is to be and damage shows; `None` without photographs.
fn photograph(
    pictures: &Pictures,
    seed: u64,
    kind: Option<DefectKind>,
) -> Result<Option<Picture>, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let Some((image, texture)) = part(pictures, &mut rng)? else { return Ok(None) };
    let other = part(pictures, &mut rng)?;
    let damage_seed = rng.random();
    let damaged = kind.and_then(|kind| {
        let kind = match (kind, &other) {
            (DefectKind::MisplacedPart, _) => Damage::CutPaste,
            (DefectKind::ForeignObject, Some((other, _))) => Damage::Blend(other),
            (kind, _) => Damage::Defect(kind),
        };
        damage(&image, kind, damage_seed)
    });
    let shows = Subject::Photograph { texture };
    Ok(Some(match damaged {
        Some(Damaged { image, mask, kind }) => Picture { image, mask, defect: Some(kind), shows },
        None => {
            let mask = Array2::from_elem((GRID * PATCH, GRID * PATCH), false);
            Picture { image, mask, defect: None, shows }
        }
    }))
}

/// A part of a crop, and whether it shows a material and not things.
fn part(pictures: &Pictures, rng: &mut ChaCha8Rng) -> Result<Option<(RgbImage, bool)>, Error> {
    let (Some(crops), Some((crop, index))) = (pictures.photographs(), pictures.crop(rng)?) else {
        return Ok(None);
    };
    let side = (GRID * PATCH) as u32;
    let free = crop.width().checked_sub(side).ok_or_else(|| {
        Error::Settings(format!("crops of {} pixels; {side} are needed", crop.width()))
    })?;
    let (x, y) = (rng.random_range(0..=free), rng.random_range(0..=free));
    let texture = crops.source(index).shows == Shows::Texture;
    Ok(Some((crop_imm(&crop, x, y, side, side).to_image(), texture)))
}

/// A picture of the full grid, its mask, and what there is to say of it.
struct Picture {
    image: RgbImage,
    mask: Array2<bool>,
    defect: Option<DefectKind>,
    shows: Subject,
}

enum Subject {
    /// A drawn scene; its image is taken out of it.
    Scene(Box<Scene>),
    Photograph {
        texture: bool,
    },
}

impl Picture {
    fn drawn(mut scene: Scene) -> Self {
        let image = scene.image.clone();
        let (mask, defect) = (std::mem::take(&mut scene.mask), scene.defect);
        Self { image, mask, defect, shows: Subject::Scene(Box::new(scene)) }
    }

    /// A caption of the part that is seen: one that does not see the defect is not told of it.
    fn caption(&mut self, visible: bool, rng: &mut ChaCha8Rng) -> String {
        if !visible {
            self.defect = None;
        }
        match &mut self.shows {
            Subject::Scene(scene) => {
                scene.defect = self.defect;
                synthetic::caption(scene, rng)
            }
            Subject::Photograph { texture } => {
                synthetic::photograph_caption(self.defect, *texture, rng)
            }
        }
    }
}

/// One part of a step's batch; depends on nothing but the pictures, settings, step and part.
pub(super) fn draw(
    pictures: &Pictures,
    config: &PretrainConfig,
    step: usize,
    part: usize,
) -> Result<Batch, Error> {
    let grid = schedule::grid(config, step);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(1 + (step * PARTS + part) as u64);
    let images = schedule::images(config, grid);
    let training = pictures.categories();
    let kinds = DefectKind::ALL;
    let mut phrases: Vec<String> = kinds
        .iter()
        .map(|kind| synthetic::region_caption(Some(*kind), training[0], &mut rng))
        .collect();
    // A kind's plain phrase keeps the term sharp in most steps; variants teach the rest.
    for (phrase, kind) in phrases.iter_mut().zip(kinds.iter()) {
        if rng.random_bool(0.7) {
            *phrase = kind.phrase().to_string();
        }
    }
    for &category in training {
        phrases.push(synthetic::categories()[category].noun.to_string());
    }
    let mut batch = Batch {
        grid,
        pixels: Vec::with_capacity(images * 3 * (grid * PATCH).pow(2)),
        positions: Vec::new(),
        captions: Vec::new(),
        damaged: Vec::new(),
        coverage: Vec::new(),
        prompts: prompt_pair(&mut rng),
        phrases,
        regions: Vec::new(),
    };
    let mut twin: Option<u64> = None;
    let mut category = training[0];
    let mut real = false;
    for _ in 0..images {
        // Half of the images come in pairs: one scene, without and with a defect.
        let (scene_seed, defective) = match twin.take() {
            Some(seed) => (seed, true),
            None => {
                category = pictures.category(&mut rng);
                real = rng.random_bool(PHOTOGRAPHS);
                let seed = rng.random();
                let paired = rng.random_bool(1.0 / 3.0);
                if paired {
                    twin = Some(seed);
                }
                (seed, !paired && rng.random_bool(0.5))
            }
        };
        let kind = *kinds.choose(&mut rng).expect("there are kinds");
        let photograph =
            if real { photograph(pictures, scene_seed, defective.then_some(kind))? } else { None };
        let picture = match photograph {
            Some(picture) => picture,
            None => {
                let defect = defective.then(|| (kind, rng.random()));
                let size = (GRID * PATCH) as u32;
                let request = Request { category, size, scene_seed, defect };
                Picture::drawn(scene(&request, training, &mut rng))
            }
        };
        push(&mut batch, picture, training, &mut rng);
    }
    Ok(batch)
}

/// Draws a scene and changes it. Twins share all changes: they differ by the defect alone.
fn scene(request: &Request, training: &[usize], rng: &mut ChaCha8Rng) -> Scene {
    let changed = match rng.random_range(0..10) {
        0..3 => augment::transplanted(request, training, rng),
        3..6 => patch::patched(request, training, rng),
        _ => None,
    };
    let mut scene = changed.unwrap_or_else(|| synthetic::render(request));
    let mut rng = ChaCha8Rng::seed_from_u64(request.scene_seed);
    if rng.random_bool(0.1) {
        augment::border(&mut scene, training, &mut rng);
    }
    if rng.random_bool(0.7) {
        augment::warp(&mut scene, &mut rng);
    }
    if rng.random_bool(0.5) {
        augment::recolour(&mut scene, &mut rng);
    }
    scene
}

fn push(batch: &mut Batch, mut picture: Picture, training: &[usize], rng: &mut ChaCha8Rng) {
    let grid = batch.grid;
    let (top, left) = window(&picture, grid, rng);
    let transpose = rng.random_bool(0.5);
    let (flip_y, flip_x) = (rng.random_bool(0.5), rng.random_bool(0.5));
    let side = grid * PATCH;
    // Source pixel of a pixel of the turned window.
    let source = |y: usize, x: usize| {
        let (y, x) = if transpose { (x, y) } else { (y, x) };
        let y = if flip_y { side - 1 - y } else { y };
        let x = if flip_x { side - 1 - x } else { x };
        (top * PATCH + y, left * PATCH + x)
    };
    let Preprocess { mean, std, .. } = Preprocess::clip(side, Resize::Squash);
    for channel in 0..3 {
        for y in 0..side {
            for x in 0..side {
                let (sy, sx) = source(y, x);
                let value = picture.image.get_pixel(sx as u32, sy as u32)[channel];
                let value = f32::from(value) / 255.0;
                batch.pixels.push((value - mean[channel]) / std[channel]);
            }
        }
    }
    let mut counts = vec![0usize; grid * grid];
    for y in 0..side {
        for x in 0..side {
            let (sy, sx) = source(y, x);
            counts[(y / PATCH) * grid + x / PATCH] += usize::from(picture.mask[[sy, sx]]);
        }
    }
    let visible = counts.iter().sum::<usize>() >= VISIBLE_PIXELS;
    batch.captions.push(picture.caption(visible, rng));
    batch.damaged.push(f32::from(u8::from(visible)));
    let kind = picture
        .defect
        .and_then(|kind| DefectKind::ALL.iter().position(|other| *other == kind))
        .map(|i| i as i64);
    let noun = match &picture.shows {
        Subject::Scene(scene) => training.iter().position(|&c| c == scene.category),
        Subject::Photograph { .. } => None,
    };
    let noun = noun.map_or(-1, |i| (DefectKind::ALL.len() + i) as i64);
    for (i, &count) in counts.iter().enumerate() {
        let share = count as f32 / (PATCH * PATCH) as f32;
        batch.coverage.push(share);
        batch.regions.push(match kind {
            Some(kind) if share >= 0.15 => kind,
            _ if count == 0 && rng.random_bool(0.15) => noun,
            _ => -1,
        });
        // Positions are those of the window: rotation moves the content, not the positions.
        batch.positions.push((1 + (top + i / grid) * GRID + left + i % grid) as i64);
    }
}

/// Upper left patch of the window; on a damaged picture mostly one that sees the defect.
fn window(picture: &Picture, grid: usize, rng: &mut ChaCha8Rng) -> (usize, usize) {
    let free = GRID - grid;
    let anywhere = (rng.random_range(0..=free), rng.random_range(0..=free));
    if free == 0 || picture.defect.is_none() || rng.random_bool(0.2) {
        return anywhere;
    }
    let pixels: Vec<(usize, usize)> =
        picture.mask.indexed_iter().filter(|(_, on)| **on).map(|(at, _)| at).collect();
    let Some(&(y, x)) = pixels.choose(rng) else { return anywhere };
    let around = |patch: usize, rng: &mut ChaCha8Rng| {
        rng.random_range(patch.saturating_sub(grid - 1)..=patch.min(free))
    };
    (around(y / PATCH, rng), around(x / PATCH, rng))
}

/// The state terms' prompts: FE-CLIP's own pair in half of the steps.
fn prompt_pair(rng: &mut ChaCha8Rng) -> [String; 2] {
    const NORMAL: [&str; 4] = ["normal", "flawless", "perfect", "undamaged"];
    const DAMAGED: [&str; 4] = ["damaged", "broken", "defective", "flawed"];
    const NOUN: [&str; 4] = ["object", "surface", "part", "product"];
    const FRAME: [&str; 4] = ["a photo of a", "a close-up photo of a", "an image of a", "a"];
    if rng.random_bool(0.5) {
        return ["A photo of a normal object".into(), "A photo of a damaged object".into()];
    }
    let mut pick = |words: [&'static str; 4]| *words.choose(rng).expect("four words");
    let (frame, noun) = (pick(FRAME), pick(NOUN));
    [format!("{frame} {} {noun}", pick(NORMAL)), format!("{frame} {} {noun}", pick(DAMAGED))]
}
