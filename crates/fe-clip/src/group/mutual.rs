//! MSM: how near the tokens of images are to those of other images.

use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;
use safetensors::Dtype;

use super::images::Group;
use super::plan::Plan;
use super::store::Store;
use crate::Error;
use crate::precision::{Precision, decode, encode};

/// Images on either side that are compared while they are in memory.
const BLOCK: usize = 16;

/// Distances of one stage and neighbourhood.
pub(super) struct Distances {
    /// From every token of an image to the nearest of each candidate, `[images, candidates, tokens]`.
    store: Store,
    candidates: usize,
    tokens: usize,
    /// Their means over the tokens of both images, `[images, candidates]`; 0 where none was taken.
    pub(super) between: Vec<f64>,
}

impl Group {
    /// Compares images by the tokens of a stage, averaged over neighbourhoods. `progress` is given
    /// the number of pairs since the last call; nothing is returned if it breaks off.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(super) fn compare(
        &mut self,
        plan: &Plan,
        stage: usize,
        side: usize,
        mut progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Distances>, Error> {
        let grid = self.shape.as_ref().expect("there is an image").grid;
        let mut found =
            Distances::new(plan, grid * grid, self.limits.memory / 2, &self.limits.folder)?;
        let images: Vec<usize> = (0..plan.images()).collect();
        let candidates = plan.candidates();
        for rows in images.chunks(BLOCK) {
            let mut of_rows = None;
            for start in (0..candidates.len()).step_by(BLOCK) {
                let columns = start..candidates.len().min(start + BLOCK);
                let tasks: Vec<(usize, usize)> = (0..rows.len())
                    .flat_map(|row| columns.clone().map(move |at| (row, at)))
                    .filter(|(row, at)| plan.compares(rows[*row], *at))
                    .collect();
                if tasks.is_empty() {
                    continue;
                }
                if of_rows.is_none() {
                    of_rows = Some(self.load(rows, stage, side)?);
                }
                let own = of_rows.as_ref().expect("just loaded");
                let theirs = self.load(&candidates[columns.clone()], stage, side)?;
                let compared: Vec<[Vec<f32>; 2]> = tasks
                    .par_iter()
                    .map(|(row, at)| {
                        let (to, from) = own[*row].nearest(&theirs[at - start]);
                        [to, from].map(|squared| squared.into_iter().map(f32::sqrt).collect())
                    })
                    .collect();
                for ((row, at), [to, from]) in tasks.iter().zip(&compared) {
                    let between = (mean(to) + mean(from)) / 2.0;
                    found.put(rows[*row], *at, to, between)?;
                    if let Some(own) = plan.place(rows[*row]) {
                        found.put(candidates[*at], own, from, between)?;
                    }
                }
                if progress(tasks.len() as u64).is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(found))
    }
}

impl Distances {
    fn new(plan: &Plan, tokens: usize, limit: u64, folder: &Path) -> Result<Self, Error> {
        let (images, candidates) = (plan.images(), plan.candidates().len());
        let length = (images * candidates * tokens * Precision::Full.bytes()) as u64;
        let store = Store::zeros(length, limit, folder)?;
        Ok(Self { store, candidates, tokens, between: vec![0.0; images * candidates] })
    }

    fn put(&mut self, image: usize, at: usize, distances: &[f32], mean: f64) -> Result<(), Error> {
        let pair = image * self.candidates + at;
        self.between[pair] = mean;
        let bytes = encode(distances, Precision::Full);
        self.store.write((pair * bytes.len()) as u64, &bytes)
    }

    /// For every token of an image the mean distance to those of the counted candidates' images
    /// that have the nearest tokens, `share` of them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn scores(
        &mut self,
        image: usize,
        counted: &[usize],
        share: f64,
    ) -> Result<Vec<f64>, Error> {
        let length = self.candidates * self.tokens * Precision::Full.bytes();
        let bytes = self.store.read((image * length) as u64, length)?;
        let rows = decode(&bytes, Dtype::F32).expect("distances are kept whole");
        let nearest = ((share * counted.len() as f64) as usize).max(1);
        let score = |token: usize| {
            let each = counted.iter().map(|at| rows[at * self.tokens + token]);
            let mut distances: Vec<f32> = each.collect();
            distances.select_nth_unstable_by(nearest - 1, f32::total_cmp);
            // In order, so that the sum does not depend on that of the images.
            distances[..nearest].sort_unstable_by(f32::total_cmp);
            mean(&distances[..nearest])
        };
        Ok((0..self.tokens).into_par_iter().map(score).collect())
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
}
