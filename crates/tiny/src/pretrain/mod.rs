//! Contrastive pre-training of a small CLIP on procedural images.
//!
//! Image and text tower learn together from what [`synthetic`] draws. Beside CLIP's
//! contrast of images and captions there are three terms that captions alone would teach too
//! slowly on a CPU, all of them still similarities between image and text embeddings:
//! - *state*: class token against a pair of prompts, normal and damaged;
//! - *dense state*: every patch token against the same pair, from the exact mask;
//! - *region*: patch tokens against phrases such as "a scratch" or "leather".
//!
//! State terms are applied at the four stage ends, so that FE-CLIP's stage scores mean something
//! on this backbone. Most steps see a window of the grid with the positions that belong to it,
//! which costs a third of the whole grid.

pub(crate) mod augment;
mod batch;
pub(crate) mod init;
mod objective;
mod patch;
mod schedule;

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamWConfig, AdjustLrFn, GradientsParams, ModuleOptimizer, MuonConfig};
use burn::tensor::Device;
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, Tokenizer, VisionConfig, VisionTower};
use data::Crops;
use serde::{Deserialize, Serialize};

use crate::pictures::Pictures;
use crate::side_by_side;
use fe_clip::Backbone;
use fe_clip::Error;
use fe_clip::saved_state::{SavedState, StepLog};

pub use objective::Terms;

/// Parts of a step that run side by side.
const PARTS: usize = 2;

/// Settings of a pre-training run; everything that changes its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Seed of the weights, the scenes and the captions.
    pub seed: u64,
    /// A model to go on from, as `--model` of fe-clip names it; first weights are drawn without.
    pub start: Option<String>,
    /// Takes the image tower alone from `start` and leaves it as it is: text tower and projections learn
    /// to name what it sees.
    ///
    /// Source: Zhai et al., LiT: Zero-Shot Transfer with Locked-image Text Tuning, 2022.
    pub locked: bool,
    /// sha256 of the corpus of photographs; procedural scenes alone without.
    pub corpus: Option<String>,
    /// Optimizer steps.
    pub steps: usize,
    /// Images of a step that sees a window of the grid; a step that sees the whole grid takes
    /// as many images as cost about the same.
    pub batch_size: usize,
    /// Peak learning rate; linear warm-up over 4 % of the steps, then cosine decay.
    pub learning_rate: f64,
    /// Steps between two saved states.
    pub save_every: usize,
}

/// The architecture that is trained from first weights: a 240-pixel image tower with a 15 x 15 grid.
pub fn tiny_config() -> ClipConfig {
    let activation = Activation::Gelu;
    ClipConfig {
        vision: VisionConfig {
            width: 128,
            layers: 8,
            heads: 2,
            mlp_width: 512,
            patch_size: 16,
            image_size: 240,
            activation,
        },
        text: TextConfig {
            width: 64,
            layers: 4,
            heads: 1,
            mlp_width: 256,
            vocabulary: 49408,
            context_length: 77,
            activation,
        },
        embed_dim: 128,
    }
}

/// What one step reports.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: usize,
    /// Loss terms.
    #[serde(flatten)]
    pub terms: Terms,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Wall time of the step in seconds.
    pub seconds: f64,
}

impl PretrainConfig {
    /// The architecture that these settings train: of first weights [`tiny_config`], on a locked image tower
    /// that of [`distil`](crate::distil).
    pub fn architecture(&self) -> ClipConfig {
        if self.locked { crate::distil::config() } else { tiny_config() }
    }

    /// The layers after which FE-CLIP will score.
    fn stage_ends(&self) -> [usize; 4] {
        if self.locked { crate::distil::STAGE_ENDS } else { [2, 4, 6, 8] }
    }
}

/// Trains a CLIP of the settings' [architecture](PretrainConfig::architecture) and returns it.
///
/// The state is saved under `out/state` every `save_every` steps; with `resume` a run goes on
/// from there. Every step is a line of `out/pretrain.jsonl` and given to `report`.
///
/// # Errors
/// If the model to start from or the state cannot be read, the state cannot be written or belongs
/// to another configuration, or the loss is not finite.
pub fn pretrain(
    config: &PretrainConfig,
    photographs: Option<Crops>,
    out: &Path,
    resume: bool,
    device: &Device,
    mut report: impl FnMut(&StepReport),
) -> Result<Clip, Error> {
    fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let device = device.clone().autodiff();
    device.seed(config.seed);
    if config.locked && config.start.is_none() {
        return Err(Error::Settings("a locked image tower needs a model to start from".into()));
    }
    let tokenizer = Tokenizer::new();
    let pictures = Pictures::new(photographs);
    let first_batch = batch::draw(&pictures, config, 0, 0)?;
    let mut student = Student::new(&config.architecture(), &first_batch, config.seed, &device);
    let state = if resume { saved(out, config)? } else { None };
    if let Some(state) = &state {
        student = state.module("model", student)?;
    } else if let Some(start) = &config.start {
        student.clip = started_from(start, student.clip, config, &device)?;
    }
    if config.locked {
        student.clip.vision = locked(student.clip.vision);
    }
    // After loading: parameters have the names of the saved ones then, which its groups go by.
    let mut optimizer = optimizer(&student);
    if let Some(state) = &state {
        optimizer = state.optimizer("optimizer", optimizer)?;
    }
    let first = state.map_or(0, |state| state.step);
    let mut log = StepLog::open(&out.join("pretrain.jsonl"), first)?;

    // One thread draws ahead of the optimizer; a step's batch depends on seed and step alone.
    let (sender, batches) = mpsc::sync_channel::<Result<Vec<batch::Batch>, Error>>(3);
    let drawing = config.clone();
    std::thread::spawn(move || {
        for step in first..drawing.steps {
            let draw = |part| batch::draw(&pictures, &drawing, step, part);
            let parts = (0..PARTS).map(draw).collect();
            if sender.send(parts).is_err() {
                return; // the training side stopped
            }
        }
    });
    for step in first..config.steps {
        let start = Instant::now();
        let parts = batches.recv().expect("the drawing thread sends one batch a step")?;
        let learning_rate = schedule::learning_rate(config, step);
        let (gradients, terms) =
            backward(&student, &tokenizer, &parts, config.stage_ends(), &device);
        if !terms.total.is_finite() {
            let what = format!("{terms:?}");
            return Err(Error::NotFinite { step: step + 1, what, images: Vec::new() });
        }
        student = optimizer.step(learning_rate, student, gradients);
        let line = StepReport {
            step: step + 1,
            terms,
            learning_rate,
            seconds: start.elapsed().as_secs_f64(),
        };
        log.add(&line)?;
        report(&line);
        if (step + 1) % config.save_every == 0 || step + 1 == config.steps {
            let modules = vec![("model", student.clone().into_record())];
            let optimizers = [("optimizer", &optimizer)];
            SavedState::save(&out.join("state"), step + 1, config, modules, &optimizers)?;
        }
    }
    Ok(student.clip.valid())
}

/// The model with the weights of another one of its architecture.
fn started_from(
    name: &str,
    mut clip: Clip,
    config: &PretrainConfig,
    device: &Device,
) -> Result<Clip, Error> {
    let mut backbone = Backbone::load(name, None, device)?;
    backbone.clip.vision.token_heads = Vec::new(); // are fitted when all else has been trained
    if backbone.config != config.architecture() {
        return Err(Error::Settings(format!("{name} is not of the architecture to be trained")));
    }
    let invalid = |e| Error::invalid(Path::new(name), e);
    if config.locked {
        let record = backbone.clip.vision.into_record();
        clip.vision = clip.vision.try_load_record(record).map_err(invalid)?;
        return Ok(clip);
    }
    clip.try_load_record(backbone.clip.into_record()).map_err(invalid)
}

/// The tower with its projection alone to be trained.
fn locked(tower: VisionTower) -> VisionTower {
    let mut tower = tower.no_grad();
    let projection = tower.projection.weight;
    tower.projection.weight = projection.set_require_grad(true);
    tower
}

/// Gradients and loss of a step, the mean over its parts.
fn backward(
    student: &Student,
    tokenizer: &Tokenizer,
    parts: &[batch::Batch],
    stage_ends: [usize; 4],
    device: &Device,
) -> (GradientsParams, Terms) {
    let (gradients, parts) = side_by_side::backward(student, parts, |student: &Student, part| {
        objective::loss(student, tokenizer, part, stage_ends, device)
    });
    let mut terms = Terms::default();
    for part in &parts {
        terms.add(part, 1.0 / PARTS as f64);
    }
    (gradients, terms)
}

/// Muon for the matrices of the blocks, AdamW for all else. On the same steps it brings every
/// loss term down about twice as fast as AdamW alone.
fn optimizer(student: &Student) -> ModuleOptimizer {
    const WEIGHT_DECAY: f32 = 0.05;
    let adamw = AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-6);
    let muon = MuonConfig::new()
        .with_weight_decay(Some(WeightDecayConfig::new(WEIGHT_DECAY)))
        .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
    let blocks = student.clip.vision.blocks.iter().chain(&student.clip.text.blocks);
    let matrices = blocks.flat_map(|b| [&b.qkv, &b.out, &b.fc, &b.proj].map(|l| l.weight.id));
    let matrices = ParamGroup::from_ids(matrices.collect());
    adamw.with_weight_decay(WEIGHT_DECAY).init().with_group(matrices, muon.build(), None)
}

/// What is trained: the CLIP, and linear probes that are discarded afterwards. One probe per
/// stage predicts "damaged" from the tokens directly; its gradient is strong from the first step,
/// when two prompts still mean the same to the text tower.
#[derive(Module, Debug)]
struct Student {
    clip: Clip,
    probes: Vec<Linear>,
}

impl Student {
    fn new(config: &ClipConfig, batch: &batch::Batch, seed: u64, device: &Device) -> Self {
        let mut clip = init::words(Clip::new(config, device), device);
        let vision = init::attention(clip.vision, seed, device);
        let side = batch.grid * config.vision.patch_size;
        clip.vision = init::patch_embedding(vision, &batch.pixels, side, device);
        let probe = |_| LinearConfig::new(config.vision.width, 1).init(device);
        Self { clip, probes: (0..4).map(probe).collect() }
    }
}

/// The saved state of a run with these settings, if there is one. A longer run may go on from a
/// shorter one's; nothing else may differ.
fn saved(out: &Path, config: &PretrainConfig) -> Result<Option<SavedState<PretrainConfig>>, Error> {
    let state = SavedState::<PretrainConfig>::find(&out.join("state"))?;
    if let Some(state) = &state {
        let PretrainConfig { steps, save_every, .. } = *config;
        if (PretrainConfig { steps, save_every, ..state.config.clone() }) != *config {
            return Err(Error::OtherRun { path: state.dir().to_owned() });
        }
    }
    Ok(state)
}
