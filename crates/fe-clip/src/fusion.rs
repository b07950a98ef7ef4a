//! An image's embedding from its class token and the patches that stand out.
//!
//! Source: Cao et al., AdaCLIP, section 3.4 (hybrid semantic fusion), and its code.

use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::counted::{Ignored, cells, of_image};
use crate::kmeans;
use crate::tensors::{floats, normalize};

/// How patches become part of an image's embedding.
pub(crate) struct Fusion {
    /// Of the patches, in [0, 1].
    pub(crate) weight: f64,
    /// So many of the most anomalous patches.
    pub(crate) patches: usize,
    /// Groups of them, of which each weighs the same.
    pub(crate) groups: usize,
}

impl Fusion {
    /// The embedding that scores an image, of unit length: `[batch, embed_dim]`.
    ///
    /// # Shapes
    /// - stages: unit embeddings of the patches, `[batch, patches, embed_dim]` each
    /// - class: unit embeddings of the class tokens, `[batch, embed_dim]`
    /// - anomalous: what ranks the patches, `[batch, grid, grid]`
    pub(crate) fn fuse(
        &self,
        stages: &[Tensor<3>],
        class: Tensor<2>,
        anomalous: &Array3<f32>,
        ignored: Ignored<'_>,
    ) -> Tensor<2> {
        let [b, patches, _] = stages[0].dims();
        let mut shares = Vec::with_capacity(b * patches);
        for (i, map) in anomalous.axis_iter(Axis(0)).enumerate() {
            let own = |stage: &Tensor<3>| stage.clone().inner().narrow(0, i, 1).squeeze_dim(0);
            let own: Vec<Tensor<2>> = stages.iter().map(own).collect();
            shares.extend(self.shares(&own, map, of_image(ignored, i)));
        }
        let shares = TensorData::new(shares, [b, 1, patches]);
        let shares = Tensor::<3>::from_data(shares, &stages[0].device());
        let sum = stages.iter().cloned().reduce(|a, b| a + b).expect("a model has a stage");
        let outstanding = shares.matmul(sum / stages.len() as f64).squeeze_dim::<2>(1);
        normalize(normalize(outstanding) * self.weight + class * (1.0 - self.weight))
    }

    /// How much each patch of an image is of the mean over its groups' means.
    fn shares(
        &self,
        stages: &[Tensor<2>],
        map: ArrayView2<'_, f32>,
        ignored: Option<&Array2<bool>>,
    ) -> Vec<f32> {
        let values: Vec<f32> = map.iter().copied().collect();
        let mut chosen: Vec<usize> = (0..values.len()).collect();
        if let Some(ignored) = ignored {
            let counts: Vec<bool> = cells(ignored, map.dim()).into_iter().collect();
            chosen.retain(|&patch| counts[patch]);
        }
        chosen.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        chosen.truncate(self.patches);
        let groups = kmeans::groups(points(stages, &chosen).view(), self.groups);
        let mut sizes = vec![0usize; self.groups];
        groups.iter().for_each(|group| sizes[*group] += 1);
        let taken = sizes.iter().filter(|size| **size > 0).count();
        let mut shares = vec![0.0; values.len()];
        for (patch, group) in chosen.iter().zip(groups) {
            shares[*patch] = 1.0 / (taken * sizes[group]) as f32;
        }
        shares
    }
}

/// Embeddings of chosen patches in all stages, one stage after the other.
fn points(stages: &[Tensor<2>], chosen: &[usize]) -> Array2<f64> {
    let rows: Vec<i64> = chosen.iter().map(|&i| i as i64).collect();
    let own = |stage: &Tensor<2>| {
        let rows = TensorData::new(rows.clone(), [rows.len()]);
        stage.clone().select(0, Tensor::from_data(rows, &stage.device()))
    };
    let all = Tensor::cat(stages.iter().map(own).collect::<Vec<Tensor<2>>>(), 1);
    let shape = all.dims();
    let values = floats(all).into_iter().map(f64::from).collect();
    Array2::from_shape_vec(shape, values).expect("a row a patch")
}
