//! Blur, as passes of a kernel of three taps.

use super::camera::Radiance;
use super::wide::wide;

/// Weights of three-tap passes whose variances add up to that of the wanted blur.
pub(super) fn binomial_passes(sigma: f32) -> Vec<f32> {
    let variance = sigma * sigma;
    if variance < 0.02 {
        return Vec::new();
    }
    let passes = (variance / 0.5) as usize + 1;
    vec![variance / passes as f32 * 0.5; passes.min(12)]
}

/// A pass of the kernel (w, 1 - 2w, w) in both directions for each weight, edges repeated.
///
/// All passes go down the picture together, each a row behind the one before, so that what lies
/// between them stays in the cache.
pub(super) fn smooth(picture: &mut Radiance, size: usize, weights: &[f32]) {
    if weights.is_empty() {
        return;
    }
    let mut passes: Vec<Pass> = weights.iter().map(|&weight| Pass::new(weight, size)).collect();
    let mut row = vec![0.0; 3 * size];
    wide(
        #[inline(always)]
        || {
            let rows = picture.len() / size;
            let flat = picture.as_flattened_mut();
            let at = |y: usize| 3 * size * y..3 * size * (y + 1);
            // A row is written as many turns after it was read as there are passes.
            for turn in 0..rows + passes.len() {
                let mut whole = turn < rows;
                if whole {
                    row.copy_from_slice(&flat[at(turn)]);
                }
                for (i, pass) in passes.iter_mut().enumerate() {
                    if whole {
                        whole = pass.take(&mut row);
                    } else if turn == rows + i {
                        pass.finish(&mut row);
                        whole = true;
                    }
                }
                if whole {
                    flat[at(turn - passes.len())].copy_from_slice(&row);
                }
            }
        },
    );
}

/// One of the passes: a row leaves it when the next has come in.
struct Pass {
    weight: f32,
    /// The row that came in, with one pixel more on either side.
    padded: Vec<f32>,
    /// Rows smoothed along themselves: the one before the current one, the current one, the next.
    before: Vec<f32>,
    current: Vec<f32>,
    next: Vec<f32>,
    begun: bool,
}

impl Pass {
    fn new(weight: f32, size: usize) -> Self {
        let row = || vec![0.0; 3 * size];
        let padded = vec![0.0; 3 * (size + 2)];
        Self { weight, padded, before: row(), current: row(), next: row(), begun: false }
    }

    /// Takes a row in and puts the finished one before it in its place; false where there is none.
    #[inline(always)]
    fn take(&mut self, row: &mut [f32]) -> bool {
        let (width, weight, centre) = (row.len(), self.weight, 1.0 - 2.0 * self.weight);
        self.padded[3..width + 3].copy_from_slice(row);
        self.padded[..3].copy_from_slice(&row[..3]);
        self.padded[width + 3..].copy_from_slice(&row[width - 3..]);
        let (left, right) = (&self.padded[..width], &self.padded[6..]);
        for (out, ((left, right), middle)) in
            self.next.iter_mut().zip(left.iter().zip(right).zip(&*row))
        {
            *out = weight * (left + right) + centre * middle;
        }
        if !self.begun {
            self.begun = true;
            self.before.copy_from_slice(&self.next);
            self.current.copy_from_slice(&self.next);
            return false;
        }
        self.join(row);
        std::mem::swap(&mut self.before, &mut self.current);
        std::mem::swap(&mut self.current, &mut self.next);
        true
    }

    /// The last row.
    #[inline(always)]
    fn finish(&mut self, row: &mut [f32]) {
        self.next.copy_from_slice(&self.current);
        self.join(row);
    }

    #[inline(always)]
    fn join(&self, row: &mut [f32]) {
        let (weight, centre) = (self.weight, 1.0 - 2.0 * self.weight);
        let rows = self.before.iter().zip(&self.current).zip(&self.next);
        for (out, ((before, current), next)) in row.iter_mut().zip(rows) {
            *out = weight * (before + next) + centre * current;
        }
    }
}
