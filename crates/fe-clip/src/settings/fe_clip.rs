//! `[model]` of FE-CLIP.

use adapters::{FfeConfig, LfsConfig, Padding, Transform};
use serde::{Deserialize, Serialize};

use super::group::GroupConfig;
use super::stage_ends::StageEnds;
use super::switch::Switch;

/// What `[model]` says of FE-CLIP beside the keys of every method. Absent values mean what their
/// documentation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeClipConfig {
    /// The adapters act after these layers, counted from 1. Default: four equal stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_ends: Option<StageEnds>,
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
    /// First weights of the adapters.
    pub adapter_init: AdapterInit,
    /// Whether class tokens pass the backbone's last norm before their projection.
    pub class_ln_post: bool,
    /// How stages are put together.
    pub aggregate: Aggregate,
    /// Stages whose scores and maps count, from 1; training uses all. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_stages: Option<Vec<usize>>,
    /// What the image score is made of.
    pub image_score: ImageScore,
    /// Whether upsampling takes the centres of corner tokens to the corners of the image.
    pub align_corners: bool,
    /// Which tokens the memory bank compares.
    pub few_feature: FewFeature,
    /// Weight of the distance from the memory bank in map and score.
    pub few_weight: f64,
    /// Whether the memory bank holds each normal image in four rotations.
    pub few_rotate: bool,
    /// Stages that the memory bank compares, from 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few_stages: Option<Vec<usize>>,
    /// Side of the neighbourhood over which tokens are averaged before the memory bank compares
    /// them; odd, 1 = the tokens themselves.
    pub few_neighbourhood: usize,
    /// What of the distances from the memory bank the image score has.
    pub few_score: FewScore,
    /// Whether distances from the memory bank count on the object of an image alone, by the first
    /// principal component of its tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub few_foreground: bool,
    /// Most tokens of a stage in the memory bank; 0 = all. Of more, those are kept that are far
    /// from one another.
    pub few_limit: usize,
    /// Chooses the first of them.
    pub few_seed: u64,
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
    /// How the images of a group are scored against each other, where they are.
    #[serde(skip_serializing_if = "GroupConfig::is_default")]
    pub group: GroupConfig,
}

impl Default for FeClipConfig {
    fn default() -> Self {
        Self {
            stage_ends: None,
            lambda: 0.1,
            temperature: Temperature::Value(Temperature::DEFAULT),
            transform: Transform::Dct,
            patch_ln_post: true,
            shared_projection: true,
            projection_init: ProjectionInit::Random,
            adapter_init: AdapterInit::Random,
            class_ln_post: true,
            aggregate: Aggregate::MeanProbability,
            score_stages: None,
            image_score: ImageScore::ClassToken,
            align_corners: false,
            few_feature: FewFeature::Adapted,
            few_weight: 1.0,
            few_rotate: false,
            few_stages: None,
            few_neighbourhood: 1,
            few_score: FewScore::Max,
            few_foreground: false,
            few_limit: 0,
            few_seed: 0,
            smoothing_sigma: None,
            ffe: Switch::On(FfeConfig::default()),
            lfs: Switch::On(LfsConfig::default()),
            conv_adapter: None,
            group: GroupConfig::default(),
        }
    }
}

impl FeClipConfig {
    /// The defaults without adapters: the stages of the frozen backbone.
    pub(crate) fn without_adapters() -> Self {
        Self { ffe: Switch::Off, lfs: Switch::Off, ..Self::default() }
    }

    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(crate) fn check(&self) -> Result<(), String> {
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
        if let Some(StageEnds::Layers(ends)) = &self.stage_ends
            && (ends.is_empty() || ends[0] == 0 || ends.windows(2).any(|w| w[0] >= w[1]))
        {
            return Err(format!(
                "model.stage_ends: expected increasing layers from 1 up, got {ends:?}"
            ));
        }
        for (key, stages) in
            [("score_stages", &self.score_stages), ("few_stages", &self.few_stages)]
        {
            let increasing = |s: &Vec<usize>| s[0] > 0 && s.windows(2).all(|w| w[0] < w[1]);
            if stages.as_ref().is_some_and(|s| s.is_empty() || !increasing(s)) {
                return Err(format!("model.{key}: expected increasing stages from 1 up"));
            }
        }
        if !(self.few_weight.is_finite() && self.few_weight >= 0.0) {
            let weight = self.few_weight;
            return Err(format!("model.few_weight: expected a number >= 0, got {weight}"));
        }
        check_few_neighbourhood(self.few_neighbourhood)?;
        self.group.check()?;
        let windows = [self.ffe.on().map(|c| c.window), self.lfs.on().map(|c| c.window)];
        if windows.into_iter().flatten().any(|w| !(1..=64).contains(&w)) {
            return Err("model: expected adapter windows of 1 to 64 tokens".into());
        }
        if self.ffe.on().is_some_and(|ffe| ffe.padding == Padding::Zero) {
            return Err("model.ffe.padding: expected replicate or reflect".into());
        }
        let kernels =
            [self.lfs.on().map(|c| c.kernel), self.conv_adapter.as_ref().map(|c| c.kernel)];
        if kernels.into_iter().flatten().any(|k| k != 1 && k != 3) {
            return Err("model: expected convolution kernels of 1 or 3".into());
        }
        Ok(())
    }
}

fn check_few_neighbourhood(side: usize) -> Result<(), String> {
    if side.is_multiple_of(2) || side > 99 {
        return Err(format!(
            "model.few_neighbourhood: expected an odd number below 100, got {side}"
        ));
    }
    Ok(())
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
#[serde(untagged, expecting = "expected a number, \"clip\" or \"learned\"")]
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
    /// Trained with the adapters, from 0.07 on; kept in their checkpoint.
    Learned,
}

impl Temperature {
    /// The default, and where a learned one starts.
    pub const DEFAULT: f64 = 0.07;
    /// The word `"learned"`.
    pub const LEARNED: Self = Self::Word(TemperatureWord::Learned);

    /// Refuses the word `"learned"`, for methods that do not train one.
    pub(crate) fn check_fixed(self) -> Result<(), String> {
        if self == Self::LEARNED {
            return Err("model.temperature: only method fe-clip learns it".into());
        }
        Ok(())
    }
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

/// First weights of the adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterInit {
    /// Uniform, as PyTorch's layers start.
    Random,
    /// The last layer of each is zero: at first tokens are scaled by `1 - lambda`, no more.
    Zero,
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

/// Tokens in the memory bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FewFeature {
    /// After the stage's adapters.
    Adapted,
    /// Before them.
    Raw,
    /// What the tokens before them predict of the features that the backbone was distilled from, where it has heads for
    /// that ([`VisionTower::token_heads`](clip_vit::VisionTower::token_heads)).
    Predicted,
}

/// What an image's distances from a memory bank are for its score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FewScore {
    /// The largest.
    #[default]
    Max,
    /// The mean of the largest hundredth of them, of one at least: AnomalyDINO's.
    TopPercent,
}

impl FewScore {
    /// How many of so many distances, the largest, its mean is over.
    pub(crate) fn count(self, distances: usize) -> usize {
        match self {
            Self::Max => 1,
            Self::TopPercent => (distances / 100).max(1),
        }
    }

    /// The score of the distances of a map that count.
    pub(crate) fn of(self, mut largest: Vec<f32>) -> f32 {
        let count = self.count(largest.len());
        largest.sort_unstable_by(|a, b| b.total_cmp(a));
        largest[..count].iter().sum::<f32>() / count as f32
    }
}

/// What the image score is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageScore {
    /// The class tokens' score S_a alone, eq. 3: what the paper's tables use.
    ClassToken,
    /// The mean of S_a and the map's maximum: for defects too small for the class token.
    ClassTokenAndMap,
    /// The mean of the largest hundredth of the map, of one token at least.
    TopPercent,
    /// The mean of S_a and that.
    ClassTokenAndTopPercent,
}

impl ImageScore {
    /// The score of an image from its class tokens' and the values of its map that count.
    pub(crate) fn of(self, class_token: f32, map: Vec<f32>) -> f32 {
        match self {
            Self::ClassToken => class_token,
            Self::ClassTokenAndMap => (class_token + FewScore::Max.of(map)) / 2.0,
            Self::TopPercent => FewScore::TopPercent.of(map),
            Self::ClassTokenAndTopPercent => (class_token + FewScore::TopPercent.of(map)) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_score_is_of_the_class_token_and_the_largest_of_the_map() {
        let map = ndarray::Array2::from_shape_fn((20, 15), |(y, x)| (y * 15 + x) as f32 / 299.0);
        let top = (299.0 + 298.0 + 297.0) / 299.0 / 3.0;
        for (score, expected) in [
            (ImageScore::ClassToken, 0.25),
            (ImageScore::ClassTokenAndMap, 0.625),
            (ImageScore::TopPercent, top),
            (ImageScore::ClassTokenAndTopPercent, (0.25 + top) / 2.0),
        ] {
            assert!(
                (score.of(0.25, map.iter().copied().collect()) - expected).abs() < 1e-6,
                "{score:?}"
            );
        }
    }
}
