//! Towers and loaders against transformers and open_clip (`models.py`).

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Activation, Precision, Pretrained, TokenHead, load, load_bytes, save_hf};
use safetensors::SafeTensors;

/// Single precision through a few layers of values of order 1.
const TOLERANCE: f32 = 2e-5;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// What the reference computed.
struct Expected {
    bytes: Vec<u8>,
}

impl Expected {
    fn of(folder: &str) -> Self {
        Self { bytes: std::fs::read(golden(folder).join("expected.safetensors")).unwrap() }
    }

    fn data(&self, name: &str) -> TensorData {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let values: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        TensorData::new(values, tensor.shape())
    }

    fn ids(&self) -> Vec<Vec<u32>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor("ids").unwrap();
        let ids: Vec<u32> = tensor
            .data()
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        ids.chunks_exact(tensor.shape()[1]).map(<[u32]>::to_vec).collect()
    }
}

#[track_caller]
fn assert_close<const D: usize>(actual: Tensor<D>, expected: TensorData, what: &str) {
    let actual = actual.into_data();
    assert_eq!(actual.shape(), expected.shape(), "{what}");
    let (actual, expected) =
        (actual.try_to_vec::<f32>().unwrap(), expected.try_to_vec::<f32>().unwrap());
    let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    let worst = actual.iter().zip(&expected).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(worst <= TOLERANCE * scale, "{what}: off by {worst} at a scale of {scale}");
}

#[track_caller]
fn check(model: &Pretrained, expected: &Expected, what: &str) {
    let device = Device::default();
    let images = || Tensor::<4>::from_data(expected.data("images"), &device);
    let clip = &model.clip;
    assert_close(
        clip.vision.forward(images()),
        expected.data("image_features"),
        &format!("{what}: images"),
    );
    let text = clip.text.forward(&expected.ids(), &device);
    assert_close(text, expected.data("text_features"), &format!("{what}: texts"));
}

#[test]
fn quick_gelu_model_is_transformers() {
    let model = load(&golden("hf_quick_gelu"), None, &Device::default()).unwrap();
    check(&model, &Expected::of("hf_quick_gelu"), "quick_gelu");
}

#[test]
fn gelu_model_is_transformers() {
    let model = load(&golden("hf_gelu"), None, &Device::default()).unwrap();
    assert_eq!(model.config.vision.activation, Activation::Gelu);
    check(&model, &Expected::of("hf_gelu"), "gelu");
}

#[test]
fn hidden_states_are_transformers() {
    for folder in ["hf_quick_gelu", "hf_gelu"] {
        let device = Device::default();
        let expected = Expected::of(folder);
        let vision = load(&golden(folder), None, &device).unwrap().clip.vision;
        let mut tokens = vision.embed(Tensor::from_data(expected.data("images"), &device));
        assert_close(tokens.clone(), expected.data("hidden.0"), folder);
        for (layer, block) in vision.blocks.iter().enumerate() {
            tokens = block.forward(tokens);
            let name = format!("hidden.{}", layer + 1);
            assert_close(tokens.clone(), expected.data(&name), &format!("{folder}: {name}"));
        }
    }
}

#[test]
fn shards_and_bfloat16_hold_the_same_model() {
    let model = load(&golden("hf_sharded"), None, &Device::default()).unwrap();
    assert!(model.weight_files.len() > 1);
    check(&model, &Expected::of("hf_quick_gelu"), "shards");
}

#[test]
fn pickled_parameters_hold_the_same_model() {
    let model = load(&golden("hf_pickled"), None, &Device::default()).unwrap();
    check(&model, &Expected::of("hf_quick_gelu"), "pytorch_model.bin");
}

#[test]
fn single_files_tell_their_architecture() {
    for file in ["half.safetensors", "checkpoint.pt", "openai.pt"] {
        let model = load(&golden("open_clip").join(file), None, &Device::default()).unwrap();
        let config = &model.config;
        assert_eq!(
            (config.vision.width, config.vision.heads, config.vision.image_size),
            (64, 1, 8),
            "{file}"
        );
        check(&model, &Expected::of("open_clip"), file);
    }
}

#[test]
fn activation_can_be_chosen() {
    let path = golden("open_clip/half.safetensors");
    let model = load(&path, Some(Activation::Gelu), &Device::default()).unwrap();
    assert_eq!(model.config.text.activation, Activation::Gelu);
    let expected = Expected::of("open_clip");
    let images = Tensor::<4>::from_data(expected.data("images"), &Device::default());
    let features = model.clip.vision.forward(images).into_data();
    assert_ne!(features, expected.data("image_features"));
    // A folder tells its own.
    let folder = golden("hf_gelu");
    load(&folder, Some(Activation::Gelu), &Device::default()).unwrap();
    let error = load(&folder, Some(Activation::QuickGelu), &Device::default()).unwrap_err();
    assert!(error.to_string().contains("config.json: tells activation gelu"), "{error}");
}

/// A copy of a safetensors file under other names.
fn renamed(from: &str, to: &Path, rename: impl Fn(&str) -> String) {
    let bytes = std::fs::read(golden(from)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> =
        file.tensors().into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    safetensors::serialize_to_file(tensors, None, to).unwrap();
}

#[test]
fn what_training_code_puts_before_names_is_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let prefixes = [
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "state_dict.model.",
        "model.clip.module.",
    ];
    for prefix in prefixes {
        renamed("open_clip/half.safetensors", &path, |name| format!("{prefix}{name}"));
        let model = load(&path, None, &Device::default()).unwrap();
        check(&model, &Expected::of("open_clip"), prefix);

        std::fs::copy(golden("hf_gelu/config.json"), folder.path().join("config.json")).unwrap();
        renamed("hf_gelu/model.safetensors", &path, |name| format!("{prefix}{name}"));
        let model = load(folder.path(), None, &Device::default()).unwrap();
        check(&model, &Expected::of("hf_gelu"), prefix);
    }
    // Compiled on its own, and open_clip's text tower apart.
    let apart = |name: &str| match name.strip_prefix("visual.") {
        Some(rest) => format!("visual._orig_mod.{rest}"),
        None if name == "logit_scale" => name.into(),
        None => format!("text.{name}"),
    };
    for prefix in ["", "module.", "_orig_mod."] {
        renamed("open_clip/half.safetensors", &path, |name| format!("{prefix}{}", apart(name)));
        let model = load(&path, None, &Device::default()).unwrap();
        check(&model, &Expected::of("open_clip"), prefix);
    }
}

const OPEN_CLIP_CONFIG: &str = r#"{"model_cfg": {"embed_dim": 8, "quick_gelu": true,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 64, "patch_size": 4, "mlp_ratio": 0.125},
    "text_cfg": {"context_length": 10, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1, "mlp_ratio": 0.125}},
    "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}}"#;

#[test]
fn open_clip_folders_are_read() {
    for (from, to) in [
        ("half.safetensors", "open_clip_model.safetensors"),
        ("checkpoint.pt", "open_clip_pytorch_model.bin"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(golden("open_clip").join(from), folder.path().join(to)).unwrap();
        let config = folder.path().join("open_clip_config.json");
        std::fs::write(&config, OPEN_CLIP_CONFIG).unwrap();
        let model = load(folder.path(), None, &Device::default()).unwrap();
        check(&model, &Expected::of("open_clip"), to);

        let without = OPEN_CLIP_CONFIG.replace(r#""quick_gelu": true,"#, "");
        std::fs::write(&config, without).unwrap();
        let model = load(folder.path(), None, &Device::default()).unwrap();
        assert_eq!(model.config.vision.activation, Activation::Gelu);
        for (from, to, part) in [
            (
                r#""layers": 1, "width": 64, "patch"#,
                r#""layers": [3, 4], "width": 64, "patch"#,
                "a ResNet",
            ),
            (
                r#""mlp_ratio": 0.125}},"#,
                r#""mlp_ratio": 0.125, "hf_model_name": "x"}},"#,
                "hf_model_name",
            ),
            ("0.48145466", "0.5", "preprocess_cfg.mean"),
            (r#""patch_size": 4,"#, r#""patch_size": 4, "ls_init_value": 0.1,"#, "ls_init_value"),
        ] {
            std::fs::write(&config, OPEN_CLIP_CONFIG.replace(from, to)).unwrap();
            let error = load(folder.path(), None, &Device::default()).unwrap_err().to_string();
            assert!(error.contains("open_clip_config.json: ") && error.contains(part), "{error}");
        }
    }
}

#[test]
fn pickled_shards_hold_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::copy(golden("hf_pickled/config.json"), place("config.json")).unwrap();
    let shard = "pytorch_model-00001-of-00001.bin";
    std::fs::copy(golden("hf_pickled/pytorch_model.bin"), place(shard)).unwrap();
    let index = format!(r#"{{"metadata": {{}}, "weight_map": {{"logit_scale": "{shard}"}}}}"#);
    std::fs::write(place("pytorch_model.bin.index.json"), index).unwrap();
    let model = load(folder.path(), None, &Device::default()).unwrap();
    assert_eq!(model.weight_files, [place(shard)]);
    check(&model, &Expected::of("hf_quick_gelu"), shard);
}

#[test]
fn saved_models_load_from_disk_and_from_memory() {
    let device = Device::default();
    let expected = Expected::of("hf_quick_gelu");
    let model = load(&golden("hf_quick_gelu"), None, &device).unwrap();
    for precision in [Precision::F32, Precision::F16] {
        let folder = tempfile::tempdir().unwrap();
        save_hf(&model.clip, &model.config, folder.path(), precision).unwrap();
        let again = load(folder.path(), None, &device).unwrap();
        assert_eq!(again.config, model.config);
        // The weights are numbers that half precision holds.
        check(&again, &expected, &format!("{precision:?}"));

        let config = std::fs::read(folder.path().join("config.json")).unwrap();
        let weights = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        let (clip, config) = load_bytes("memory", &config, &weights, &device).unwrap();
        assert_eq!(config, model.config);
        let images = Tensor::<4>::from_data(expected.data("images"), &device);
        assert_close(clip.vision.forward(images), expected.data("image_features"), "memory");
    }
}

/// A distilled tower has heads, each as wide as it is in the file.
#[test]
fn heads_of_tokens_are_saved_and_loaded() {
    let device = Device::default();
    let mut model = load(&golden("hf_quick_gelu"), None, &device).unwrap();
    let (width, layers) = (model.config.vision.width, model.config.vision.layers);
    model.clip.vision.token_heads = (0..layers).map(|_| None).collect();
    model.clip.vision.token_heads[1] = Some(TokenHead::new(width, 7, &device));
    let folder = tempfile::tempdir().unwrap();
    save_hf(&model.clip, &model.config, folder.path(), Precision::F32).unwrap();
    let again = load(folder.path(), None, &device).unwrap();
    let heads = &again.clip.vision.token_heads;
    assert_eq!(heads.len(), layers);
    assert_eq!(heads.iter().filter(|head| head.is_some()).count(), 1);
    let tokens = Tensor::<2>::from_data(
        TensorData::new((0..3 * width).map(|x| (x as f32).sin()).collect::<Vec<_>>(), [3, width]),
        &device,
    );
    let seen = |model: &Pretrained| {
        model.clip.vision.token_heads[1].as_ref().unwrap().forward(tokens.clone()).into_data()
    };
    assert_eq!(seen(&again), seen(&model));
    check(&again, &Expected::of("hf_quick_gelu"), "with heads");

    // One of another tower.
    model.clip.vision.token_heads[1] = Some(TokenHead::new(width + 1, 7, &device));
    save_hf(&model.clip, &model.config, folder.path(), Precision::F32).unwrap();
    let refused = load(folder.path(), None, &device).unwrap_err().to_string();
    assert!(refused.contains("vision_model.token_heads.1.linear.weight"), "{refused}");
}

/// transformers' own file, byte for byte: names, shapes and values.
#[test]
fn saved_weights_are_transformers() {
    let model = load(&golden("hf_quick_gelu"), None, &Device::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    save_hf(&model.clip, &model.config, folder.path(), Precision::F32).unwrap();
    let saved = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let saved = SafeTensors::deserialize(&saved).unwrap();
    let theirs = std::fs::read(golden("hf_quick_gelu/model.safetensors")).unwrap();
    let theirs = SafeTensors::deserialize(&theirs).unwrap();
    assert_eq!(saved.len(), theirs.len());
    for (name, tensor) in theirs.iter() {
        assert_eq!(saved.tensor(name).unwrap(), tensor, "{name}");
    }
}

#[test]
fn sha256_is_that_of_the_file() {
    let model = load(&golden("open_clip/half.safetensors"), None, &Device::default()).unwrap();
    let output =
        std::process::Command::new("sha256sum").arg(&model.weight_files[0]).output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    assert_eq!(model.sha256().unwrap(), expected.split(' ').next().unwrap());
}
