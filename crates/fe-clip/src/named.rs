//! Tensors of a module under the names of its fields, as PyTorch keeps them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::tensors::floats;

/// Name, shape and values of every tensor of a module; matrices of linear layers are
/// `[outputs, inputs]`, and norms have `weight` and `bias`.
pub(crate) fn collect(module: &impl Module, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut found = Collect { path: Path::new(prefix), tensors: Vec::new() };
    module.visit(&mut found);
    found.tensors
}

/// The module with other values: `source` is given the name and shape of every tensor, and
/// answers its values, or nothing where it shall stay.
pub(crate) fn replace<M: Module>(
    module: M,
    prefix: &str,
    device: &Device,
    source: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>,
) -> M {
    module.map(&mut Replace { path: Path::new(prefix), device, source })
}

/// Where a walk through a module is.
struct Path {
    prefix: String,
    /// Names of fields, and the types that have them.
    fields: Vec<(String, String)>,
}

impl Path {
    fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), fields: Vec::new() }
    }

    fn enter(&mut self, name: &str, owner: &str) {
        self.fields.push((name.into(), owner.into()));
    }

    fn key(&self) -> String {
        let mut key = self.prefix.clone();
        for (name, owner) in &self.fields {
            let norm = owner == "Struct:LayerNorm" || owner == "Struct:BatchNorm";
            key.push('.');
            key.push_str(match name.as_str() {
                "gamma" if norm => "weight",
                "beta" if norm => "bias",
                name => name,
            });
        }
        key
    }

    /// Whether the tensor here is the matrix of a linear layer.
    fn is_linear(&self) -> bool {
        self.fields.last().is_some_and(|(name, owner)| owner == "Struct:Linear" && name == "weight")
    }
}

struct Collect {
    path: Path,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.fields.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().inner();
        let mut shape = tensor.dims().to_vec();
        let mut values = floats(tensor);
        if self.path.is_linear() {
            values = transposed(&values, shape[0], shape[1]);
            shape.reverse();
        }
        self.tensors.push((self.path.key(), shape, values));
    }
}

struct Replace<'a, F> {
    path: Path,
    device: &'a Device,
    source: F,
}

impl<F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> ModuleMapper for Replace<'_, F> {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.fields.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let own: [usize; D] = param.shape().dims();
        let (linear, mut shape) = (self.path.is_linear(), own.to_vec());
        if linear {
            shape.reverse();
        }
        let Some(mut values) = (self.source)(&self.path.key(), &shape) else { return param };
        if linear {
            values = transposed(&values, shape[0], shape[1]);
        }
        Param::from_tensor(Tensor::from_data(TensorData::new(values, own), self.device))
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use burn::nn::{LayerNormConfig, LinearConfig};

    use super::*;

    #[test]
    fn names_and_matrices_are_those_of_pytorch() {
        let device = Device::flex();
        let module =
            || (LinearConfig::new(3, 2).init(&device), LayerNormConfig::new(2).init(&device));
        let count = |shape: &[usize]| -> Vec<f32> {
            (0..shape.iter().product::<usize>()).map(|i| i as f32).collect()
        };
        let filled = replace(module(), "part", &device, |_, shape| Some(count(shape)));
        // Row-major [inputs, outputs] of a matrix [outputs, inputs] that counts.
        assert_eq!(floats(filled.0.weight.val()), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let found = collect(&filled, "part");
        let keys = ["part.0.weight", "part.0.bias", "part.1.weight", "part.1.bias"];
        assert!(found.iter().map(|(key, ..)| key.as_str()).eq(keys), "{found:?}");
        assert_eq!(found[0].1, [2, 3]);
        assert!(found.iter().all(|(_, shape, values)| *values == count(shape)));
        let same = replace(filled, "part", &device, |key, _| {
            key.ends_with("1.bias").then(|| vec![7.0; 2])
        });
        assert_eq!(floats(same.1.beta.unwrap().val()), [7.0; 2]);
        assert_eq!(collect(&same.0, "part")[0].2, count(&[6]));
    }
}
