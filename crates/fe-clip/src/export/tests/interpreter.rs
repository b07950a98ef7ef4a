//! The operators that a graph uses, as plainly as ONNX defines them: slow, and made from the file
//! alone.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use ndarray::{Array2, Array3, ArrayD, ArrayView1, Axis, Dimension, IxDyn, Slice, concatenate};

use super::super::proto::{self, GraphProto, NodeProto, TensorProto};

/// What a name stands for.
enum Known {
    Floats(ArrayD<f32>),
    Integers(Vec<i64>),
}

/// Runs a graph whose constants are all inside on an image batch; returns the outputs in order.
pub(super) fn run(graph: &GraphProto, image: ArrayD<f32>) -> Vec<ArrayD<f32>> {
    let mut known: HashMap<&str, Known> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), constant(tensor))).collect();
    known.insert(graph.input[0].name.as_str(), Known::Floats(image));
    for node in &graph.node {
        let results = Call { node, known: &known }.run();
        assert_eq!(results.len(), node.output.len(), "{}", node.name);
        for (name, result) in node.output.iter().zip(results) {
            known.insert(name, Known::Floats(result));
        }
    }
    let mut take = |name: &str| match known.remove(name) {
        Some(Known::Floats(output)) => output,
        _ => panic!("no output {name}"),
    };
    graph.output.iter().map(|output| take(&output.name)).collect()
}

fn constant(tensor: &TensorProto) -> Known {
    let raw = tensor.raw_data.as_deref().expect("the constants are inside");
    let shape: Vec<usize> = tensor.dims.iter().map(|side| *side as usize).collect();
    let floats = match tensor.data_type {
        proto::FLOAT => raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        proto::FLOAT16 => {
            raw.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
        proto::INT64 => {
            let integers = raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b));
            return Known::Integers(integers.collect());
        }
        other => panic!("{}: type {other}", tensor.name),
    };
    Known::Floats(ArrayD::from_shape_vec(shape, floats).expect("as many numbers as the shape says"))
}

struct Call<'a> {
    node: &'a NodeProto,
    known: &'a HashMap<&'a str, Known>,
}

impl Call<'_> {
    fn x(&self, at: usize) -> &ArrayD<f32> {
        match self.known.get(self.node.input[at].as_str()) {
            Some(Known::Floats(x)) => x,
            _ => panic!("{}: input {at} is no tensor of floats", self.node.name),
        }
    }

    fn integers(&self, at: usize) -> &[i64] {
        match self.known.get(self.node.input[at].as_str()) {
            Some(Known::Integers(x)) => x,
            _ => panic!("{}: input {at} is no list of integers", self.node.name),
        }
    }

    fn integer(&self, name: &str) -> i64 {
        let found = self.node.attribute.iter().find(|attribute| attribute.name == name);
        found.and_then(|attribute| attribute.i).expect("an attribute of the operator")
    }

    fn list(&self, name: &str) -> Vec<usize> {
        let found = self.node.attribute.iter().find(|attribute| attribute.name == name);
        let ints = &found.expect("an attribute of the operator").ints;
        ints.iter().map(|i| *i as usize).collect()
    }

    fn axis(&self, axis: i64) -> usize {
        if axis < 0 { self.x(0).ndim() - axis.unsigned_abs() as usize } else { axis as usize }
    }

    fn run(&self) -> Vec<ArrayD<f32>> {
        let x = self.x(0);
        let one = match self.node.op_type.as_str() {
            "Add" => x + self.x(1),
            "Sub" => x - self.x(1),
            "Mul" => x * self.x(1),
            "Div" => x / self.x(1),
            "Abs" => x.abs(),
            "Log" => x.ln(),
            "Sqrt" => x.sqrt(),
            "Relu" => x.mapv(|v| v.max(0.0)),
            "Sigmoid" => x.mapv(|v| 1.0 / (1.0 + (-v).exp())),
            "Erf" => erf(x),
            "Identity" => x.clone(),
            "Cast" => {
                assert_eq!(self.integer("to"), i64::from(proto::FLOAT));
                x.clone()
            }
            "MatMul" => matmul(x, self.x(1)),
            "Reshape" => self.reshape(x),
            "Transpose" => {
                x.clone().permuted_axes(self.list("perm")).as_standard_layout().into_owned()
            }
            "Slice" => {
                let [start, end, axis] = [1, 2, 3].map(|at| self.integers(at)[0] as isize);
                x.slice_axis(Axis(axis as usize), Slice::new(start, Some(end), 1)).to_owned()
            }
            "Split" => {
                let axis = Axis(self.axis(self.integer("axis")));
                let each = x.len_of(axis) / self.node.output.len();
                return x.axis_chunks_iter(axis, each).map(|part| part.to_owned()).collect();
            }
            "Concat" => {
                let parts: Vec<_> = (0..self.node.input.len()).map(|i| self.x(i).view()).collect();
                concatenate(Axis(self.integer("axis") as usize), &parts).expect("shapes that fit")
            }
            "Gather" => {
                let places: Vec<usize> = self.integers(1).iter().map(|at| *at as usize).collect();
                x.select(Axis(self.integer("axis") as usize), &places)
            }
            "Pad" => self.pad(x),
            "ReduceSum" => {
                let sum = |lane: ArrayView1<'_, f32>| lane.sum();
                self.reduce(x, &[self.axis(self.integers(1)[0])], sum)
            }
            "ReduceMean" => {
                let mean = |lane: ArrayView1<'_, f32>| lane.sum() / lane.len() as f32;
                self.reduce(x, &self.list("axes"), mean)
            }
            "ReduceMax" => {
                let max = |lane: ArrayView1<'_, f32>| lane.fold(f32::MIN, |a, b| a.max(*b));
                self.reduce(x, &self.list("axes"), max)
            }
            "TopK" => return self.largest(x),
            "Softmax" => softmax(x),
            "LayerNormalization" => self.layer_norm(x),
            "Conv" => self.conv(x),
            other => panic!("{other} is no operator of these graphs"),
        };
        vec![one]
    }

    fn reshape(&self, x: &ArrayD<f32>) -> ArrayD<f32> {
        let side =
            |(at, side): (usize, &i64)| if *side == 0 { x.shape()[at] } else { *side as usize };
        let shape: Vec<usize> = self.integers(1).iter().enumerate().map(side).collect();
        let x = x.as_standard_layout().into_owned();
        x.into_shape_with_order(shape).expect("as many elements as before")
    }

    fn pad(&self, x: &ArrayD<f32>) -> ArrayD<f32> {
        let (before, behind) = self.integers(1).split_at(x.ndim());
        let added: Vec<usize> = before.iter().zip(behind).map(|(a, b)| (a + b) as usize).collect();
        let shape: Vec<usize> =
            x.shape().iter().zip(added).map(|(side, added)| side + added).collect();
        let mut padded = ArrayD::zeros(shape);
        for (place, value) in x.indexed_iter() {
            let place: Vec<usize> =
                place.slice().iter().zip(before).map(|(i, before)| i + *before as usize).collect();
            padded[&place[..]] = *value;
        }
        padded
    }

    fn reduce(
        &self,
        x: &ArrayD<f32>,
        axes: &[usize],
        f: impl Fn(ArrayView1<'_, f32>) -> f32,
    ) -> ArrayD<f32> {
        let [axis] = axes[..] else { panic!("one axis, got {axes:?}") };
        let reduced = x.map_axis(Axis(axis), f);
        if self.integer("keepdims") == 1 { reduced.insert_axis(Axis(axis)) } else { reduced }
    }

    /// The values, and their places as floats, which nothing reads.
    fn largest(&self, x: &ArrayD<f32>) -> Vec<ArrayD<f32>> {
        assert_eq!((self.integer("axis"), self.integer("largest")), (-1, 1));
        let [count] = self.integers(1)[..] else { panic!("one count") };
        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("an axis") = count as usize;
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for lane in x.lanes(Axis(x.ndim() - 1)) {
            let mut order: Vec<usize> = (0..lane.len()).collect();
            order.sort_by(|a, b| lane[*b].total_cmp(&lane[*a]));
            values.extend(order[..count as usize].iter().map(|at| lane[*at]));
            places.extend(order[..count as usize].iter().map(|at| *at as f32));
        }
        let array = |numbers| ArrayD::from_shape_vec(shape.clone(), numbers).expect("as many");
        vec![array(values), array(places)]
    }

    fn layer_norm(&self, x: &ArrayD<f32>) -> ArrayD<f32> {
        assert_eq!(self.integer("axis"), -1);
        let epsilon = self.node.attribute.iter().find_map(|a| a.f).expect("an epsilon");
        let mut x = x.clone();
        let last = Axis(x.ndim() - 1);
        for mut lane in x.lanes_mut(last) {
            let n = lane.len() as f32;
            let mean = lane.sum() / n;
            let variance = lane.fold(0.0, |sum, v| sum + (v - mean).powi(2)) / n;
            lane.mapv_inplace(|v| (v - mean) / (variance + epsilon).sqrt());
        }
        &x * self.x(1) + self.x(2)
    }

    fn conv(&self, x: &ArrayD<f32>) -> ArrayD<f32> {
        let kernels = self.x(1);
        let [stride, padding] = ["strides", "pads"].map(|name| self.list(name)[0]);
        let (outputs, inputs, k) = (kernels.shape()[0], kernels.shape()[1], kernels.shape()[2]);
        let (n, side) = (x.shape()[0], x.shape()[2]);
        let to = (side + 2 * padding - k) / stride + 1;
        let inside = |at: usize| at.checked_sub(padding).filter(|at| *at < side);
        ArrayD::from_shape_fn(vec![n, outputs, to, to], |place| {
            let [b, o, row, column] = [place[0], place[1], place[2], place[3]];
            let mut sum = self.node.input.get(2).map_or(0.0, |_| self.x(2)[[o]]);
            for (i, y, x_) in ndarray::indices((inputs, k, k)) {
                let from = (inside(row * stride + y), inside(column * stride + x_));
                if let (Some(from_y), Some(from_x)) = from {
                    sum += kernels[[o, i, y, x_]] * x[[b, i, from_y, from_x]];
                }
            }
            sum
        })
    }
}

fn erf(x: &ArrayD<f32>) -> ArrayD<f32> {
    let data = TensorData::new(x.iter().copied().collect::<Vec<f32>>(), [x.len()]);
    let erf = Tensor::<1>::from_data(data, &Device::flex()).erf();
    let values = erf.into_data().try_to_vec().expect("f32");
    ArrayD::from_shape_vec(x.shape(), values).expect("as many elements as before")
}

fn softmax(x: &ArrayD<f32>) -> ArrayD<f32> {
    let mut x = x.clone();
    let last = Axis(x.ndim() - 1);
    for mut lane in x.lanes_mut(last) {
        let highest = lane.fold(f32::MIN, |a, b| a.max(*b));
        lane.mapv_inplace(|v| (v - highest).exp());
        let sum = lane.sum();
        lane.mapv_inplace(|v| v / sum);
    }
    x
}

/// Products of the last two axes; the others are made equal.
fn matmul(a: &ArrayD<f32>, b: &ArrayD<f32>) -> ArrayD<f32> {
    let split = |x: &ArrayD<f32>| {
        let (batch, matrix) = x.shape().split_at(x.ndim() - 2);
        (batch.to_vec(), [matrix[0], matrix[1]])
    };
    let ((batch_a, [m, k]), (batch_b, [k_b, n])) = (split(a), split(b));
    assert_eq!(k, k_b);
    let batch = if batch_a.len() >= batch_b.len() { batch_a } else { batch_b };
    let whole = |x: &ArrayD<f32>, matrix: [usize; 2]| -> Array3<f32> {
        let shape = [&batch[..], &matrix].concat();
        let x = x.broadcast(IxDyn(&shape)).expect("batches that fit");
        let x = x.as_standard_layout().into_owned();
        let count = batch.iter().product();
        x.into_shape_with_order((count, matrix[0], matrix[1])).expect("the same elements")
    };
    let (left, right) = (whole(a, [m, k]), whole(b, [k, n]));
    let products: Vec<Array2<f32>> =
        left.outer_iter().zip(right.outer_iter()).map(|(a, b)| a.dot(&b)).collect();
    let values = products.into_iter().flatten().collect();
    ArrayD::from_shape_vec([&batch[..], &[m, n]].concat(), values).expect("one value a place")
}
