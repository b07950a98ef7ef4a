//! A graph of standard ONNX operators while it is built: each call appends a node.

use std::collections::HashSet;

use super::initializer::Initializer;
use super::proto::{
    self, AttributeProto, Dimension, GraphProto, NodeProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};
use crate::precision::Precision;

/// Version of the standard operators.
pub(super) const OPSET: i64 = 17;

/// A tensor of the graph, known by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// Size of an axis of an input or output.
pub(super) enum Side {
    /// Any number, by this name.
    Free(&'static str),
    Fixed(usize),
}

/// Nodes and constants so far.
pub(super) struct Graph<'a> {
    nodes: Vec<NodeProto>,
    initializers: Vec<Initializer<'a>>,
    /// Names of constants; the same constant is asked for at several places.
    known: HashSet<String>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    /// Number format of the weights.
    precision: Precision,
    /// Where in the model the next nodes belong; their names begin with it.
    scope: String,
}

impl<'a> Graph<'a> {
    pub(super) fn new(precision: Precision) -> Self {
        Self {
            nodes: Vec::new(),
            initializers: Vec::new(),
            known: HashSet::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            precision,
            scope: String::new(),
        }
    }

    /// The nodes, without the constants, and the constants.
    pub(super) fn finish(self, name: &str) -> (GraphProto, Vec<Initializer<'a>>) {
        let graph = GraphProto {
            node: self.nodes,
            name: name.into(),
            initializer: Vec::new(),
            input: self.inputs,
            output: self.outputs,
        };
        (graph, self.initializers)
    }

    /// Names the part of the model that the next nodes belong to.
    pub(super) fn scope(&mut self, name: impl Into<String>) {
        self.scope = name.into();
    }

    /// A float32 input.
    pub(super) fn input(&mut self, name: &str, shape: &[Side], about: &str) -> Value {
        self.inputs.push(info(name, shape, about));
        Value(name.into())
    }

    /// Makes a tensor a float32 output under this name.
    pub(super) fn output(&mut self, name: &str, shape: &[Side], about: &str, value: &Value) {
        self.outputs.push(info(name, shape, about));
        self.push("Identity", &[value], vec![], name.into());
    }

    /// A matrix or the like that a model has learnt: in the number format of the weights, taken
    /// to float32 where it is used. The name is the constant's alone.
    pub(super) fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        numbers: impl Fn() -> Vec<f32> + 'a,
    ) -> Value {
        let single = Value(name.into());
        if self.precision == Precision::Full {
            return self.float(name, shape, Precision::Full, numbers);
        }
        if self.known.insert(name.into()) {
            let half = format!("{name}.half");
            let stored = self.float(&half, shape, Precision::Half, numbers);
            let to = integer("to", i64::from(proto::FLOAT));
            self.push("Cast", &[&stored], vec![to], name.into());
        }
        single
    }

    /// A float32 constant in any number format of the weights: few numbers, or exact ones.
    pub(super) fn constant(
        &mut self,
        name: &str,
        shape: &[usize],
        numbers: impl Fn() -> Vec<f32> + 'a,
    ) -> Value {
        self.float(name, shape, Precision::Full, numbers)
    }

    /// A number.
    pub(super) fn number(&mut self, x: f64) -> Value {
        let x = x as f32;
        self.constant(&format!("number_{x}"), &[], move || vec![x])
    }

    fn float(
        &mut self,
        name: &str,
        shape: &[usize],
        precision: Precision,
        numbers: impl Fn() -> Vec<f32> + 'a,
    ) -> Value {
        if self.known.insert(name.into()) {
            let constant = Initializer::floats(name.into(), shape.to_vec(), precision, numbers);
            self.initializers.push(constant);
        }
        Value(name.into())
    }

    /// A short list of integers, named by its content.
    fn integers(&mut self, numbers: &[i64]) -> Value {
        let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
        self.places(&format!("integers_{}", words.join("_")), &[numbers.len()], numbers)
    }

    /// Integers of a shape.
    pub(super) fn places(&mut self, name: &str, shape: &[usize], numbers: &[i64]) -> Value {
        if self.known.insert(name.into()) {
            let constant = Initializer::integers(name.into(), shape.to_vec(), numbers.to_vec());
            self.initializers.push(constant);
        }
        Value(name.into())
    }

    /// Appends a node with one output.
    fn node(&mut self, op: &str, inputs: &[&Value], attributes: Vec<AttributeProto>) -> Value {
        let name = format!("{}/{op}_{}", self.scope, self.nodes.len());
        self.push(op, inputs, attributes, name)
    }

    fn push(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attribute: Vec<AttributeProto>,
        name: String,
    ) -> Value {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| input.0.clone()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.into(),
            attribute,
        });
        Value(name)
    }
}

/// Operators; the rules are those of `docs/Operators.md` of ONNX.
impl Graph<'_> {
    pub(super) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], vec![])
    }

    pub(super) fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], vec![])
    }

    pub(super) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], vec![])
    }

    pub(super) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], vec![])
    }

    pub(super) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("MatMul", &[a, b], vec![])
    }

    /// An element-wise operator that has no settings.
    pub(super) fn unary(&mut self, op: &str, x: &Value) -> Value {
        self.node(op, &[x], vec![])
    }

    /// The same numbers in another shape; 0 stands for the side that the tensor has there.
    pub(super) fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        let shape: Vec<i64> = shape.iter().map(|side| *side as i64).collect();
        let shape = self.integers(&shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    pub(super) fn transpose(&mut self, x: &Value, order: &[usize]) -> Value {
        self.node("Transpose", &[x], vec![integers("perm", order)])
    }

    /// From `start` up to `end`, which is not in it, along an axis.
    pub(super) fn slice(&mut self, x: &Value, axis: usize, start: usize, end: usize) -> Value {
        let [start, end, axis] = [start, end, axis].map(|n| self.integers(&[n as i64]));
        self.node("Slice", &[x, &start, &end, &axis], vec![])
    }

    /// Parts of equal size of the last axis.
    pub(super) fn split<const N: usize>(&mut self, x: &Value) -> [Value; N] {
        let first = self.node("Split", &[x], vec![integer("axis", -1)]);
        let names: [Value; N] = std::array::from_fn(|i| Value(format!("{}.{i}", first.0)));
        let node = self.nodes.last_mut().expect("the node was appended above");
        node.output = names.iter().map(|name| name.0.clone()).collect();
        names
    }

    pub(super) fn concat(&mut self, parts: &[&Value], axis: usize) -> Value {
        match parts {
            [one] => (*one).clone(),
            _ => self.node("Concat", parts, vec![integer("axis", axis as i64)]),
        }
    }

    /// The elements of an axis at some places, whose shape takes the axis's place.
    pub(super) fn gather(&mut self, x: &Value, axis: usize, places: &Value) -> Value {
        self.node("Gather", &[x, places], vec![integer("axis", axis as i64)])
    }

    /// Zeros before and behind the second of three axes.
    pub(super) fn pad(&mut self, x: &Value, before: usize, behind: usize) -> Value {
        let pads = self.integers(&[0, before as i64, 0, 0, behind as i64, 0]);
        self.node("Pad", &[x, &pads], vec![])
    }

    /// Sum along an axis; the axis stays, with one element, where `keep` says so.
    pub(super) fn sum(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        let axes = self.integers(&[axis]);
        self.node("ReduceSum", &[x, &axes], vec![integer("keepdims", keep.into())])
    }

    /// Mean along axes, which vanish.
    pub(super) fn mean(&mut self, x: &Value, axis: usize) -> Value {
        let attributes = vec![integers("axes", &[axis]), integer("keepdims", 0)];
        self.node("ReduceMean", &[x], attributes)
    }

    /// Largest element along axes, which vanish.
    pub(super) fn max(&mut self, x: &Value, axes: &[usize]) -> Value {
        let attributes = vec![integers("axes", axes), integer("keepdims", 0)];
        self.node("ReduceMax", &[x], attributes)
    }

    /// The largest so many elements of the last axis, from the largest on.
    pub(super) fn largest(&mut self, x: &Value, count: usize) -> Value {
        let count = self.integers(&[count as i64]);
        let attributes = vec![integer("axis", -1), integer("largest", 1), integer("sorted", 1)];
        let values = self.node("TopK", &[x, &count], attributes);
        let node = self.nodes.last_mut().expect("the node was appended above");
        node.output.push(format!("{}.places", values.0));
        values
    }

    pub(super) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![integer("axis", -1)])
    }

    /// Mean 0 and variance 1 of the last axis, then gain and shift.
    pub(super) fn layer_norm(&mut self, x: &Value, gain: &Value, shift: &Value, eps: f32) -> Value {
        let attributes = vec![integer("axis", -1), float("epsilon", eps)];
        self.node("LayerNormalization", &[x, gain, shift], attributes)
    }

    /// Convolution of `[n, channels, height, width]` with square kernels `[outputs, channels,
    /// side, side]` and perhaps a bias; zeros surround the image.
    pub(super) fn conv(
        &mut self,
        x: &Value,
        (kernels, bias): (&Value, Option<&Value>),
        kernel: &Kernel,
    ) -> Value {
        let Kernel { side, stride, padding } = *kernel;
        let attributes = vec![
            integers("kernel_shape", &[side; 2]),
            integers("strides", &[stride; 2]),
            integers("pads", &[padding; 4]),
        ];
        let inputs: Vec<&Value> = [x, kernels].into_iter().chain(bias).collect();
        self.node("Conv", &inputs, attributes)
    }
}

/// How a convolution goes over the image.
pub(super) struct Kernel {
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

fn integer(name: &str, i: i64) -> AttributeProto {
    let (name, i, r#type) = (name.into(), Some(i), proto::ATTRIBUTE_INT);
    AttributeProto { name, i, r#type, ..AttributeProto::default() }
}

fn integers(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|value| *value as i64).collect();
    let (name, r#type) = (name.into(), proto::ATTRIBUTE_INTS);
    AttributeProto { name, ints, r#type, ..AttributeProto::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    let (name, f, r#type) = (name.into(), Some(f), proto::ATTRIBUTE_FLOAT);
    AttributeProto { name, f, r#type, ..AttributeProto::default() }
}

fn info(name: &str, shape: &[Side], about: &str) -> ValueInfoProto {
    let dimension = |side: &Side| match side {
        Side::Free(name) => Dimension { dim_param: Some((*name).into()), ..Dimension::default() },
        Side::Fixed(size) => Dimension { dim_value: Some(*size as i64), ..Dimension::default() },
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dimension).collect() };
    let tensor_type = Some(TensorTypeProto { elem_type: proto::FLOAT, shape: Some(shape) });
    let r#type = Some(TypeProto { tensor_type });
    ValueInfoProto { name: name.into(), r#type, doc_string: about.into() }
}
