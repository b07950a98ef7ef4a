//! What stands in the files: a graph that is complete, and weights where it says.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use clip_vit::Activation;
use prost::Message;
use serde_json::Value;

use super::super::data_file;
use super::super::proto::{self, EXTERNAL, GraphProto, ModelProto, TensorProto, ValueInfoProto};
use super::{detector, settings, written};
use crate::calibrate::Calibration;
use crate::precision::Precision;
use crate::run::ModelConfig;

fn graph(model: &ModelProto) -> &GraphProto {
    model.graph.as_ref().unwrap()
}

/// Sizes of the axes of an input or output, by name where they are free.
fn shape(info: &ValueInfoProto) -> Vec<String> {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).unwrap();
    assert_eq!(tensor.elem_type, proto::FLOAT);
    let side = |dim: &proto::Dimension| match (&dim.dim_param, dim.dim_value) {
        (Some(name), None) => name.clone(),
        (None, Some(side)) => side.to_string(),
        both => panic!("{both:?}"),
    };
    tensor.shape.as_ref().unwrap().dim.iter().map(side).collect()
}

fn elements(tensor: &TensorProto) -> usize {
    tensor.dims.iter().map(|side| *side as usize).product()
}

fn width(tensor: &TensorProto) -> usize {
    match tensor.data_type {
        proto::FLOAT => 4,
        proto::FLOAT16 => 2,
        proto::INT64 => 8,
        other => panic!("{}: type {other}", tensor.name),
    }
}

#[test]
fn the_graph_is_complete() {
    let config = ModelConfig::default();
    let detector = detector(&config, Activation::QuickGelu, 5);
    let folder = tempfile::tempdir().unwrap();
    for precision in [Precision::Full, Precision::Half] {
        let path = folder.path().join("model.onnx");
        let settings = super::Export { precision, ..settings(&config) };
        let (model, exported) = written(&detector, &path, &settings);
        assert_eq!(exported.data, None);
        assert_eq!(exported.bytes, fs::metadata(&path).unwrap().len());
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        let graph = graph(&model);
        assert_eq!(shape(&graph.input[0]), ["n", "3", "20", "20"]);
        let outputs: Vec<_> = graph.output.iter().map(|o| (o.name.as_str(), shape(o))).collect();
        let side = || "20".to_string();
        let n = || "n".to_string();
        assert_eq!(outputs, [("score", vec![n()]), ("map", vec![n(), side(), side()])]);

        let mut known: HashSet<&str> = HashSet::from(["image"]);
        for tensor in &graph.initializer {
            assert!(known.insert(&tensor.name), "{} twice", tensor.name);
            let bytes = tensor.raw_data.as_ref().unwrap().len();
            assert_eq!(bytes, elements(tensor) * width(tensor), "{}", tensor.name);
        }
        let mut used = HashSet::new();
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{} knows no {input} yet", node.name);
                used.insert(input.as_str());
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} twice");
            }
        }
        used.extend(["score", "map"]);
        let unused: Vec<_> = known.difference(&used).collect();
        assert!(unused.is_empty(), "{unused:?}");
        let halves = graph.initializer.iter().filter(|t| t.data_type == proto::FLOAT16).count();
        // Patches, positions, 4 matrices of 4 blocks, 2 projections, 2 adapters of 4 stages.
        assert_eq!(halves, if precision == Precision::Half { 2 + 16 + 2 + 8 } else { 0 });
    }
}

#[test]
fn weights_beyond_the_limit_lie_beside_the_model() {
    let config = ModelConfig::default();
    let detector = detector(&config, Activation::Gelu, 6);
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let (inside, whole) = written(&detector, &place("inside.onnx"), &settings(&config));
    // One byte less than it needs is too few.
    let enough = super::Export { inline_limit: whole.bytes, ..settings(&config) };
    assert_eq!(written(&detector, &place("enough.onnx"), &enough).1.data, None);
    let path = place("outside.onnx");
    fs::write(&path, b"an older model").unwrap();
    let less = super::Export { inline_limit: whole.bytes - 1, ..settings(&config) };
    let (outside, exported) = written(&detector, &path, &less);
    let data = exported.data.unwrap();
    assert_eq!(data, data_file(&path));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "something is left over");
    let bytes = fs::read(&data).unwrap();
    let small = fs::metadata(&path).unwrap().len();
    assert_eq!(exported.bytes, bytes.len() as u64 + small);
    assert!(small < whole.bytes / 2, "{small} of {}", whole.bytes);

    let (mut outer, mut end) = (0, 0);
    for (here, there) in graph(&inside).initializer.iter().zip(&graph(&outside).initializer) {
        assert_eq!((&here.name, &here.dims), (&there.name, &there.dims));
        let raw = here.raw_data.as_deref().unwrap();
        if there.data_location != Some(EXTERNAL) {
            assert_eq!(there.raw_data.as_deref(), Some(raw));
            assert!(raw.len() < 1024 || here.data_type == proto::INT64, "{}", here.name);
            continue;
        }
        assert_eq!(there.raw_data, None);
        let said: BTreeMap<&str, &str> =
            there.external_data.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(said["location"], "outside.onnx.data");
        let [offset, length] = ["offset", "length"].map(|key| said[key].parse::<usize>().unwrap());
        assert!(offset >= end && offset % 4096 == 0, "{} at {offset}", there.name);
        end = offset + length;
        assert!(&bytes[offset..end] == raw, "{} is another one", there.name);
        outer += 1;
    }
    assert_eq!(end, bytes.len());
    assert!(outer > 16, "only {outer} weights are outside");
    assert_eq!(graph(&inside).node, graph(&outside).node);
}

#[test]
fn the_metadata_tells_what_a_user_of_the_file_needs() {
    let config = ModelConfig { resize: data::Resize::Letterbox, ..ModelConfig::default() };
    let detector = detector(&config, Activation::Gelu, 5);
    let folder = tempfile::tempdir().unwrap();
    let shipped = Calibration::of_tiny().unwrap();
    let wanted = shipped.image.threshold;
    let mut settings = super::Export { calibration: Some(shipped), ..settings(&config) };
    settings.identity.config.backbone = "/home/somebody/models/vit".into();
    let (model, _) = written(&detector, &folder.path().join("model.onnx"), &settings);
    assert_eq!(model.producer_version, env!("CARGO_PKG_VERSION"));
    let said: BTreeMap<&str, &str> =
        model.metadata_props.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
    let json = |key: &str| -> Value { serde_json::from_str(said[key]).unwrap() };
    assert_eq!(said["fe-clip.method"], "fe-clip");
    assert_eq!(json("fe-clip.config")["backbone"], "vit");
    assert!(!said.values().any(|value| value.contains("somebody")));
    assert_eq!(json("fe-clip.prompts")["normal"][0], "A photo of a normal object");
    let resize = json("fe-clip.preprocess");
    assert_eq!((&resize["mode"], &resize["width"]), (&"letterbox".into(), &20.into()));
    assert_eq!(resize["padding"], serde_json::json!([123, 117, 104]));
    let hashes = json("fe-clip.sha256");
    assert_eq!((&hashes["backbone"], &hashes["normals"][0]), (&"0123".into(), &"4567".into()));
    let threshold = json("fe-clip.thresholds")["score"].as_f64().unwrap() as f32;
    assert_eq!(threshold, wanted);
    assert_eq!(said["fe-clip.score-scale"], "score = raw");
}

#[test]
fn a_file_is_the_message_that_prost_writes() {
    let config = ModelConfig::default();
    let detector = detector(&config, Activation::Gelu, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let (model, _) = written(&detector, &path, &settings(&config));
    // Fields may come in any order; all of them are there, and nothing else.
    assert_eq!(model.encoded_len() as u64, fs::metadata(&path).unwrap().len());
}

#[test]
fn a_weight_too_large_for_half_precision_is_named() {
    use burn::module::Param;
    use burn::tensor::{Device, Tensor};

    let constants = super::super::initializer::Initializer::floats(
        "blocks.0.fc".into(),
        vec![2],
        Precision::Half,
        || {
            crate::tensors::floats(
                Param::from_tensor(Tensor::<1>::full([2], 7e4, &Device::flex())).val(),
            )
        },
    );
    let error = constants.bytes().unwrap_err().to_string();
    assert!(error.contains("blocks.0.fc") && error.contains("70000"), "{error}");
}
