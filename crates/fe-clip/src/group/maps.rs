//! What the images of a group say of each other, over all stages and neighbourhoods.

use std::ops::ControlFlow;

use ndarray::Array2;

use super::images::{Group, Shape};
use super::plan::Plan;
use super::rescore::rescored;
use crate::Error;
use crate::settings::group::GroupConfig;

/// Images that a group needs.
pub const SMALLEST_GROUP: usize = 5;
/// An image whose typical distance from the others is so many times the group's is of another kind.
const ODD: f64 = 1.5;

/// What the images of a group say of each other.
#[derive(Debug, Clone)]
pub struct GroupMaps {
    /// Anomaly of every token, `[grid, grid]` an image: mean distance to the nearest tokens of
    /// those images that have the nearest, in [0, 2].
    pub maps: Vec<Array2<f32>>,
    /// Pairs of images that were taken for one.
    pub duplicates: Vec<[usize; 2]>,
    /// Images that differ so much from the others that they seem to show something else.
    pub odd: Vec<usize>,
    classes: Vec<Vec<f32>>,
}

impl GroupMaps {
    /// Image scores averaged over the images whose class embeddings are most similar, as
    /// [`rescored`] does it.
    pub fn rescored(&self, scores: &[f32], config: &GroupConfig) -> Vec<f32> {
        rescored(scores, &self.classes, config.rescore.images())
    }
}

impl Group {
    /// Scores the images against each other. `progress` is given the comparisons done and all that
    /// there are; there is no answer if it breaks off.
    ///
    /// The order of the images changes nothing, bit for bit.
    ///
    /// # Errors
    /// If there are fewer than [`SMALLEST_GROUP`] images, or a file cannot be read or written.
    pub fn score(
        mut self,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<GroupMaps>, Error> {
        let images = self.len();
        let shape = self.shape.as_ref().filter(|_| images >= SMALLEST_GROUP);
        let Some(Shape { grid, channels }) = shape else {
            return Err(Error::SmallGroup { images, needed: SMALLEST_GROUP });
        };
        let (grid, stages) = (*grid, channels.len());
        let plan = Plan::new(&self.identities, &self.config);
        let sides = self.config.neighbourhoods.clone();
        let passes: Vec<_> =
            (0..stages).flat_map(|stage| sides.iter().map(move |side| (stage, *side))).collect();
        let (tokens, count) = (grid * grid, passes.len() as f64);
        let all = plan.comparisons() * passes.len() as u64;
        let mut sums = vec![vec![0f64; tokens]; images];
        let mut between = vec![0f64; images * plan.candidates().len()];
        let mut counted: Option<Vec<Vec<usize>>> = None;
        let mut done = 0;
        for (stage, side) in passes {
            let found = self.compare(&plan, stage, side, |compared| {
                done += compared;
                progress(done, all)
            })?;
            let Some(mut found) = found else { return Ok(None) };
            // What is a duplicate, the first comparison tells for all.
            let counted =
                counted.get_or_insert_with(|| plan.counted(&found.between, self.config.duplicates));
            between.iter_mut().zip(&found.between).for_each(|(sum, d)| *sum += d / count);
            for (image, sums) in sums.iter_mut().enumerate() {
                let scores = found.scores(image, &counted[image], self.config.share)?;
                sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score / count);
            }
        }
        let map = |sums: Vec<f64>| {
            let values = sums.into_iter().map(|sum| sum as f32).collect();
            Array2::from_shape_vec((grid, grid), values).expect("a sum a token")
        };
        let counted = counted.expect("there is a neighbourhood");
        Ok(Some(GroupMaps {
            maps: sums.into_iter().map(map).collect(),
            duplicates: plan.duplicates(&counted),
            odd: plan.odd(&between, &counted, ODD),
            classes: self.classes,
        }))
    }
}
