//! Small models with random weights, in the files that the program reads.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig, save_hf};
use fe_clip::{Backbone, Origin, Precision, RunConfig, save};

/// Burn's random numbers come from one generator a process.
static RANDOM: Mutex<()> = Mutex::new(());

/// A backbone of four layers whose grid has `grid` tokens a side, as a folder.
pub(crate) fn backbone(folder: &Path, activation: Activation, grid: usize) -> PathBuf {
    let vision = VisionConfig {
        width: 48,
        layers: 4,
        heads: 3,
        mlp_width: 80,
        patch_size: 8,
        image_size: 8 * grid,
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
    let config = ClipConfig { vision, text, embed_dim: 20 };
    let path = folder.join(format!("{}-{grid}", activation.name()));
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(3);
    let clip = Clip::new(&config, &device);
    save_hf(&clip, &config, &path, clip_vit::Precision::F32).unwrap();
    path
}

/// Random adapters for a backbone and settings, as a file.
pub(crate) fn adapters(path: &Path, backbone: &Path, settings: &Path) {
    let _alone = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(5);
    let model = RunConfig::read(settings).unwrap().model;
    let clip = Backbone::load(backbone.to_str().unwrap(), None, &device).unwrap().clip;
    let mut head = model.method.new_head(&clip, &device).unwrap();
    if let Some(scale) = &mut head.logit_scale {
        // Not where training starts, which is the fixed temperature.
        *scale = Param::from_tensor(Tensor::full([1], 2.0, &device));
    }
    save(path, &head, &Origin { config: Some(model), ..Origin::default() }, Precision::Full)
        .unwrap();
}
