use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Distribution, TensorData};

use super::*;
use crate::panels::Packed;

const ARITHMETICS: [Arithmetic; 3] = [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8];

fn block(causal: bool, activation: Activation, device: &Device) -> Block {
    let mut block = Block::new(48, 3, 1056, causal, activation, device);
    let random = |n| Tensor::random([n], Distribution::Normal(0.5, 0.5), device);
    block.ln_1.gamma = Param::from_tensor(random(48));
    block.ln_2.beta = Some(Param::from_tensor(random(48)));
    block
}

fn numbers(x: Tensor<3>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("the tensor holds f32")
}

#[test]
fn kernels_agree_with_operations() {
    let device = Device::flex();
    for (causal, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
        let block = block(causal, activation, &device);
        let shapes = [(2, 1), (2, 5), (2, 6), (2, 7), (2, 16), (2, 17), (25, 50), (1, 1300)];
        for (images, tokens) in shapes {
            let x = Tensor::random([images, tokens, 48], Distribution::Default, &device) * 4.0;
            assert_eq!(cpu::applies(&block, &x), cpu::reads_panels(&device, Arithmetic::Float32));
            let expected = numbers(block.forward_in_operations(x.clone()));
            let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (ours, expected) in numbers(block.forward(x)).iter().zip(&expected) {
                assert!(
                    (ours - expected).abs() < 1e-6 * largest,
                    "{images} of {tokens} tokens, causal {causal}: expected {expected}, got {ours}"
                );
            }
        }
    }
}

#[test]
fn kernels_agree_with_operations_on_attention_of_values() {
    let device = Device::flex();
    let block = block(false, Activation::QuickGelu, &device);
    for (images, tokens) in [(2, 5), (3, 17), (25, 50)] {
        let x = Tensor::random([images, tokens, 48], Distribution::Default, &device) * 4.0;
        let (next, values) = block.forward_with_values(x.clone());
        assert_eq!(numbers(next), numbers(block.forward(x.clone())));
        let [_, _, v] = block.queries_keys_values(block.ln_1.forward(x));
        let expected = numbers(block.attended(v.clone(), v.clone(), v));
        let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 * largest;
        assert!(numbers(values).iter().zip(&expected).all(near), "{images} of {tokens} tokens");
    }
}

#[test]
fn gradients_agree_with_those_of_operations() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    for (causal, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
        let block = block(causal, activation, &plain).train();
        for (images, tokens) in [(2, 1), (3, 17), (60, 50)] {
            let distribution = Distribution::Normal(0.0, 2.0);
            let random = || Tensor::<3>::random([images, tokens, 48], distribution, &device);
            let (x, towards) = (random(), random());
            assert_eq!(
                cpu::differentiates(&block, &x),
                cpu::reads_panels(&plain, Arithmetic::Float32)
            );
            let found = gradients(&block, &x, &towards, Block::forward);
            let expected = gradients(&block, &x, &towards, Block::forward_in_operations);
            assert_eq!(found.len(), 14);
            for ((name, found), (_, expected)) in found.iter().zip(&expected) {
                let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-5 * largest, // sums of 3,000 rows
                        "{name}, {images} of {tokens} tokens, causal {causal}: {expected}, got {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_frozen_block_hands_gradients_on() {
    let plain = Device::flex();
    let block = block(false, Activation::Gelu, &plain).no_grad();
    let device = plain.autodiff();
    let x = Tensor::<3>::random([3, 17, 48], Distribution::Normal(0.0, 2.0), &device);
    let of_input = |forward: fn(&Block, Tensor<3>) -> Tensor<3>| {
        let x = x.clone().require_grad();
        let mut gradients = forward(&block, x.clone()).square().sum().backward();
        numbers(x.grad_remove(&mut gradients).unwrap())
    };
    let found = of_input(Block::forward);
    let expected = of_input(Block::forward_in_operations);
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5 * largest));
}

/// What a pass gives, and the gradients of its inner product with `towards`, by name.
fn gradients(
    block: &Block,
    x: &Tensor<3>,
    towards: &Tensor<3>,
    forward: fn(&Block, Tensor<3>) -> Tensor<3>,
) -> Vec<(&'static str, Vec<f32>)> {
    let x = x.clone().require_grad();
    let y = forward(block, x.clone());
    let mut found = vec![("output", numbers(y.clone()))];
    let mut all = (y * towards.clone()).sum().backward();
    found.push(("input", numbers(x.grad_remove(&mut all).unwrap())));
    let mut all = GradientsParams::from_grads(all, block);
    for (name, layer) in
        [("qkv", &block.qkv), ("out", &block.out), ("fc", &block.fc), ("proj", &block.proj)]
    {
        let weight = all.remove::<2>(layer.weight.id).unwrap();
        found.push((name, numbers(weight.unsqueeze())));
        let bias = all.remove::<1>(layer.bias.as_ref().unwrap().id).unwrap();
        found.push((name, numbers(bias.unsqueeze())));
    }
    for (name, norm) in [("ln_1", &block.ln_1), ("ln_2", &block.ln_2)] {
        for id in [norm.gamma.id, norm.beta.as_ref().unwrap().id] {
            found.push((name, numbers(all.remove::<1>(id).unwrap().unsqueeze())));
        }
    }
    found
}

#[test]
fn an_image_does_not_depend_on_its_neighbours_nor_on_threads() {
    let device = Device::flex();
    let original = block(false, Activation::QuickGelu, &device);
    let images = Tensor::random([40, 17, 48], Distribution::Normal(0.0, 2.0), &device);
    for arithmetic in ARITHMETICS {
        let mut block = original.clone();
        block.keep_panels(arithmetic, &device);
        let together = numbers(block.forward(images.clone()));
        for (i, together) in together.chunks(17 * 48).enumerate() {
            assert_eq!(numbers(block.forward(images.clone().narrow(0, i, 1))), together);
        }
        for threads in [1, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| numbers(block.forward(images.clone())));
            assert_eq!(found, together, "{arithmetic:?} on {threads} threads");
        }
    }
}

#[test]
fn rounded_products_stay_near() {
    let device = Device::flex();
    for (arithmetic, bound) in [(Arithmetic::Bfloat16, 0.01), (Arithmetic::Int8, 0.03)] {
        for (causal, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
            let mut block = block(causal, activation, &device);
            let x = Tensor::random([2, 50, 48], Distribution::Normal(0.0, 2.0), &device);
            let change = |y: Tensor<3>| numbers(y - x.clone()).into_iter().map(f64::from).collect();
            let expected: Vec<f64> = change(block.forward_in_operations(x.clone()));
            block.keep_panels(arithmetic, &device);
            assert_eq!(block.arithmetic(), arithmetic);
            let found: Vec<f64> = change(block.forward(x.clone()));
            assert_eq!(block.panels_in_use(), 4, "a pass looked at a matrix");
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let error: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            let error = norm(&error) / norm(&expected);
            assert!(error > 1e-5 && error < bound, "{arithmetic:?}: {error}");
        }
    }
}

#[test]
fn panels_give_what_their_matrix_gives() {
    let device = Device::flex();
    let mut block = block(false, Activation::QuickGelu, &device);
    let x = Tensor::random([1, 17, 48], Distribution::Normal(0.0, 2.0), &device);
    let by_matrices = numbers(block.forward(x.clone()));
    block.keep_panels(Arithmetic::Float32, &device);
    assert_eq!(numbers(block.forward(x.clone())), by_matrices);
    let in_use = if cpu::applies(&block, &x) { 4 } else { 0 };
    assert_eq!(block.panels_in_use(), in_use, "a pass looked at a matrix");
    numbers(block.forward_in_operations(x.clone()));
    assert_eq!(block.panels_in_use(), 0, "weights are in memory twice");
    assert_eq!(numbers(block.forward(x)), by_matrices);
}

#[test]
fn weights_that_are_replaced_are_the_ones_computed_with() {
    let device = Device::flex();
    let x = Tensor::random([1, 17, 48], Distribution::Normal(0.0, 2.0), &device);
    let original = block(false, Activation::QuickGelu, &device);
    let before = numbers(original.forward(x.clone()));
    let load = || {
        let mut loaded = original.clone();
        loaded.keep_panels(Arithmetic::Float32, &device);
        loaded
    };
    let untouched = load();
    let check = |what: &str, changed: &Block| {
        let found = numbers(changed.forward(x.clone()));
        assert_ne!(found, before, "{what}: still the old weights");
        let largest = found.iter().fold(0f32, |m, x| m.max(x.abs()));
        let expected = numbers(changed.forward_in_operations(x.clone()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 * largest;
        assert!(found.iter().zip(&expected).all(near), "{what}: neither old nor new weights");
        assert_eq!(numbers(untouched.forward(x.clone())), before, "{what}: a copy changed");
    };

    let other = block(false, Activation::QuickGelu, &device);
    type Layer = fn(&mut Block) -> &mut Linear;
    let layers: [(&str, Layer); 4] = [
        ("qkv", |block| &mut block.qkv),
        ("out", |block| &mut block.out),
        ("fc", |block| &mut block.fc),
        ("proj", |block| &mut block.proj),
    ];
    for (name, layer) in layers {
        let mut changed = untouched.clone();
        layer(&mut changed).weight = layer(&mut other.clone()).weight.clone();
        check(name, &changed);
        let mut changed = load();
        let weight = layer(&mut changed).weight.clone();
        layer(&mut changed).weight = weight.map(|matrix| matrix * 2.0);
        check(name, &changed);
    }
    check("a record", &untouched.clone().load_record(other.clone().into_record()));
    check("a layer", &Block { fc: other.fc.clone(), ..untouched.clone() });
}

impl Block {
    fn keep_panels(&mut self, arithmetic: Arithmetic, device: &Device) {
        let of = |layer: &mut Linear| {
            let matrix = layer.weight.val();
            let shape = matrix.shape();
            let columns: TensorData = matrix.transpose().into_data();
            let columns = [columns.try_into_vec::<f32>().expect("the tensor holds f32")];
            let packed = Packed::of_columns(&columns, shape[0], arithmetic);
            let (weight, panels) = Panels::parameter(packed.unwrap(), shape, device);
            layer.weight = weight;
            panels
        };
        let [qkv, out, fc, proj] =
            [&mut self.qkv, &mut self.out, &mut self.fc, &mut self.proj].map(of);
        self.panels = BlockPanels { qkv, out, fc, proj };
    }

    fn panels_in_use(&self) -> usize {
        let Self { qkv, out, fc, proj, panels, .. } = self;
        [
            panels.qkv.of(&qkv.weight),
            panels.out.of(&out.weight),
            panels.fc.of(&fc.weight),
            panels.proj.of(&proj.weight),
        ]
        .iter()
        .flatten()
        .count()
    }
}
