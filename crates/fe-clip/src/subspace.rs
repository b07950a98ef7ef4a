//! The directions in which normal tokens differ, and what a token has beside them.

use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::eigen::symmetric;

/// Mean and principal components of tokens.
///
/// Source: SubspaceAD, whose tokens are DINOv2's.
pub(crate) struct Subspace {
    /// `[1, channels]`
    mean: Tensor<2>,
    /// Orthonormal rows, `[components, channels]`.
    components: Tensor<2>,
}

/// Tokens that are added up at once.
const CHUNK: usize = 4096;

impl Subspace {
    /// The first components of the tokens that explain more than a share of their variance.
    ///
    /// # Shapes
    /// - tokens: `[n, channels]`
    pub(crate) fn of(tokens: ArrayView2<'_, f32>, share: f64, device: &Device) -> Self {
        let (n, channels) = tokens.dim();
        let mut sum = Array1::<f64>::zeros(channels);
        tokens.rows().into_iter().for_each(|row| sum += &row.mapv(f64::from));
        let mean = sum / n as f64;
        let mut covariance = Array2::<f64>::zeros((channels, channels));
        for part in tokens.axis_chunks_iter(Axis(0), CHUNK) {
            let centred = part.mapv(f64::from) - &mean;
            covariance += &centred.t().dot(&centred);
        }
        let (values, vectors) = symmetric(covariance);
        let count = explained(&values, share).min(n.saturating_sub(1));
        let flat = |values: &mut dyn Iterator<Item = &f64>, rows| {
            let values: Vec<f32> = values.map(|v| *v as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, channels]), device)
        };
        // One of zeros where tokens do not differ: a tensor has no empty axis.
        let kept = if count == 0 {
            Array2::zeros((1, channels))
        } else {
            vectors.slice_move(s![..count, ..])
        };
        Self { mean: flat(&mut mean.iter(), 1), components: flat(&mut kept.iter(), kept.nrows()) }
    }

    /// How far tokens are from the mean beside all components: Euclidean, 0 or more.
    ///
    /// # Shapes
    /// - tokens: `[n, channels]`
    /// - output: `[n, 1]`
    pub(crate) fn residual(&self, tokens: Tensor<2>) -> Tensor<2> {
        let centred = tokens - self.mean.clone();
        let along = centred.clone().matmul(self.components.clone().transpose());
        let beside = centred - along.matmul(self.components.clone());
        beside.square().sum_dim(1).sqrt()
    }
}

/// How many of the largest explain more than a share of all.
fn explained(values: &Array1<f64>, share: f64) -> usize {
    let all: f64 = values.iter().map(|v| v.max(0.0)).sum();
    if all == 0.0 {
        return 0;
    }
    let mut sum = 0.0;
    let reached = values.iter().position(|v| {
        sum += v.max(0.0);
        sum > share * all
    });
    reached.map_or(values.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::few;
    use crate::tensors::floats;

    /// Against scikit-learn (`golden_methods/few.py`).
    #[test]
    fn residuals_are_those_of_scikit_learn() {
        let device = Device::flex();
        for case in ["many", "few", "one"] {
            let (shape, normals) = few(&format!("{case}.normals"));
            let (other, queries) = few(&format!("{case}.queries"));
            let normals = Array2::from_shape_vec((shape[0], shape[1]), normals).unwrap();
            let subspace = Subspace::of(normals.view(), 0.99, &device);
            let (count, expected) =
                (few(&format!("{case}.components")).1[0], few(&format!("{case}.residuals")).1);
            assert_eq!(subspace.components.dims()[0], count as usize, "{case}");
            let queries =
                Tensor::from_data(TensorData::new(queries, [other[0], other[1]]), &device);
            for (found, expected) in floats(subspace.residual(queries)).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{case}: {found} is {expected}");
            }
        }
    }

    #[test]
    fn tokens_that_do_not_differ_have_no_direction() {
        let device = Device::flex();
        let normals = Array2::from_shape_fn((5, 3), |(_, j)| j as f32);
        let subspace = Subspace::of(normals.view(), 0.99, &device);
        let query = Tensor::from_floats([[0.0, 1.0, 2.0], [3.0, 1.0, 6.0]], &device);
        assert_eq!(floats(subspace.residual(query)), [0.0, 5.0]);
    }
}
