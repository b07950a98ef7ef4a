//! Distillation of the image tower from a [`Teacher`].
//!
//! Tokens after a third, two thirds and all of the layers predict the teacher's stages 3, 5 and 7, the
//! class token its pooled features, through linear heads that are thrown away. The teacher sees clean
//! windows, the student what camera and file format make of them. Most steps see windows of 144 pixels at
//! a random place of the position grid, which cost a third of the whole.
//!
//! Source: after Asano and Saeed, The Augmented Image Prior, ICLR 2023: few images and strong augmentation
//! are enough to hand on what a network has learnt from many.

mod batch;
mod curve;
mod ridge;
mod schedule;
mod state;
mod student;

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamWConfig, AdjustLrFn, GradientsParams, ModuleOptimizer, MuonConfig};
use burn::tensor::Device;
use clip_vit::{Activation, Clip, ClipConfig, VisionConfig, VisionTower};
use data::Crops;
use fe_clip::saved_state::{SavedState, StepLog};
use fe_clip::{Backbone, Error};
use serde::{Deserialize, Serialize};

use crate::pictures::Pictures;
use crate::pretrain;
use crate::side_by_side;
use crate::teacher::Teacher;
use batch::Batch;
pub use curve::Quality;
pub use student::Terms;
use student::{Standard, Student, Targets, Values, follow};

/// Parts of a step that run side by side.
const PARTS: usize = 2;
/// Batch parts from which mean and deviation of the teacher's channels are taken.
const SAMPLED: usize = 4;
/// Batch parts to which the heads of a tower that has learnt before are fitted.
const FITTED: usize = 16;
/// Peak learning rate of the blocks' matrices (Muon, scaled to AdamW's size of steps).
const MATRIX_RATE: f64 = 6e-3;
/// Peak learning rate of all else (AdamW).
const RATE: f64 = 2e-3;
const WEIGHT_DECAY: f32 = 0.05;

/// Settings of a distillation; everything that changes its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistilConfig {
    /// Seed of the weights and the images.
    pub seed: u64,
    /// sha256 of the corpus of photographs; `None` for procedural scenes alone.
    pub corpus: Option<String>,
    /// A model whose image tower to go on from, as `--model` of fe-clip names it; first weights are drawn without.
    #[serde(default)]
    pub start: Option<String>,
    /// Windows of a step; a step that sees whole images takes three eighths as many.
    pub windows: usize,
    /// Share of the peak learning rates that is the peak of this run: all for drawn weights, less for a tower that has
    /// learnt before.
    #[serde(default = "all")]
    pub rate: f64,
    /// Optimizer steps.
    pub steps: usize,
    /// The last steps, in which the learning rate goes to nothing.
    pub anneal: usize,
    /// Steps between two saved states.
    pub save_every: usize,
    /// Steps between two points of the curve of held-out quality.
    pub judge_every: usize,
}

fn all() -> f64 {
    1.0
}

/// The ends of FE-CLIP's four stages in this tower: the layers that predict the teacher's stages, and one between
/// the last two.
pub const STAGE_ENDS: [usize; 4] = [4, 8, 10, 12];

/// The architecture of `tiny`: a 240-pixel image tower with a 15 x 15 grid, the text tower of
/// [`pretrain`].
pub fn config() -> ClipConfig {
    let vision = VisionConfig {
        width: 192,
        layers: 12,
        heads: 3,
        mlp_width: 768,
        patch_size: batch::PATCH,
        image_size: batch::GRID * batch::PATCH,
        activation: Activation::Gelu,
    };
    ClipConfig { vision, ..pretrain::tiny_config() }
}

/// What one step reports.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: usize,
    /// Loss terms.
    #[serde(flatten)]
    pub terms: Terms,
    /// Share of the peak learning rate.
    pub rate: f64,
    /// Wall time of the step in seconds.
    pub seconds: f64,
    /// Held-out quality of the average of weights, where it was measured.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// Distils an image tower of the architecture [`config`]; the text tower is as it was drawn.
///
/// The state is saved under `out/state` every `save_every` steps, once more under `out/plateau` where the
/// learning rate begins to fall, so that a longer run can go on from there. With `resume` a run goes on
/// from what is there. Every step is a line of `out/distil.jsonl` and given to `report`.
///
/// # Errors
/// If the corpus or a state cannot be read or written, the state belongs to another run, or the loss is not
/// finite.
pub fn distil(
    config: &DistilConfig,
    teacher: &Teacher,
    photographs: Option<Crops>,
    out: &Path,
    resume: bool,
    device: &Device,
    mut report: impl FnMut(&StepReport),
) -> Result<Clip, Error> {
    if config.steps == 0 || config.anneal >= config.steps {
        let problem = format!("{} steps, of which {} anneal", config.steps, config.anneal);
        return Err(Error::Settings(problem));
    }
    if !(config.rate > 0.0 && config.rate <= 1.0) {
        let problem = format!("a share of {} of the learning rates", config.rate);
        return Err(Error::Settings(problem));
    }
    fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let pictures = Pictures::new(photographs);
    let state = if resume { state::find(out, config)? } else { None };
    let mut run = Run::new(config, &pictures, teacher, state.as_ref(), device)?;
    let first = state.map_or(0, |state| state.step);
    let mut log = StepLog::open(&out.join("distil.jsonl"), first)?;
    let held_out = curve::HeldOut::draw(&pictures, config.seed)?;
    std::thread::scope(|scope| {
        // One thread draws ahead of the optimizer; a step's batch depends on corpus, settings and step alone.
        let (sender, batches) = mpsc::sync_channel(3);
        let pictures = &pictures;
        scope.spawn(move || {
            for step in first..config.steps {
                let parts: Result<Vec<Batch>, Error> =
                    (0..PARTS).map(|part| batch::draw(pictures, config, step, part)).collect();
                if sender.send(parts).is_err() {
                    return; // the training side stopped
                }
            }
        });
        for step in first..config.steps {
            let start = Instant::now();
            let parts = batches.recv().expect("the drawing thread sends one batch a step")?;
            let rate = schedule::rate(config, step);
            let terms = run.step(teacher, &parts, step, rate)?;
            let seconds = start.elapsed().as_secs_f64();
            let done = step + 1;
            let judged = done % config.judge_every == 0 || done == config.steps;
            let quality = judged.then(|| curve::judge(&run.average.tower, &held_out, &run.plain));
            let line =
                StepReport { step: done, terms, rate, seconds, quality: quality.transpose()? };
            log.add(&line)?;
            report(&line);
            if done % config.save_every == 0 || done == config.steps {
                run.save(&out.join(state::LAST), config, done)?;
            }
            if done == schedule::plateau(config) {
                run.save(&out.join(state::PLATEAU), config, done)?;
            }
        }
        Ok(run.clip(config.seed))
    })
}

/// A model whose image tower was distilled, with heads that predict the teacher's features from its patch tokens, by
/// ridge regression ([`VisionTower::token_heads`]); and its architecture.
///
/// # Errors
/// If the corpus or the model cannot be read, or its image tower is not of the architecture [`config`].
pub fn with_token_heads(
    model: &str,
    teacher: &Teacher,
    photographs: Option<Crops>,
    seed: u64,
    device: &Device,
) -> Result<(Clip, ClipConfig), Error> {
    let Backbone { mut clip, config: architecture, .. } = Backbone::load(model, None, device)?;
    let pictures = Pictures::new(photographs);
    let config = DistilConfig {
        seed,
        corpus: None,
        start: Some(model.into()),
        windows: 64,
        rate: 1.0,
        steps: FITTED,
        anneal: 0,
        save_every: FITTED,
        judge_every: FITTED,
    };
    let first = batch::draw(&pictures, &config, 0, 0)?;
    let training = device.clone().autodiff();
    let vision = &architecture.vision;
    let mut student = Student::new(vision, architecture.embed_dim, &first, seed, &training);
    student.tower = started_from(model, student.tower, &training)?;
    let standard = standard(&pictures, &config, teacher)?;
    let seen = seen(&pictures, &config, teacher, &standard)?;
    let student = student.fit_heads(&seen, &training).valid();
    clip.vision.token_heads = student.token_heads(&standard, device);
    Ok((clip, architecture))
}

/// What the curve of a run is to be compared with: the quality of the teacher's own tokens and of a tower as it was
/// drawn.
///
/// # Errors
/// If the corpus cannot be read.
pub fn references(
    teacher: &Teacher,
    photographs: Option<Crops>,
    seed: u64,
    device: &Device,
) -> Result<[(&'static str, Quality); 2], Error> {
    let held_out = curve::HeldOut::draw(&Pictures::new(photographs), seed)?;
    device.seed(seed);
    let architecture = config();
    let untrained = VisionTower::new(&architecture.vision, architecture.embed_dim, device);
    Ok([
        ("teacher", curve::judge_teacher(teacher, &held_out)?),
        ("untrained", curve::judge(&untrained, &held_out, device)?),
    ])
}

/// Everything that a step changes, and the constants it reads.
struct Run {
    student: Student,
    average: Student,
    standard: Standard,
    matrices: ModuleOptimizer,
    rest: ModuleOptimizer,
    plain: Device,
    device: Device,
}

impl Run {
    fn new(
        config: &DistilConfig,
        pictures: &Pictures,
        teacher: &Teacher,
        state: Option<&SavedState<DistilConfig>>,
        plain: &Device,
    ) -> Result<Self, Error> {
        let device = plain.clone().autodiff();
        device.seed(config.seed);
        let first = batch::draw(pictures, config, 0, 0)?;
        let architecture = self::config();
        let (vision, embed_dim) = (&architecture.vision, architecture.embed_dim);
        let mut student = Student::new(vision, embed_dim, &first, config.seed, &device);
        let mut standard = Standard::of(&[targets(teacher, &first)]);
        let average;
        if let Some(state) = state {
            student = state.module("student", student)?;
            standard = state.module("standard", standard)?;
            average = state.module("average", student.valid())?;
        } else {
            standard = self::standard(pictures, config, teacher)?;
            if let Some(start) = &config.start {
                student.tower = started_from(start, student.tower, &device)?;
                let seen = seen(pictures, config, teacher, &standard)?;
                student = student.fit_heads(&seen, &device);
            }
            average = student.valid();
        }
        // After loading: parameters have the names of the saved ones then.
        let muon = MuonConfig::new()
            .with_weight_decay(Some(WeightDecayConfig::new(WEIGHT_DECAY)))
            .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
        let adamw = AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-6);
        let mut matrices = muon.init();
        let mut rest = adamw.with_weight_decay(WEIGHT_DECAY).init();
        if let Some(state) = state {
            matrices = state.optimizer("matrices", matrices)?;
            rest = state.optimizer("rest", rest)?;
        }
        Ok(Self { student, average, standard, matrices, rest, plain: plain.clone(), device })
    }

    fn step(
        &mut self,
        teacher: &Teacher,
        parts: &[Batch],
        step: usize,
        rate: f64,
    ) -> Result<Terms, Error> {
        let (standard, device) = (&self.standard, &self.device);
        let (mut gradients, terms) =
            side_by_side::backward(&self.student, parts, |student: &Student, part: &Batch| {
                let targets = standard.apply(targets(teacher, part));
                student.loss(part, &targets, device)
            });
        let terms = Terms::mean(&terms);
        if !terms.loss.is_finite() {
            let what = format!("{terms:?}");
            return Err(Error::NotFinite { step: step + 1, what, images: Vec::new() });
        }
        let mut of_matrices = GradientsParams::new();
        for block in &self.student.tower.blocks {
            for layer in [&block.qkv, &block.out, &block.fc, &block.proj] {
                let id = layer.weight.id;
                if let Some(gradient) = gradients.remove::<2>(id) {
                    of_matrices.register::<2>(id, gradient);
                }
            }
        }
        let student = self.student.clone();
        let student = self.matrices.step(MATRIX_RATE * rate, student, of_matrices);
        self.student = self.rest.step(RATE * rate, student, gradients);
        self.average = follow(self.average.clone(), &self.student, schedule::keep(step));
        Ok(terms)
    }

    fn save(&self, dir: &Path, config: &DistilConfig, step: usize) -> Result<(), Error> {
        let modules = vec![
            ("student", self.student.clone().into_record()),
            ("average", self.average.clone().into_record()),
            ("standard", self.standard.clone().into_record()),
        ];
        let optimizers = [("matrices", &self.matrices), ("rest", &self.rest)];
        SavedState::save(dir, step, config, modules, &optimizers)
    }

    fn clip(&self, seed: u64) -> Clip {
        self.plain.seed(seed);
        let mut clip = Clip::new(&config(), &self.plain);
        // Parameters are initialised when first accessed: do it now, before other code draws random numbers.
        clip.visit(&mut Values(Vec::new()));
        clip.vision = self.average.tower.clone();
        clip
    }
}

/// Mean and deviation of the teacher's channels over batches of the first step, which sees windows however long the
/// run is.
fn standard(
    pictures: &Pictures,
    config: &DistilConfig,
    teacher: &Teacher,
) -> Result<Standard, Error> {
    let samples: Result<Vec<Targets>, Error> = (0..SAMPLED)
        .map(|part| Ok(targets(teacher, &batch::draw(pictures, config, 0, part)?)))
        .collect();
    Ok(Standard::of(&samples?))
}

/// Batches of the first step with the teacher's standardised features, to fit heads to.
fn seen(
    pictures: &Pictures,
    config: &DistilConfig,
    teacher: &Teacher,
    standard: &Standard,
) -> Result<Vec<(Batch, Targets)>, Error> {
    (0..FITTED)
        .map(|part| {
            let batch = batch::draw(pictures, config, 0, part)?;
            let targets = standard.apply(targets(teacher, &batch));
            Ok((batch, targets))
        })
        .collect()
}

/// The tower with the weights of a model's, without heads: they are of what it was before.
fn started_from(name: &str, tower: VisionTower, device: &Device) -> Result<VisionTower, Error> {
    let backbone = Backbone::load(name, None, device)?;
    if backbone.config.vision != config().vision {
        let problem = format!("{name} has not the image tower that is distilled");
        return Err(Error::Settings(problem));
    }
    let mut vision = backbone.clip.vision;
    vision.token_heads = Vec::new();
    let record = vision.into_record();
    tower.try_load_record(record).map_err(|e| Error::invalid(Path::new(name), e))
}

fn targets(teacher: &Teacher, batch: &Batch) -> Targets {
    Targets::new(teacher.see(&batch.clean, batch.grid * batch::PATCH), batch.grid)
}
