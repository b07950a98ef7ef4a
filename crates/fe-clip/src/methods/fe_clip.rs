//! FE-CLIP, zero-shot and with a memory bank; plain CLIP, which is FE-CLIP without adapters.

use burn::tensor::Device;
use ndarray::{Array2, Array3, Axis};

use super::{Normals, Scorer, Staged, highest, to_pixels};
use crate::detect::{Prediction, batch, floats, grids};
use crate::export::Source;
use crate::memory::Memory;
use crate::model::{FeClip, LastStage};
use crate::resample::both_axes;
use crate::run::{ImageScore, Method};
use crate::score::ScoreScale;

/// FE-CLIP's scores and maps from its stages.
pub(crate) struct FeClipScorer {
    staged: Staged,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    to_pixels: Array2<f32>,
}

impl FeClipScorer {
    pub(crate) fn new(model: FeClip, grid: usize, size: usize, device: &Device) -> Self {
        let to_pixels = to_pixels(model.config(), grid, size);
        Self { staged: Staged::new(model, device), to_pixels }
    }
}

impl Scorer for FeClipScorer {
    fn normals(&self) -> Normals {
        match self.staged.model.config().method {
            Method::Clip => Normals::Unused,
            _ => Normals::Optional,
        }
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

    fn source(&self) -> Option<Source<'_>> {
        let Staged { model, memory, .. } = &self.staged;
        Some(Source { model, bank: memory.as_ref(), to_pixels: &self.to_pixels })
    }

    fn into_model(self: Box<Self>) -> Option<FeClip> {
        Some(self.staged.model)
    }
}
