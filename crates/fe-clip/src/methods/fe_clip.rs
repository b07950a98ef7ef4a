//! FE-CLIP, zero-shot and with a memory bank.

use ndarray::{Array2, Array3, Axis};

use super::staged::{Staged, to_pixels};
use crate::Error;
use crate::head::Head;
use crate::memory::Memory;
use crate::model::{FeClip, LastStage};
use crate::resample::both_axes;
use crate::score::ScoreScale;
use crate::scorer::{Base, Normals, Prediction, Scorer, highest};
use crate::settings::fe_clip::{FeClipConfig, ImageScore};
use crate::tensors::{batch, floats, grids};
use crate::wording::CutText;

impl FeClipConfig {
    pub(super) fn model(&self, base: &Base<'_>, head: Head) -> Result<FeClip, Error> {
        FeClip::new(base.clip, self, base.prompts, head, base.device)
    }

    pub(super) fn scorer(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Scorer>, Error> {
        let model = self.model(base, head)?;
        Ok(Box::new(FeClipScorer::new(model, Normals::Optional, base)))
    }
}

/// FE-CLIP's scores and maps from its stages.
pub(super) struct FeClipScorer {
    staged: Staged,
    normals: Normals,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
}

impl FeClipScorer {
    pub(super) fn new(model: FeClip, normals: Normals, base: &Base<'_>) -> Self {
        let to_pixels = to_pixels(model.config(), base.grid, base.size);
        Self { staged: Staged::new(model, base.device), normals, to_pixels }
    }
}

impl Scorer for FeClipScorer {
    fn normals(&self) -> Normals {
        self.normals
    }

    fn remember(&mut self, normals: &[Array3<f32>]) {
        self.staged.remember(normals);
    }

    fn exchange_memory(&mut self, memory: Memory) -> Memory {
        memory.exchange(&mut self.staged.memory)
    }

    fn describe(&mut self, category: &str) {
        self.staged.model.describe(&[category]);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        self.staged.model.cut_texts(category)
    }

    fn score_scale(&self, compared: bool) -> ScoreScale {
        // The distance is added.
        if compared { ScoreScale::Open } else { ScoreScale::Unit }
    }

    fn detect(&self, images: &[Array3<f32>]) -> Vec<Prediction> {
        let model = &self.staged.model;
        let stages = self.staged.stages(images);
        let scores = floats(model.image_score(&stages));
        let maps = grids(model.patch_map(&stages));
        let few = self.staged.few(&stages);
        let each = scores.into_iter().zip(maps.axis_iter(Axis(0))).enumerate();
        each.map(|(i, (score, map))| {
            let score = match model.config().image_score {
                ImageScore::ClassToken => score,
                ImageScore::ClassTokenAndMap => (score + highest(map)) / 2.0,
            };
            let Some(few) = &few else {
                return Prediction { score, map: both_axes(&self.to_pixels, map) };
            };
            // M = M_a + M_few, S = S_a + max(M_few); the maximum before smoothing.
            let few = few.index_axis(Axis(0), i);
            let map = both_axes(&self.to_pixels, (&map + &few).view());
            Prediction { score: score + highest(few), map }
        })
        .collect()
    }

    fn last_stage(&self, image: &Array3<f32>) -> Option<LastStage> {
        let Staged { model, device, .. } = &self.staged;
        model.last_stage(batch(std::slice::from_ref(image), device))
    }
}
