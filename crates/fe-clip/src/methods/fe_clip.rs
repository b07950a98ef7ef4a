//! FE-CLIP, zero-shot and with a memory bank.

use ndarray::{Array2, Array3, ArrayView2, Axis};

use super::staged::{Staged, to_pixels};
use crate::Error;
use crate::counted::{Ignored, counted, highest, of_image, spread};
use crate::group::GroupTokens;
use crate::head::Head;
use crate::memory::Memory;
use crate::model::{FeClip, LastStage, Stages};
use crate::resample::both_axes;
use crate::score::ScoreScale;
use crate::scorer::{Alone, Base, GraphSource, GroupScorer, Normals, Prediction, Scorer};
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::group::GroupConfig;
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

impl FeClipScorer {
    /// Scores and maps of the tokens.
    fn alone(&self, stages: &Stages, ignored: Ignored<'_>) -> Vec<Alone> {
        let model = &self.staged.model;
        let scores = floats(model.image_score(stages));
        let maps = grids(model.patch_map(stages));
        let few = self.staged.few(stages);
        let each = scores.into_iter().zip(maps.axis_iter(Axis(0))).enumerate();
        each.map(|(i, (score, map))| {
            let ignored = of_image(ignored, i);
            let score = model.config().image_score.of(score, counted(map, ignored));
            let Some(few) = &few else {
                return Alone { score, map: map.to_owned() };
            };
            // M = M_a + M_few, S = S_a + max(M_few); the maximum before smoothing.
            let few = few.index_axis(Axis(0), i);
            let score = score + model.config().few_score.of(counted(few, ignored));
            Alone { score, map: &map + &few }
        })
        .collect()
    }
}

/// What the group says is added like the distance from normal images: M = M_a + w M_group,
/// S = S_a + w max(M_group), the maximum before smoothing and averaged over similar images.
impl GroupScorer for FeClipScorer {
    fn config(&self) -> &GroupConfig {
        &self.staged.model.config().group
    }

    fn observe(&self, images: &[Array3<f32>]) -> Vec<(Alone, GroupTokens)> {
        let stages = self.staged.stages(images);
        self.alone(&stages, &[]).into_iter().zip(self.staged.group_tokens(&stages)).collect()
    }

    fn score(&self, map: ArrayView2<'_, f32>) -> f32 {
        highest(map, None)
    }

    fn conclude(&self, alone: &Alone, map: ArrayView2<'_, f32>, score: f32) -> Prediction {
        let weight = self.config().weight as f32;
        let map = &alone.map + &(&map * weight);
        let score = alone.score + weight * score;
        Prediction { score, map: both_axes(&self.to_pixels, map.view()) }
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

    fn group(&self) -> Option<&dyn GroupScorer> {
        Some(self)
    }

    fn detect(&self, images: &[Array3<f32>], ignored: Ignored<'_>) -> Vec<Prediction> {
        let alone = self.alone(&self.staged.stages(images), ignored).into_iter().enumerate();
        let prediction = |(i, Alone { score, map })| Prediction {
            score,
            map: spread(&self.to_pixels, map.view(), of_image(ignored, i)),
        };
        alone.map(prediction).collect()
    }

    fn last_stage(&self, image: &Array3<f32>) -> Option<LastStage> {
        let Staged { model, device, .. } = &self.staged;
        model.last_stage(batch(std::slice::from_ref(image), device))
    }

    fn graph_source(&self) -> Option<GraphSource<'_>> {
        let Staged { model, memory, .. } = &self.staged;
        Some(GraphSource { model, bank: memory.as_ref(), to_pixels: &self.to_pixels })
    }
}
