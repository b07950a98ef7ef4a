//! `run.toml`: everything that changes a number.

use std::path::{Path, PathBuf};

use adapters::{FfeConfig, LfsConfig, Transform};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::read_to_string;
use crate::switch::Switch;

/// A whole `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// The prompts.
    pub prompts: Prompts,
    /// Training.
    pub train: TrainConfig,
    /// Evaluation.
    pub eval: EvalConfig,
}

impl RunConfig {
    /// Reads a `run.toml`; relative paths in it are made relative to its folder.
    ///
    /// # Errors
    /// If the file cannot be read, is no TOML, or has an unknown key or a value out of range.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut config: Self =
            toml::from_str(&read_to_string(path)?).map_err(|e| Error::invalid(path, e))?;
        config.check().map_err(|reason| Error::invalid(path, reason))?;
        let base = path.parent().unwrap_or(Path::new(""));
        for source in config.train.datasets.iter_mut().chain(&mut config.eval.datasets) {
            source.root = base.join(&source.root);
        }
        Ok(config)
    }

    /// The same as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain tables")
    }

    fn check(&self) -> Result<(), String> {
        self.model.check()?;
        let (normal, anomalous) = (&self.prompts.normal, &self.prompts.anomalous);
        if normal.is_empty() || anomalous.is_empty() {
            return Err("prompts: expected at least one normal and one anomalous prompt".into());
        }
        let train = &self.train;
        if train.batch_size == 0 || train.micro_batch_size == Some(0) {
            return Err("train: expected a batch of at least one image".into());
        }
        for (name, rate) in [
            ("learning_rate", train.learning_rate),
            ("projection_learning_rate", train.projection_learning_rate),
        ] {
            if !(rate.is_finite() && rate >= 0.0) {
                return Err(format!("train.{name}: expected a number >= 0, got {rate}"));
            }
        }
        Ok(())
    }
}

/// `[model]`. Absent values mean what their documentation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// What `--model` takes: `tiny`, `vit-l-14-336`, a hub id, a folder or a file.
    pub backbone: String,
    /// Side of the square model input in pixels; a multiple of the patch. Default: 518 for
    /// ViT-L/14@336, else the backbone's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// How an image becomes a square.
    pub resize: data::Resize,
    /// The adapters act after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<Vec<usize>>,
    /// Weight of the adapters against the tokens themselves, eq. 2; in [0, 1].
    pub lambda: f64,
    /// Temperature of eq. 1.
    pub temperature: Temperature,
    /// Transform of both adapters.
    pub transform: Transform,
    /// Whether patch tokens pass the backbone's last norm before their projection.
    pub patch_ln_post: bool,
    /// Whether the stages share one patch projection.
    pub shared_projection: bool,
    /// First weights of the patch projection.
    pub projection_init: ProjectionInit,
    /// Whether class tokens pass the backbone's last norm before their projection.
    pub class_ln_post: bool,
    /// How stages are put together.
    pub aggregate: Aggregate,
    /// What the image score is made of.
    pub image_score: ImageScore,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
    /// Frequency feature extraction, or false.
    pub ffe: Switch<FfeConfig>,
    /// Local frequency statistics, or false.
    pub lfs: Switch<LfsConfig>,
    /// The Conv adapter of Table 3; absent by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conv_adapter: Option<ConvAdapterConfig>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            backbone: "tiny".into(),
            image_size: None,
            resize: data::Resize::Squash,
            stage_ends: None,
            lambda: 0.1,
            temperature: Temperature::Value(0.07),
            transform: Transform::Dct,
            patch_ln_post: true,
            shared_projection: true,
            projection_init: ProjectionInit::Random,
            class_ln_post: true,
            aggregate: Aggregate::MeanProbability,
            image_score: ImageScore::ClassToken,
            smoothing_sigma: None,
            ffe: Switch::On(FfeConfig::default()),
            lfs: Switch::On(LfsConfig::default()),
            conv_adapter: None,
        }
    }
}

impl ModelConfig {
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.lambda) {
            return Err(format!("model.lambda: expected 0 to 1, got {}", self.lambda));
        }
        if let Temperature::Value(t) = self.temperature
            && !(t.is_finite() && t > 0.0)
        {
            return Err(format!("model.temperature: expected a number above 0, got {t}"));
        }
        if let Some(sigma) = self.smoothing_sigma
            && !(0.0..=1000.0).contains(&sigma)
        {
            return Err(format!("model.smoothing_sigma: expected 0 to 1000, got {sigma}"));
        }
        if let Some(ends) = &self.stage_ends
            && (ends.is_empty() || ends[0] == 0 || ends.windows(2).any(|w| w[0] >= w[1]))
        {
            return Err(format!(
                "model.stage_ends: expected increasing layers from 1 up, got {ends:?}"
            ));
        }
        let windows = [self.ffe.on().map(|c| c.window), self.lfs.on().map(|c| c.window)];
        if windows.into_iter().flatten().any(|w| !(1..=64).contains(&w)) {
            return Err("model: expected adapter windows of 1 to 64 tokens".into());
        }
        let kernels =
            [self.lfs.on().map(|c| c.kernel), self.conv_adapter.as_ref().map(|c| c.kernel)];
        if kernels.into_iter().flatten().any(|k| k != 1 && k != 3) {
            return Err("model: expected convolution kernels of 1 or 3".into());
        }
        Ok(())
    }
}

/// `[model.conv_adapter]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvAdapterConfig {
    /// Side of the kernel: 1 or 3.
    pub kernel: usize,
}

impl Default for ConvAdapterConfig {
    fn default() -> Self {
        Self { kernel: 3 }
    }
}

/// The temperature that divides cosine differences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"clip\"")]
pub enum Temperature {
    /// A number.
    Value(f64),
    /// A word.
    Word(TemperatureWord),
}

/// Temperatures that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemperatureWord {
    /// The backbone's own: `exp(-logit_scale)`.
    Clip,
}

/// How the stages' answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Mean of the probabilities, eq. 3.
    MeanProbability,
    /// Probability of the mean logit.
    MeanLogit,
}

/// First weights of the patch projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionInit {
    /// Uniform, as PyTorch's linear layers start.
    Random,
    /// The backbone's own projection of the class token, with a bias of zero.
    Clip,
}

/// What the image score is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageScore {
    /// The class tokens' score S_a alone, eq. 3: what the paper's tables use.
    ClassToken,
    /// The mean of S_a and the map's maximum: for defects too small for the class token.
    ClassTokenAndMap,
}

/// `[prompts]`: what normal and anomalous mean in words; several are averaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Prompts of the normal state.
    pub normal: Vec<String>,
    /// Prompts of the anomalous state.
    pub anomalous: Vec<String>,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            normal: vec!["A photo of a normal object".into()],
            anomalous: vec!["A photo of a damaged object".into()],
        }
    }
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Data sets with masks; every image of the split is used.
    pub datasets: Vec<Source>,
    /// Passes over the data.
    pub epochs: usize,
    /// Images of an optimizer step.
    pub batch_size: usize,
    /// Images of a forward pass; gradients accumulate to `batch_size`. Default: the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Adam's learning rate of the adapters.
    pub learning_rate: f64,
    /// Adam's learning rate of the patch projection; 0 freezes it.
    pub projection_learning_rate: f64,
    /// Seed of the weights and of the order of images.
    pub seed: u64,
    /// Stop after so many optimizer steps, for trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            datasets: Vec::new(),
            epochs: 9,
            batch_size: 16,
            micro_batch_size: None,
            learning_rate: 5e-4,
            projection_learning_rate: 5e-6,
            seed: 0,
            max_steps: None,
        }
    }
}

/// `[eval]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Data sets to evaluate on.
    pub datasets: Vec<Source>,
    /// Normal images of the target category in the memory bank; 0 = zero-shot.
    pub shots: usize,
    /// Seed that chooses them.
    pub shot_seed: u64,
}

/// A data set on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its layout, by the name that `fe-clip scan --dataset` takes.
    pub name: String,
    /// Its root folder.
    pub root: PathBuf,
    /// The part that is used.
    #[serde(default = "test_split")]
    pub split: data::Split,
    /// Categories that are used; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

impl Source {
    /// Whether a sample of the data set belongs to the chosen part.
    pub fn uses(&self, sample: &data::Sample) -> bool {
        sample.split == self.split
            && (self.categories.is_empty() || self.categories.contains(&sample.category))
    }
}

fn test_split() -> data::Split {
    data::Split::Test
}
