//! Training: only the head learns, and what lies before the first adapter is computed once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, SgdConfig,
};
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::head::Head;
use crate::loss::{LossForm, LossTerms};
use crate::prefix::Prefixes;
use crate::run::RunConfig;
use crate::saved_state::{SavedState, StepLog};
use crate::settings::train::{Optimizer, Schedule, TrainConfig};
use crate::tensors::floats;
use crate::trainee::{Trainee, Truth};

/// Streams of random numbers of single steps, beside those of epochs and mosaics.
const STREAMS: u64 = 1 << 62;

/// Optimizer steps between two saved states; the end of an epoch saves too.
const SAVE_EVERY: usize = 50;

/// One line of `train.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepReport {
    /// Number of the optimizer step, from 1.
    pub step: usize,
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Loss terms, means over the batch.
    #[serde(flatten)]
    pub terms: LossTerms,
    /// Wall time of the step.
    pub seconds: f64,
}

/// Where a run keeps its files and how it is told to stop.
pub struct TrainingRun<'a> {
    /// Settings.
    pub config: &'a RunConfig,
    /// Folder of `train.jsonl` and `state/`.
    pub out: &'a Path,
    /// Go on from the saved state, if there is one.
    pub resume: bool,
    /// Set from outside: finish the step, save and stop.
    pub stop: &'a AtomicBool,
}

impl TrainingRun<'_> {
    /// Optimizer steps of the whole run.
    pub fn steps(&self, images: usize) -> usize {
        let train = &self.config.train;
        let all = train.epochs.saturating_mul(train.steps_of_epoch(images));
        train.max_steps.map_or(all, |max| all.min(max))
    }

    /// Trains the head of a model on prepared images and returns it, on the plain device.
    ///
    /// By the optimizer and at the rates of `[train]`; batches are chunks of a permutation that
    /// depends on seed and epoch alone, the last one of an epoch may be smaller.
    ///
    /// # Errors
    /// If the settings ask for a precision other than float32, a file cannot be read or written, the saved state belongs to other settings, the loss
    /// is not finite, or the run was stopped ([`Error::Interrupted`]).
    pub fn train(
        &self,
        model: &mut dyn Trainee,
        prefixes: &Prefixes,
        device: &Device,
        mut report: impl FnMut(&StepReport),
    ) -> Result<Head, Error> {
        self.config.model.check_training()?;
        let train = &self.config.train;
        let device = device.clone().autodiff();
        let form = self.config.model.method.loss_form(train)?;
        let mut learner = Learner::new(model.head().clone().fork(&device).train(), train);
        let mut done = 0;
        if self.resume {
            done = learner.load(self.out, self.config)?;
        }
        let mut log = StepLog::open(&self.out.join("train.jsonl"), done)?;
        let total = self.steps(prefixes.len());
        let per_epoch = train.steps_of_epoch(prefixes.len());
        while done < total {
            let epoch = done / per_epoch;
            let order = order(train, epoch, prefixes)?;
            for (n, chunk) in order.chunks(train.batch_size).enumerate().skip(done % per_epoch) {
                let start = Instant::now();
                let turn = Turn { epoch, place: n * train.batch_size, images: chunk };
                let terms = learner.step(model, prefixes, &turn, (train, &form), &device)?;
                done += 1;
                if let Some(what) = learner.not_finite(&terms) {
                    let images = chunk.iter().map(|&i| prefixes.name(i).to_owned()).collect();
                    return Err(Error::NotFinite { step: done, what, images });
                }
                let seconds = start.elapsed().as_secs_f64();
                let line = StepReport { step: done, epoch: epoch + 1, terms, seconds };
                log.add(&line)?;
                report(&line);
                let stopped = self.stop.load(Ordering::Relaxed);
                if stopped || done % SAVE_EVERY == 0 || done % per_epoch == 0 || done == total {
                    learner.save(self.out, self.config, done)?;
                }
                if stopped && done < total {
                    return Err(Error::Interrupted { step: done });
                }
                if done == total {
                    break;
                }
            }
        }
        Ok(learner.head.valid())
    }
}

/// The images of an epoch in the order in which they are taken.
fn order(train: &TrainConfig, epoch: usize, prefixes: &Prefixes) -> Result<Vec<usize>, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(train.seed);
    rng.set_stream(1 + epoch as u64);
    let count = train.epoch_steps.map_or(prefixes.len(), |steps| steps * train.batch_size);
    let all = 0..prefixes.len();
    if !train.balanced {
        return Ok(permutations(all.collect(), count, &mut rng));
    }
    let (anomalous, normal): (Vec<_>, Vec<_>) = all.partition(|&i| prefixes.is_anomalous(i));
    if anomalous.is_empty() || normal.is_empty() {
        return Err(Error::Settings(format!(
            "train.balanced: expected normal and anomalous images, got {} and {}",
            normal.len(),
            anomalous.len()
        )));
    }
    let normal = permutations(normal, count.div_ceil(2), &mut rng);
    let turns = [normal, permutations(anomalous, count / 2, &mut rng)];
    Ok((0..count).map(|i| turns[i % 2][i / 2]).collect())
}

/// So many of permutations after one another.
fn permutations(mut images: Vec<usize>, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        images.shuffle(rng);
        order.extend(images.iter().take(count - order.len()));
    }
    order
}

/// The images of a step.
struct Turn<'a> {
    /// From 0.
    epoch: usize,
    /// Of the first image in the epoch's order.
    place: usize,
    images: &'a [usize],
}

/// The head under training with its optimizers.
struct Learner {
    head: Head,
    adapters: ModuleOptimizer,
    projection: ModuleOptimizer,
    scales: ModuleOptimizer,
}

impl Learner {
    fn new(head: Head, train: &TrainConfig) -> Self {
        let [adapters, projection, scales] = [(); 3].map(|()| optimizer(train));
        Self { head, adapters, projection, scales }
    }

    fn step(
        &mut self,
        model: &mut dyn Trainee,
        prefixes: &Prefixes,
        turn: &Turn<'_>,
        (train, form): (&TrainConfig, &LossForm),
        device: &Device,
    ) -> Result<LossTerms, Error> {
        let micro = train.micro_batch_size.unwrap_or(train.batch_size);
        let mut adapters = GradientsAccumulator::new();
        let mut projection = GradientsAccumulator::new();
        let mut scales = GradientsAccumulator::new();
        let mut terms = LossTerms::default();
        model.set_head(self.head.clone());
        for (n, part) in turn.images.chunks(micro).enumerate() {
            let share = part.len() as f64 / turn.images.len() as f64;
            let place = turn.place + n * micro;
            let batch = prefixes.batch(part, turn.epoch, place, model)?;
            let categories: Vec<&str> = part.iter().map(|&i| prefixes.category(i)).collect();
            model.describe(&categories);
            model.draw(train.seed, STREAMS | ((turn.epoch as u64) << 32) | place as u64);
            let [tokens, width] = prefixes.shape();
            let rows = batch.tokens.len() / (tokens * width);
            let data = TensorData::new(batch.tokens, [rows, tokens, width]);
            let truth = Truth {
                anomalous: &batch.anomalous,
                masks: batch.masks.as_deref(),
                size: prefixes.size(),
            };
            let (total, part_terms) =
                model.loss(form, Tensor::<3>::from_data(data, device), &truth);
            if !total.is_tracked() {
                return Err(Error::Settings(
                    "train.supervision: no adapter acts on an image score; labels alone train \
                     those before the last stage"
                        .into(),
                ));
            }
            let mut gradients = (total * share).backward();
            let head = &self.head;
            let trained = (
                head.stages.clone(),
                head.logit_scale.clone(),
                head.prompts.clone(),
                head.own.clone(),
            );
            adapters.accumulate(&trained, GradientsParams::from_module(&mut gradients, &trained));
            projection.accumulate(
                &head.patch_projection,
                GradientsParams::from_module(&mut gradients, &head.patch_projection),
            );
            scales.accumulate(
                &head.logit_scales,
                GradientsParams::from_module(&mut gradients, &head.logit_scales),
            );
            terms = terms.plus(part_terms, share);
        }
        if terms.loss.is_finite() {
            let head = self.head.clone();
            let trained = (head.stages, head.logit_scale, head.prompts, head.own);
            let rate = |rate: f64| train.rate(rate, turn.epoch);
            let (stages, logit_scale, prompts, own) =
                self.adapters.step(rate(train.learning_rate), trained, adapters.grads());
            self.head = Head {
                stages,
                logit_scale,
                prompts,
                own,
                logit_scales: self.scales.step(
                    rate(train.temperature_learning_rate),
                    head.logit_scales,
                    scales.grads(),
                ),
                patch_projection: self.projection.step(
                    rate(train.projection_learning_rate),
                    head.patch_projection,
                    projection.grads(),
                ),
            };
        }
        Ok(terms)
    }

    /// What went wrong in a step, if anything did.
    fn not_finite(&self, terms: &LossTerms) -> Option<String> {
        let mut finite = Finite(true);
        self.head.visit(&mut finite);
        match (terms.loss.is_finite(), finite.0) {
            (true, true) => None,
            (true, false) => Some(format!("the weights after {terms}")),
            (false, _) => Some(terms.to_string()),
        }
    }

    fn save(&self, out: &Path, config: &RunConfig, step: usize) -> Result<(), Error> {
        let modules = vec![("head", self.head.clone().into_record())];
        let mut optimizers = vec![(ADAPTERS, &self.adapters), (PROJECTION, &self.projection)];
        if !self.head.logit_scales.is_empty() {
            optimizers.push((SCALES, &self.scales));
        }
        SavedState::save(&out.join("state"), step, config, modules, &optimizers)
    }

    /// Loads the saved state, if there is one, and returns how many steps it has seen.
    fn load(&mut self, out: &Path, config: &RunConfig) -> Result<usize, Error> {
        let Some(state) = SavedState::<RunConfig>::find(&out.join("state"))? else { return Ok(0) };
        let same = |c: &RunConfig| (c.model.clone(), c.prompts.clone(), trained_by(c));
        if same(&state.config) != same(config) {
            return Err(Error::OtherRun { path: state.dir().to_owned() });
        }
        self.head = state.module("head", self.head.clone())?;
        self.adapters = state.optimizer(ADAPTERS, self.adapters.clone())?;
        self.projection = state.optimizer(PROJECTION, self.projection.clone())?;
        if !self.head.logit_scales.is_empty() {
            self.scales = state.optimizer(SCALES, self.scales.clone())?;
        }
        Ok(state.step)
    }
}

/// Files of the optimizers' states.
const ADAPTERS: &str = "adapters.optimizer";
const PROJECTION: &str = "projection.optimizer";
const SCALES: &str = "temperatures.optimizer";

/// Whether all weights seen so far are finite.
struct Finite(bool);

impl ModuleVisitor for Finite {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 = self.0 && floats(param.val().inner()).iter().all(|v| v.is_finite());
    }
}

/// Training settings without what may change between a run and its continuation: how long it
/// goes on, unless the rates depend on that.
fn trained_by(config: &RunConfig) -> TrainConfig {
    let epochs = match config.train.schedule {
        Schedule::Constant => 0,
        Schedule::Cosine => config.train.epochs,
    };
    TrainConfig { epochs, max_steps: None, ..config.train.clone() }
}

fn optimizer(train: &TrainConfig) -> ModuleOptimizer {
    let decay = (train.weight_decay > 0.0)
        .then_some(WeightDecayConfig { penalty: train.weight_decay as f32 });
    match train.optimizer {
        Optimizer::Adam => {
            let [beta_1, beta_2] = train.adam_betas.map(|beta| beta as f32);
            // PyTorch's epsilon; Burn's default is larger.
            let adam = AdamConfig::new().with_epsilon(1e-8).with_beta_1(beta_1).with_beta_2(beta_2);
            adam.with_weight_decay(decay).init()
        }
        Optimizer::AdamW => {
            let [beta_1, beta_2] = train.adam_betas.map(|beta| beta as f32);
            let adam = AdamWConfig::new().with_epsilon(1e-8).with_beta_1(beta_1);
            adam.with_beta_2(beta_2).with_weight_decay(train.weight_decay as f32).init()
        }
        Optimizer::Sgd => {
            // PyTorch's dampening; Burn's default is another.
            let momentum = MomentumConfig::new().with_momentum(train.momentum).with_dampening(0.0);
            SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(decay).init()
        }
    }
}

impl LossTerms {
    fn plus(self, other: Self, share: f64) -> Self {
        Self {
            loss: self.loss + share * other.loss,
            loss_cls: self.loss_cls + share * other.loss_cls,
            loss_focal: self.loss_focal + share * other.loss_focal,
            loss_dice: self.loss_dice + share * other.loss_dice,
        }
    }
}
