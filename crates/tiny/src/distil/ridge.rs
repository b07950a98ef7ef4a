//! Ridge regression of many targets at once.

use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, s};

/// Added to the squares of every weight; the features have a variance of one.
const PENALTY: f64 = 100.0;

/// Sums over examples, from which the best linear layer follows.
#[derive(Default)]
pub(super) struct Ridge {
    /// Products of features, and of features with targets: `[features, features]`, `[features, targets]`; the last
    /// feature is 1.
    sums: Option<[Array2<f64>; 2]>,
}

impl Ridge {
    /// # Shapes
    /// - features: `[batch, tokens, features]`
    /// - targets: `[batch, tokens, targets]`
    pub(super) fn add(&mut self, features: Tensor<3>, targets: Tensor<3>) {
        let [b, n, width] = features.dims();
        let ones = Tensor::ones([b * n, 1], &features.device());
        let features = Tensor::cat(vec![features.reshape([b * n, width]), ones], 1);
        let [.., channels] = targets.dims();
        let transposed = features.clone().transpose();
        let new = [
            array(transposed.clone().matmul(features)),
            array(transposed.matmul(targets.reshape([b * n, channels]))),
        ];
        self.sums = Some(match self.sums.take() {
            None => new,
            Some([squares, products]) => [squares + &new[0], products + &new[1]],
        });
    }

    /// The layer with the least squared error and penalty.
    ///
    /// # Panics
    /// If there was no example.
    pub(super) fn solve(self, device: &Device) -> Linear {
        let [mut squares, products] = self.sums.expect("ridge: expected an example");
        let width = squares.nrows() - 1;
        squares.diag_mut().slice_mut(s![..width]).mapv_inplace(|x| x + PENALTY);
        squares[[width, width]] += f64::EPSILON;
        let solution = solve(squares, products);
        let values = |part: ndarray::ArrayView2<'_, f64>| part.iter().map(|x| *x as f32).collect();
        let channels = solution.ncols();
        let weight: Vec<f32> = values(solution.slice(s![..width, ..]));
        let bias: Vec<f32> = values(solution.slice(s![width.., ..]));
        let mut linear = LinearConfig::new(width, channels).init(device);
        let weight = TensorData::new(weight, [width, channels]);
        linear.weight = Param::from_tensor(Tensor::from_data(weight, device));
        let bias = TensorData::new(bias, [channels]);
        linear.bias = Some(Param::from_tensor(Tensor::from_data(bias, device)));
        linear
    }
}

/// `X` of `A X = B` for a positive definite `A`, by its Cholesky factor.
fn solve(mut a: Array2<f64>, mut b: Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    for i in 0..n {
        for j in 0..=i {
            let rest = a.slice(s![i, ..j]).dot(&a.slice(s![j, ..j]));
            let value = a[[i, j]] - rest;
            a[[i, j]] = if i == j { value.sqrt() } else { value / a[[j, j]] };
        }
    }
    for i in 0..n {
        let known = a.slice(s![i, ..i]).dot(&b.slice(s![..i, ..]));
        let row = (&b.row(i) - &known) / a[[i, i]];
        b.row_mut(i).assign(&row);
    }
    for i in (0..n).rev() {
        let known = a.slice(s![i + 1.., i]).dot(&b.slice(s![i + 1.., ..]));
        let row = (&b.row(i) - &known) / a[[i, i]];
        b.row_mut(i).assign(&row);
    }
    b
}

fn array(x: Tensor<2>) -> Array2<f64> {
    let [rows, columns] = x.dims();
    let values: Vec<f32> = x.into_data().try_to_vec().expect("sums are f32");
    let values = values.into_iter().map(f64::from).collect();
    Array2::from_shape_vec((rows, columns), values).expect("the shape is the tensor's")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn a_linear_map_is_found_again() {
        let device = Device::flex();
        device.seed(1);
        let normal = Distribution::Normal(0.0, 1.0);
        let layer = LinearConfig::new(5, 3).init(&device);
        let mut ridge = Ridge::default();
        for _ in 0..4 {
            let x = Tensor::<3>::random([50, 500, 5], normal, &device);
            ridge.add(x.clone(), layer.forward(x));
        }
        let found = ridge.solve(&device);
        let x = Tensor::<3>::random([1, 100, 5], normal, &device);
        let error = (found.forward(x.clone()) - layer.forward(x)).abs().max();
        let error: f32 = error.into_scalar();
        assert!(error < 0.01, "{error}");
    }
}
