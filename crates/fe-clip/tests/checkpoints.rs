//! Adapter files that do not fit, or are no adapter files, are refused with everything that is
//! wrong about them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use clip_vit::{Activation, Clip, ClipConfig, TextConfig, VisionConfig};
use fe_clip::{
    Backbone, Checkpoint, Error, FeClip, FeClipConfig, Origin, Precision, StageEnds, Switch, save,
};
use safetensors::tensor::{Dtype, TensorView};

fn backbone(width: usize, embed_dim: usize) -> Clip {
    let activation = Activation::QuickGelu;
    let vision = VisionConfig {
        width,
        layers: 4,
        heads: 2,
        mlp_width: 16,
        patch_size: 4,
        image_size: 12,
        activation,
    };
    let text = TextConfig {
        width: 8,
        layers: 1,
        heads: 1,
        mlp_width: 8,
        vocabulary: 49408,
        context_length: 77,
        activation,
    };
    Clip::new(&ClipConfig { vision, text, embed_dim }, &Device::flex())
}

/// Writes random adapters for a backbone and settings.
fn write(path: &Path, clip: &Clip, config: &FeClipConfig) {
    let head = FeClip::new_head(clip, config, &Device::flex()).unwrap();
    let origin = Origin { config: Some(config.clone().into()), ..Origin::default() };
    save(path, &head, &origin, Precision::Full).unwrap();
}

/// What is said when the file is loaded for another model.
fn refusal(path: &Path, clip: &Clip, config: &FeClipConfig) -> String {
    let checkpoint = Checkpoint::read(path).unwrap();
    let head = FeClip::new_head(clip, config, &Device::flex()).unwrap();
    checkpoint.head(head, &Device::flex()).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

#[test]
fn every_difference_to_the_model_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let clip = backbone(8, 6);
    let config = FeClipConfig::default();
    write(&path, &clip, &config);

    let fewer = FeClipConfig { stage_ends: Some(StageEnds::Layers(vec![2, 4])), ..config.clone() };
    assert_says(
        &refusal(&path, &clip, &fewer),
        &[
            "adapters.safetensors",
            "unexpected stages.2.ffe.linear.weight",
            "unexpected stages.3.lfs.conv.bias",
        ],
    );

    let lfs = adapters::LfsConfig { kernel: 1, ..adapters::LfsConfig::default() };
    let kernel = FeClipConfig { lfs: Switch::On(lfs), ..config.clone() };
    let message = refusal(&path, &clip, &kernel);
    for n in 0..4 {
        let line =
            format!("stages.{n}.lfs.conv.weight has shape [8, 8, 3, 3], expected [8, 8, 1, 1]");
        assert_says(&message, &[&line]);
    }

    // Another backbone: other widths everywhere.
    let message = refusal(&path, &backbone(12, 10), &config);
    assert_says(
        &message,
        &[
            "stages.0.ffe.linear.weight has shape [8, 8], expected [12, 12]",
            "stages.3.lfs.conv.bias has shape [8], expected [12]",
            "patch_projection.weight has shape [6, 8], expected [10, 12]",
        ],
    );

    let separate = FeClipConfig { shared_projection: false, ..config.clone() };
    assert_says(
        &refusal(&path, &clip, &separate),
        &[
            "missing patch_projection.0.weight",
            "missing patch_projection.3.bias",
            "unexpected patch_projection.weight",
        ],
    );

    let none = FeClipConfig { ffe: Switch::Off, ..config };
    write(&path, &clip, &none);
    assert_says(
        &refusal(&path, &clip, &FeClipConfig::default()),
        &["missing stages.0.ffe.linear.weight", "missing stages.3.ffe.linear.bias"],
    );
}

#[test]
fn other_names_of_the_public_re_implementation_are_listed_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.safetensors");
    let bytes = vec![0; 8 * 8 * 4];
    let view = || TensorView::new(Dtype::F32, vec![8, 8], &bytes).unwrap();
    let tensors =
        ["ffe.0.mlp.0.weight", "ffe.0.mlp.2.weight", "clip.visual.proj"].map(|n| (n, view()));
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let message = refusal(&path, &backbone(8, 6), &FeClipConfig::default());
    assert_says(
        &message,
        &[
            "unexpected ffe.0.mlp.2.weight",
            "unexpected clip.visual.proj",
            "missing stages.0.ffe.linear.bias",
        ],
    );
    assert!(!message.contains("missing stages.0.ffe.linear.weight"), "{message}");
}

#[test]
fn adapters_of_another_backbone_are_refused_by_its_hash() {
    let backbone = Backbone::load("tiny", None, &Device::flex()).unwrap();
    let mut checkpoint = backbone.adapters().unwrap().unwrap();
    let path = Path::new("adapters.safetensors");
    backbone.check(&checkpoint, path).unwrap();
    let other = "0".repeat(64);
    checkpoint.origin.backbone = Some(other.clone());
    let error = backbone.check(&checkpoint, path).unwrap_err();
    assert!(matches!(error, Error::BackboneMismatch { .. }));
    let own = backbone.sha256().unwrap();
    assert_says(&error.to_string(), &["adapters.safetensors", &other, &own]);
}

#[test]
fn what_is_no_checkpoint_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.safetensors");
    write(&good, &backbone(8, 6), &FeClipConfig::default());
    let bytes = fs::read(&good).unwrap();
    let view = TensorView::new(Dtype::I64, vec![1], &bytes[..8]).unwrap();
    let metadata = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let tensor = [("x", TensorView::new(Dtype::F32, vec![2], &bytes[..8]).unwrap())];
        safetensors::serialize(tensor, Some(pairs.collect())).unwrap()
    };
    let (format, version) = (("format", "fe-clip-adapters"), ("version", "1"));
    for (name, content, reason) in [
        ("empty", Vec::new(), "is empty"),
        ("text", b"this is no checkpoint, but it is long enough".to_vec(), "header"),
        ("cut", bytes[..bytes.len() - 9].to_vec(), ""),
        ("huge header", [&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "header"),
        ("integers", safetensors::serialize([("x", view)], None).unwrap(), "I64"),
        ("version", metadata(&[format, ("version", "9")]), "version 9"),
        ("format", metadata(&[("format", "pt"), version]), "pt"),
        ("config", metadata(&[format, version, ("config", "{\"lamda\": 1}")]), "lamda"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let Err(error) = Checkpoint::read(&path) else { panic!("{name} was read") };
        let message = error.to_string().to_lowercase();
        assert_says(&message, &[name, &reason.to_lowercase()]);
    }
    let Err(error) = Checkpoint::read(&folder.path().join("absent")) else { panic!("read") };
    assert_says(&error.to_string(), &["absent"]);
}
