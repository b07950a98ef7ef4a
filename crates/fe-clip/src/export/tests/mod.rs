#![allow(clippy::unwrap_used)]

mod files;
mod interpreter;
mod numbers;

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, TokenHead, VisionConfig};
use prost::Message;

use super::proto::ModelProto;
use super::{Export, Exported, MESSAGE_LIMIT};
use crate::calibrate::ModelIdentity;
use crate::detect::Detector;
use crate::precision::Precision;
use crate::run::{ModelConfig, RunConfig};
use crate::settings::prompts::Prompts;

const PATCH: usize = 4;

/// Burn draws weights when they are first looked at, from one generator a process.
struct Look;

impl ModuleVisitor for Look {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

/// A detector on a random backbone whose grid has `grid` tokens a side.
fn detector(config: &ModelConfig, activation: Activation, grid: usize) -> Detector {
    let device = Device::flex();
    let vision = VisionConfig {
        width: 16,
        layers: 4,
        heads: 2,
        mlp_width: 48,
        patch_size: PATCH,
        image_size: PATCH * grid,
        activation,
    };
    let text = TextConfig {
        width: 16,
        layers: 1,
        heads: 1,
        mlp_width: 32,
        vocabulary: 49408,
        context_length: 77,
        activation,
    };
    let mut clip = Clip::new(&ClipConfig { vision, text, embed_dim: 12 }, &device);
    clip.vision.token_heads = vec![None, Some(TokenHead::new(16, 9, &device)), None, None];
    clip.visit(&mut Look);
    let run = RunConfig { model: config.clone(), ..RunConfig::default() };
    if !config.method.is_trained() {
        return Detector::new(&run, Some(clip), None, &device).unwrap();
    }
    let mut head = config.method.new_head(&clip, &device).unwrap();
    head.visit(&mut Look);
    if let Some(scale) = &mut head.logit_scale {
        *scale = Param::from_tensor(Tensor::full([1], 2.0, &device));
    }
    Detector::new(&run, Some(clip), Some(head), &device).unwrap()
}

fn settings(config: &ModelConfig) -> Export {
    Export {
        precision: Precision::Full,
        inline_limit: MESSAGE_LIMIT,
        identity: ModelIdentity {
            backbone: Some("0123".into()),
            adapters: None,
            config: config.clone(),
            prompts: Prompts::default(),
            references: vec!["4567".into()],
            scope: None,
            zones: None,
        },
        calibration: None,
    }
}

/// Exports and reads the model again.
fn written(detector: &Detector, path: &Path, settings: &Export) -> (ModelProto, Exported) {
    let exported = detector.export(path, settings).unwrap();
    (ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap(), exported)
}
