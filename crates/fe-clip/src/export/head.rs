//! Everything around tower and adapters as nodes: stages, margins, memory bank, score and map.

use data::Preprocess;

use super::adapters::{Grid, adapt, both_axes};
use super::graph::{Graph, Value};
use super::tower::{block, embed, linear, norm, shape, transposed};
use crate::memory::neighbourhood;
use crate::model::FeClip;
use crate::scorer::GraphSource;
use crate::settings::fe_clip::{Aggregate, FewFeature, FewScore, ImageScore};
use crate::tensors::floats;

/// What the stages say about an image.
#[derive(Default)]
struct Answers {
    /// Differences of cosines of the class token, `[n, 1]` a stage that counts.
    image: Vec<Value>,
    /// The same of every patch, `[n, 1, side²]` a stage that counts.
    pixel: Vec<Value>,
    /// Cosines to the nearest remembered token, `[n, side²]` a stage that is compared.
    nearest: Vec<Value>,
}

/// From images `[n, 3, size, size]` in [0, 1] to scores `[n]` and maps `[n, size, size]`.
pub(super) fn method<'a>(
    g: &mut Graph<'a>,
    source: &GraphSource<'a>,
    preprocess: &Preprocess,
    image: &Value,
) -> (Value, Value) {
    let GraphSource { model, bank, to_pixels } = *source;
    let config = model.config();
    let tokens = embed(g, &model.vision, preprocess, image);
    let [size, side] = [to_pixels.nrows(), to_pixels.ncols()];
    let Answers { image, pixel, nearest } = stages(g, source, side, tokens);
    g.scope("aggregate");
    let score = aggregate(g, model, &image); // [n]
    let map = aggregate(g, model, &pixel); // [n, side²]
    let both = |g: &mut Graph<'_>, of: FewScore| {
        let (largest, half) = (largest(g, of, side, &map), g.number(0.5));
        let sum = g.add(&score, &largest);
        g.mul(&sum, &half)
    };
    let mut score = match config.image_score {
        ImageScore::ClassToken => score,
        ImageScore::ClassTokenAndMap => both(g, FewScore::Max),
        ImageScore::TopPercent => largest(g, FewScore::TopPercent, side, &map),
        ImageScore::ClassTokenAndTopPercent => both(g, FewScore::TopPercent),
    };
    let mut map = g.reshape(&map, &[0, side, side]);
    if bank.is_some() {
        g.scope("memory_bank");
        let few = distance(g, &nearest, config.few_weight); // [n, side²]
        let largest = largest(g, config.few_score, side, &few);
        score = g.add(&score, &largest);
        let few = g.reshape(&few, &[0, side, side]);
        map = g.add(&map, &few);
    }
    g.scope("to_pixels");
    let rows = g.constant("to_pixels.rows", &[size, side], || to_pixels.iter().copied().collect());
    let columns =
        g.constant("to_pixels.columns", &[side, size], || to_pixels.t().iter().copied().collect());
    let map = g.matmul(&rows, &map);
    (score, g.matmul(&map, &columns))
}

fn stages<'a>(g: &mut Graph<'a>, source: &GraphSource<'a>, side: usize, tokens: Value) -> Answers {
    let GraphSource { model, bank, .. } = *source;
    let (config, ends) = (model.config(), model.stage_ends());
    let [count, channels] = shape(&model.vision.positional_embedding);
    let grid = Grid { side, channels };
    let chosen = |stages: &Option<Vec<usize>>, stage: usize| {
        stages.as_ref().is_none_or(|stages| stages.contains(&(stage + 1)))
    };
    let mut remembered = bank.into_iter().flat_map(|bank| bank.stages());
    let mut answers = Answers::default();
    let (mut x, mut layer) = (tokens, 0);
    for (stage, (adapters, end)) in model.head.stages.iter().zip(ends).enumerate() {
        for block_of in &model.vision.blocks[layer..*end] {
            x = block(g, &format!("vision.blocks.{layer}"), block_of, count, &x);
            layer += 1;
        }
        let name = format!("stages.{stage}");
        let scope = format!("stages/{stage}");
        g.scope(&scope[..]);
        let class = g.slice(&x, 1, 0, 1);
        let patches = g.slice(&x, 1, 1, count);
        let adapted = adapt(g, &name, adapters, config.lambda, grid, &patches);
        g.scope(&scope[..]);
        if chosen(&config.score_stages, stage) {
            answers.image.push(class_margin(g, model, &class));
            answers.pixel.push(patch_margin(g, model, stage, side, &adapted));
        }
        if bank.is_some() && chosen(&config.few_stages, stage) {
            let bank = remembered.next().expect("the bank has each stage that is compared");
            let [rows, channels] = bank.dims();
            let compared = match (config.few_feature, model.token_head(stage)) {
                (FewFeature::Adapted, _) => adapted.clone(),
                (FewFeature::Predicted, Some(head)) => {
                    let normed = norm(g, &format!("{name}.token_head.norm"), &head.norm, &patches);
                    linear(g, &format!("{name}.token_head"), &head.linear, &normed)
                }
                (FewFeature::Raw | FewFeature::Predicted, _) => patches,
            };
            let grid = Grid { side, channels };
            let compared = neighbours(g, config.few_neighbourhood, grid, &compared);
            let columns = g.weight(&format!("memory_bank.{stage}"), &[channels, rows], move || {
                transposed(&floats(bank.clone()), channels)
            });
            answers.nearest.push(nearest(g, &compared, &columns));
        }
        if stage + 1 < ends.len() {
            x = g.concat(&[&class, &adapted], 1);
        }
    }
    answers
}

/// `[n, 1]` of class tokens `[n, 1, channels]`.
fn class_margin<'a>(g: &mut Graph<'a>, model: &'a FeClip, class: &Value) -> Value {
    let vision = &model.vision;
    let class = if model.config().class_ln_post {
        norm(g, "vision.ln_post", &vision.ln_post, class)
    } else {
        class.clone()
    };
    let embedding = linear(g, "vision.projection", &vision.projection, &class);
    let margin = margin(g, model, &embedding);
    g.reshape(&margin, &[0, 1])
}

/// `[n, 1, side²]` of adapted tokens `[n, side², channels]`.
fn patch_margin<'a>(
    g: &mut Graph<'a>,
    model: &'a FeClip,
    stage: usize,
    side: usize,
    patches: &Value,
) -> Value {
    let patches = if model.config().patch_ln_post {
        norm(g, "vision.ln_post", &model.vision.ln_post, patches)
    } else {
        patches.clone()
    };
    let own = stage.min(model.head.patch_projection.len() - 1);
    let layer = &model.head.patch_projection[own];
    let embedding = linear(g, &format!("patch_projection.{own}"), layer, &patches);
    let margin = margin(g, model, &embedding);
    g.reshape(&margin, &[0, 1, side * side])
}

/// Cosine to the anomalous text minus cosine to the normal one, of the last axis.
fn margin<'a>(g: &mut Graph<'a>, model: &'a FeClip, embedding: &Value) -> Value {
    let [_, width, _] = model.axis.dims();
    let axis = g.constant("texts.axis", &[width, 1], || floats(model.axis.clone()));
    let along = g.matmul(embedding, &axis);
    let length = length(g, embedding, true);
    g.div(&along, &length)
}

/// Euclidean length of the last axis, never zero; the axis stays, with one element, where `keep`
/// says so.
fn length(g: &mut Graph<'_>, x: &Value, keep: bool) -> Value {
    let squares = g.mul(x, x);
    let sum = g.sum(&squares, -1, keep);
    let least = g.number(1e-12);
    let sum = g.add(&sum, &least);
    g.unary("Sqrt", &sum)
}

/// Eq. 1 and 3: the stages' margins `[n, 1, ...]` as one probability `[n, ...]`.
fn aggregate(g: &mut Graph<'_>, model: &FeClip, margins: &[Value]) -> Value {
    let margins: Vec<&Value> = margins.iter().collect();
    let margins = g.concat(&margins, 1);
    let inverse = match &model.head.logit_scale {
        Some(scale) => f64::from(floats(scale.val())[0].exp()),
        None => 1.0 / model.temperature(),
    };
    let inverse = g.number(inverse);
    let logits = g.mul(&margins, &inverse);
    match model.config().aggregate {
        Aggregate::MeanProbability => {
            let probabilities = g.unary("Sigmoid", &logits);
            g.mean(&probabilities, 1)
        }
        Aggregate::MeanLogit => {
            let mean = g.mean(&logits, 1);
            g.unary("Sigmoid", &mean)
        }
    }
}

/// What the image score has of a map `[n, side²]`: `[n]`.
fn largest(g: &mut Graph<'_>, of: FewScore, side: usize, map: &Value) -> Value {
    match of.count(side * side) {
        1 => g.max(map, &[1]),
        count => {
            let largest = g.largest(map, count);
            g.mean(&largest, 1)
        }
    }
}

/// The mean over the neighbours of every token, those that there are.
fn neighbours(g: &mut Graph<'_>, around: usize, grid: Grid, x: &Value) -> Value {
    if around == 1 {
        return x.clone();
    }
    let Grid { side, channels } = grid;
    let along = neighbourhood(side, around).mapv(f64::from);
    let x = g.reshape(x, &[0, side, side, channels]);
    let means = both_axes(g, "memory_bank.neighbourhood", along, grid, &x);
    g.reshape(&means, &[0, side * side, channels])
}

/// Cosine of each token to the nearest of unit tokens, the columns of a matrix: `[n, side²]`.
fn nearest(g: &mut Graph<'_>, tokens: &Value, remembered: &Value) -> Value {
    // A positive factor changes no order: the length divides the largest product alone.
    let products = g.matmul(tokens, remembered);
    let highest = g.max(&products, &[2]);
    let length = length(g, tokens, false);
    g.div(&highest, &length)
}

/// Weighted mean over the stages of 1 - cosine to the nearest remembered token.
fn distance(g: &mut Graph<'_>, nearest: &[Value], weight: f64) -> Value {
    let sum = nearest.iter().cloned().reduce(|a, b| g.add(&a, &b));
    let sum = sum.expect("a model has at least one stage");
    let [count, one, weight] = [nearest.len() as f64, 1.0, weight].map(|x| g.number(x));
    let mean = g.div(&sum, &count);
    let distance = g.sub(&one, &mean);
    let distance = g.unary("Relu", &distance);
    g.mul(&distance, &weight)
}
