//! Plain CLIP with two prompts.

use serde::{Deserialize, Serialize};

use super::fe_clip::FeClipScorer;
use crate::Error;
use crate::model::FeClip;
use crate::scorer::{Base, Normals, Scorer};
use crate::settings::fe_clip::{FeClipConfig, ImageScore, ProjectionInit, Temperature};
use crate::settings::prompts::Prompts;
use crate::settings::stage_ends::StageEnds;

/// What `[model]` says of plain CLIP beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipConfig {
    /// Temperature of eq. 1: a number or `"clip"`.
    pub temperature: Temperature,
    /// What the image score is made of.
    pub image_score: ImageScore,
    /// Whether upsampling takes the centres of corner tokens to the corners of the image.
    pub align_corners: bool,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 518
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for ClipConfig {
    fn default() -> Self {
        let FeClipConfig { temperature, image_score, align_corners, smoothing_sigma, .. } =
            FeClipConfig::default();
        Self { temperature, image_score, align_corners, smoothing_sigma }
    }
}

impl ClipConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(super) fn check(&self) -> Result<(), String> {
        self.temperature.check_fixed()?;
        self.core().check()
    }

    /// The prompts that published rows of plain CLIP have.
    pub(super) fn usual_prompts() -> Prompts {
        Prompts {
            normal: vec!["a photo of a normal {}".into()],
            anomalous: vec!["a photo of an anomalous {}".into()],
        }
    }

    /// Plain CLIP is FE-CLIP of one stage, the whole tower, without adapters and with the
    /// backbone's own projection.
    pub(super) fn scorer(&self, base: &Base<'_>) -> Result<Box<dyn Scorer>, Error> {
        let depth = base.clip.vision.blocks.len();
        let core = FeClipConfig { stage_ends: Some(StageEnds::Layers(vec![depth])), ..self.core() };
        let head = FeClip::new_head(base.clip, &core, base.device)?;
        let model = FeClip::new(base.clip, &core, base.prompts, head, base.device)?;
        Ok(Box::new(FeClipScorer::new(model, Normals::Unused, base)))
    }

    fn core(&self) -> FeClipConfig {
        FeClipConfig {
            temperature: self.temperature,
            image_score: self.image_score,
            align_corners: self.align_corners,
            smoothing_sigma: self.smoothing_sigma,
            projection_init: ProjectionInit::Clip,
            ..FeClipConfig::without_adapters()
        }
    }
}
