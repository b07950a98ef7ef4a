//! Drawing a batch: scenes, windows of them, captions and patch labels.

use data::{Preprocess, Resize};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use synthetic::{DefectKind, Request, Scene};

use super::{PARTS, PretrainConfig, augment, patch, schedule};

const PATCH: usize = 16;
const GRID: usize = 15;
/// Fewer defect pixels than this in a window are not called a defect.
const VISIBLE_PIXELS: usize = 12;

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

/// One part of a step's batch; depends on nothing but the settings, step and part.
pub(super) fn draw(config: &PretrainConfig, step: usize, part: usize) -> Batch {
    let grid = schedule::grid(config, step);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(1 + (step * PARTS + part) as u64);
    let images = schedule::images(config, grid);
    let training: Vec<usize> = (0..synthetic::categories().len())
        .filter(|&i| !synthetic::HELD_OUT.contains(&synthetic::categories()[i].name))
        .collect();
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
    for &category in &training {
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
    for _ in 0..images {
        // Half of the images come in pairs: one scene, without and with a defect.
        let (scene_seed, defective) = match twin.take() {
            Some(seed) => (seed, true),
            None => {
                category = *training.choose(&mut rng).expect("there are training categories");
                let seed = rng.random();
                let paired = rng.random_bool(1.0 / 3.0);
                if paired {
                    twin = Some(seed);
                }
                (seed, !paired && rng.random_bool(0.5))
            }
        };
        let kind = *kinds.choose(&mut rng).expect("there are kinds");
        let defect = defective.then(|| (kind, rng.random()));
        let size = (GRID * PATCH) as u32;
        let request = Request { category, size, scene_seed, defect };
        let scene = scene(&request, &training, &mut rng);
        push(&mut batch, scene, &training, &mut rng);
    }
    batch
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

fn push(batch: &mut Batch, mut scene: Scene, training: &[usize], rng: &mut ChaCha8Rng) {
    let grid = batch.grid;
    let (top, left) = window(&scene, grid, rng);
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
                let value = scene.image.get_pixel(sx as u32, sy as u32)[channel];
                let value = f32::from(value) / 255.0;
                batch.pixels.push((value - mean[channel]) / std[channel]);
            }
        }
    }
    let mut counts = vec![0usize; grid * grid];
    for y in 0..side {
        for x in 0..side {
            let (sy, sx) = source(y, x);
            counts[(y / PATCH) * grid + x / PATCH] += usize::from(scene.mask[[sy, sx]]);
        }
    }
    let visible = counts.iter().sum::<usize>() >= VISIBLE_PIXELS;
    if !visible {
        scene.defect = None;
    }
    batch.captions.push(synthetic::caption(&scene, rng));
    batch.damaged.push(f32::from(u8::from(visible)));
    let kind = scene
        .defect
        .and_then(|kind| DefectKind::ALL.iter().position(|other| *other == kind))
        .map(|i| i as i64);
    let noun = training.iter().position(|&c| c == scene.category);
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

/// Upper left patch of the window; on a damaged scene mostly one that sees the defect.
fn window(scene: &Scene, grid: usize, rng: &mut ChaCha8Rng) -> (usize, usize) {
    let free = GRID - grid;
    let anywhere = (rng.random_range(0..=free), rng.random_range(0..=free));
    if free == 0 || scene.defect.is_none() || rng.random_bool(0.2) {
        return anywhere;
    }
    let pixels: Vec<(usize, usize)> =
        scene.mask.indexed_iter().filter(|(_, on)| **on).map(|(at, _)| at).collect();
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
