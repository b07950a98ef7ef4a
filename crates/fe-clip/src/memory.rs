//! The memory bank of the few-normal-shot setting.

use std::any::Any;

use burn::tensor::{Tensor, TensorData};
use clip_vit::highest_products;
use ndarray::Array2;

use crate::coreset::reduced;
use crate::tensors::normalize;

/// What a method remembers of normal images, or nothing; of use to the detector that made it alone.
#[derive(Default)]
pub struct Memory(Option<Box<dyn Any + Send>>);

impl Memory {
    /// Puts the memory in the place of a method's own, which it returns.
    ///
    /// # Panics
    /// If it is another method's.
    pub(crate) fn exchange<T: Any + Send>(self, place: &mut Option<T>) -> Self {
        let new = self.0.map(|memory| {
            *memory.downcast::<T>().expect("exchange: expected a memory of the same method")
        });
        Self(
            std::mem::replace(place, new).map(|memory| -> Box<dyn Any + Send> { Box::new(memory) }),
        )
    }
}

/// Unit tokens of normal images, a list a stage.
///
/// Source: FE-CLIP, section 4.6; AnomalyGPT for the bank itself.
pub struct MemoryBank {
    /// Remembered tokens of each stage, `[tokens, channels]`.
    stages: Vec<Option<Tensor<2>>>,
}

impl MemoryBank {
    /// An empty bank for so many stages.
    pub fn new(stages: usize) -> Self {
        Self { stages: vec![None; stages] }
    }

    /// The remembered tokens of each stage, `[tokens, channels]`.
    pub(crate) fn stages(&self) -> impl Iterator<Item = &Tensor<2>> {
        self.stages.iter().flatten()
    }

    /// Adds the tokens of one or more normal images, one tensor
    /// `[batch, height, width, channels]` a stage.
    ///
    /// # Panics
    /// If the number of stages differs.
    pub fn add(&mut self, stages: &[Tensor<4>]) {
        assert_eq!(stages.len(), self.stages.len(), "memory bank: expected one tensor a stage");
        for (bank, tokens) in self.stages.iter_mut().zip(stages) {
            let tokens = rows(tokens.clone());
            *bank = Some(match bank.take() {
                Some(bank) => Tensor::cat(vec![bank, tokens], 0),
                None => tokens,
            });
        }
    }

    /// Keeps at most `limit` tokens of each stage, those that are far from one another, beginning
    /// with one drawn by `seed`; all where `limit` is 0.
    pub fn reduce(&mut self, limit: usize, seed: u64) {
        for bank in self.stages.iter_mut().flatten() {
            *bank = reduced(bank.clone(), limit, seed);
        }
    }

    /// Mean over the stages of 1 - cosine to the nearest remembered token, in [0, 2].
    ///
    /// # Shapes
    /// - stages: `[batch, height, width, channels]` each
    /// - output: `[batch, height, width]`
    ///
    /// # Panics
    /// If the bank is empty or the number of stages differs.
    pub fn distance(&self, stages: &[Tensor<4>]) -> Tensor<3> {
        assert_eq!(stages.len(), self.stages.len(), "memory bank: expected one tensor a stage");
        let [b, h, w, _] = stages[0].dims();
        let per_stage = self.stages.iter().zip(stages).map(|(bank, tokens)| {
            let bank = bank.clone().expect("memory bank: expected a remembered image");
            highest_products(rows(tokens.clone()), bank)
        });
        let sum = per_stage.reduce(|a, b| a + b).expect("a model has at least one stage");
        let similarity = sum / self.stages.len() as f64;
        // Rounding may put a token's similarity to itself a little above 1.
        (similarity.neg() + 1.0).clamp_min(0.0).reshape([b, h, w])
    }
}

fn rows(tokens: Tensor<4>) -> Tensor<2> {
    let [b, h, w, d] = tokens.dims();
    normalize(tokens.reshape([b * h * w, d]))
}

/// The mean over the `side` x `side` neighbours of every token, those that there are.
///
/// # Shapes
/// - tokens, output: `[batch, height, width, channels]`
pub(crate) fn neighbourhood_mean(tokens: Tensor<4>, side: usize) -> Tensor<4> {
    if side == 1 {
        return tokens;
    }
    let [b, h, w, d] = tokens.dims();
    let device = tokens.device();
    let along = |n| {
        let (values, _) = neighbourhood(n, side).into_raw_vec_and_offset();
        Tensor::<2>::from_data(TensorData::new(values, [n, n]), &device).unsqueeze::<3>()
    };
    let rows = along(h).matmul(tokens.reshape([b, h, w * d]));
    along(w).matmul(rows.reshape([b * h, w, d])).reshape([b, h, w, d])
}

/// The matrix that takes an axis of `n` tokens to the means over their `side` neighbours, fewer at
/// its ends: `[n, n]`.
pub(crate) fn neighbourhood(n: usize, side: usize) -> Array2<f32> {
    let reach = side / 2;
    Array2::from_shape_fn((n, n), |(i, j)| {
        let neighbours = n.min(i + reach + 1) - i.saturating_sub(reach);
        if i.abs_diff(j) <= reach { 1.0 / neighbours as f32 } else { 0.0 }
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_mean_is_over_the_neighbours_that_there_are() {
        let device = Device::flex();
        let values: Vec<f32> = (0..6).map(|v| v as f32).collect(); // two rows of three
        let grid = Tensor::<1>::from_data(TensorData::new(values, [6]), &device);
        let grid: Tensor<4> = grid.reshape([1, 2, 3, 1]);
        let mean = |side| crate::tensors::floats(neighbourhood_mean(grid.clone(), side));
        // Both rows see both rows; columns see {0, 1}, {0, 1, 2}, {1, 2}.
        assert_eq!(mean(3), [2.0, 2.5, 3.0, 2.0, 2.5, 3.0]);
        assert_eq!(mean(5), [2.5; 6]);
        assert_eq!(mean(1), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
