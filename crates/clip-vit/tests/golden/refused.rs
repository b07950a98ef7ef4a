//! Files that must end in an error that names the cause, and never in a panic or a call.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clip_vit::load;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::models::golden;

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The whole chain of messages, which must name the file.
#[track_caller]
fn message(path: &Path) -> String {
    let error = load(path, None, &Device::default()).expect_err("it must be refused");
    let mut message = error.to_string();
    assert!(message.contains(&*path.to_string_lossy()), "{message}");
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        message += &format!(": {next}");
        cause = next;
    }
    message
}

#[track_caller]
fn assert_refused(name: &str, bytes: &[u8], expected: &str) {
    let (_folder, path) = file(name, bytes);
    let message = message(&path);
    assert!(message.contains(expected), "expected \"{expected}\" in: {message}");
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A dictionary with one tensor of the given arguments, over a storage of 16 bytes.
fn one_tensor(offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ");
    pickle.extend(offset);
    for sizes in [shape, strides] {
        pickle.push(b'(');
        pickle.extend(sizes);
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    archive(&[("data.pkl", &pickle), ("data/0", &[0; 16])])
}

#[test]
fn tensors_that_hold_no_numbers_are_named() {
    let whole = std::fs::read(golden("hf_gelu/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let names = [
        "logit_scale",
        "vision_model.encoder.layers.0.mlp.fc1.weight",
        "vision_model.embeddings.class_embedding",
        "text_model.encoder.layers.1.self_attn.k_proj.bias",
        "text_projection.weight",
    ];
    for name in names {
        for (value, what) in [(0x7e00, "NaN"), (0x7c00, "infinity"), (0xfc00_u16, "infinity")] {
            let tensor = tensors.tensor(name).unwrap();
            assert_eq!(tensor.dtype(), Dtype::F16);
            let start = tensor.data().as_ptr() as usize - whole.as_ptr() as usize;
            let mut broken = whole.clone();
            broken[start..start + 2].copy_from_slice(&value.to_le_bytes());
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("model.safetensors"), broken).unwrap();
            let config = golden("hf_gelu/config.json");
            std::fs::copy(config, folder.path().join("config.json")).unwrap();
            let message = message(folder.path());
            assert!(message.contains(&format!("{name}: holds {what}")), "{message}");
        }
    }
}

#[test]
fn what_lies_in_the_place_of_a_file_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1710540580\n";
    let page = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>";
    for name in ["model.safetensors", "model.pt", "pytorch_model.bin"] {
        assert_refused(
            name,
            pointer,
            "is a Git LFS pointer, not the file itself: run `git lfs pull`",
        );
        assert_refused(name, page, "is a web page, not the file itself");
        assert_refused(name, b"", "is empty");
    }
    for name in ["config.json", "model.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(golden("hf_gelu").join(file), folder.path().join(file)).unwrap();
        }
        std::fs::write(folder.path().join(name), pointer).unwrap();
        let message = load(folder.path(), None, &Device::default()).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains("Git LFS pointer"), "{message}");
    }
}

#[test]
fn code_is_never_called() {
    let marker = tempfile::tempdir().unwrap().keep().join("called");
    let command = format!("touch {}", marker.display());
    let mut system = b"\x80\x02cposix\nsystem\nX".to_vec();
    system.extend((command.len() as u32).to_le_bytes());
    system.extend(command.as_bytes());
    system.extend(b"\x85R.");
    assert_refused("a.pt", &archive(&[("data.pkl", &system)]), "posix.system");
    assert!(!marker.exists());

    let stacked = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.";
    assert_refused("a.bin", &archive(&[("data.pkl", stacked)]), "builtins.eval");
    let extension = b"\x80\x02\x82\x01.";
    assert_refused("a.bin", &archive(&[("data.pkl", extension)]), "instruction 0x82");
    let old_class = b"\x80\x02(cos\nsystem\no.";
    assert_refused("a.bin", &archive(&[("data.pkl", old_class)]), "os.system");
}

#[test]
fn tensors_stay_within_their_storage() {
    let refused = |offset: &[u8], shape: &[u8], strides: &[u8], expected: &str| {
        assert_refused("a.pt", &one_tensor(offset, shape, strides), expected);
    };
    refused(b"K\0", b"K\x05", b"K\x01", "beyond the 16 bytes");
    refused(b"K\x01", b"K\x04", b"K\x01", "beyond the 16 bytes");
    refused(b"K\0", b"K\x02K\x02", b"K\x09K\x01", "beyond the 16 bytes");
    refused(b"K\0", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"K\x01", "beyond the 16 bytes");
    refused(
        b"K\0",
        b"\x8a\x07\xff\xff\xff\xff\xff\xff\x7f",
        b"K\0",
        "more elements than its storage",
    );
    refused(b"K\0", b"J\xff\xff\xff\xff", b"K\x01", "a size of -1");
    refused(b"K\0", b"K\x02K\x02", b"K\x01", "more sizes than strides");
    refused(b"K\0", b"K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01", b"K\x01", "9 axes");
    // A sound one is read, and found not to be a CLIP.
    assert_refused(
        "a.pt",
        &one_tensor(b"K\0", b"K\x02K\x02", b"K\x02K\x01"),
        "visual.conv1.weight",
    );
}

#[test]
fn pickles_cannot_exhaust_the_machine() {
    let mut nested = b"\x80\x02".to_vec();
    nested.extend(b"}X\x01\0\0\0a".repeat(100_000));
    nested.push(b'N');
    nested.extend(b"s".repeat(100_000));
    nested.push(b'.');
    assert_refused("a.pt", &archive(&[("data.pkl", &nested)]), "nested deeper");

    let cyclic = b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.";
    assert_refused("a.pt", &archive(&[("data.pkl", cyclic)]), "nested deeper");

    // Each dictionary holds the next one twice.
    let mut doubling = b"\x80\x02".to_vec();
    for level in 0..31 {
        doubling.extend(b"}q");
        doubling.push(level);
        if level > 0 {
            for key in *b"ab" {
                doubling.extend([b'X', 1, 0, 0, 0, key, b'h', level - 1, b's']);
            }
        }
    }
    doubling.push(b'.');
    assert_refused("a.pt", &archive(&[("data.pkl", &doubling)]), "more than 1048576 values");

    let long = b"\x80\x02X\xff\xff\xff\xffa.";
    assert_refused("a.pt", &archive(&[("data.pkl", long)]), "ends too early");
}

#[test]
fn broken_archives_are_named() {
    assert_refused("a.pt", b"not a zip file", "no PyTorch archive");
    assert_refused(
        "a.pt",
        b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
        "it ends too early",
    );
    assert_refused("a.pt", &archive(&[("version", b"3")]), "no entry data.pkl");
    assert_refused(
        "a.pt",
        &archive(&[("data.pkl", b"}."), ("byteorder", b"big")]),
        "little-endian",
    );
    let tensor = one_tensor(b"K\0", b"K\x04", b"K\x01");
    let at = tensor.windows(6).rposition(|name| name == b"data/0").unwrap();
    let mut renamed = tensor.clone();
    renamed[at + 5] = b'1';
    assert_refused("a.pt", &renamed, "data/0");
}

#[test]
fn truncated_and_damaged_files_never_panic() {
    for name in ["open_clip/openai.pt", "open_clip/checkpoint.pt", "open_clip/half.safetensors"] {
        let path = golden(name);
        let whole = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let load = |bytes: &[u8]| {
            let (_folder, path) = file(name, bytes);
            load(&path, None, &Device::default())
        };
        for cut in (0..whole.len()).step_by(1499) {
            assert!(load(&whole[..cut]).is_err(), "{name} cut at {cut}");
        }
        // Bytes of what is not numbers in turn: the outcome is free, a panic is not.
        let mut damaged = whole.clone();
        let ends = (0..6000).step_by(53).chain((whole.len() - 4000..whole.len()).step_by(53));
        for position in ends {
            for value in [0xff, whole[position] ^ 1] {
                damaged[position] = value;
                drop(load(&damaged));
            }
            damaged[position] = whole[position];
        }
    }
}

#[test]
fn broken_safetensors_are_named() {
    assert_refused("a.safetensors", &u64::MAX.to_le_bytes(), "no valid safetensors");
    let with = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let cases = [
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
    ];
    for header in cases {
        assert_refused("a.safetensors", &with(header, 12), "no valid safetensors");
    }
}

/// All that is wrong with the tensors stands in one error.
#[test]
fn problems_are_listed_together() {
    let bytes = std::fs::read(golden("hf_gelu/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
    views.retain(|(name, _)| name != "vision_model.encoder.layers.1.mlp.fc1.bias");
    views.retain(|(name, _)| name != "text_model.final_layer_norm.weight");
    let other = tensors.tensor("vision_model.post_layernorm.weight").unwrap();
    let wrong = "vision_model.encoder.layers.0.self_attn.k_proj.weight";
    views.retain(|(name, _)| name != wrong);
    views.push((wrong.into(), other));
    views.push((
        "vision_model.embeddings.position_ids".into(),
        tensors.tensor("logit_scale").unwrap(),
    ));
    views.push(("surplus".into(), tensors.tensor("logit_scale").unwrap()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("hf_gelu/config.json"), folder.path().join("config.json")).unwrap();
    let weights = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    let message = message(folder.path());
    let mut lines: Vec<&str> = message.lines().skip(1).map(str::trim).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "missing: text_model.final_layer_norm.weight [16]",
            "missing: vision_model.encoder.layers.1.mlp.fc1.bias [32]",
            "unexpected: surplus",
            "vision_model.encoder.layers.0.self_attn.k_proj.weight: expected shape [24, 24], got [24]",
        ]
    );
}

#[test]
fn directories_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let write = |config: &str| std::fs::write(path.join("config.json"), config).unwrap();
    let refused = |expected: &str| {
        let error = load(path, None, &Device::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "expected \"{expected}\" in: {error}");
    };
    refused("holds no model, expected one of: model.safetensors with config.json");
    write(r#"{"model_type": "clip"}"#);
    refused("holds no model");
    std::fs::copy(golden("hf_gelu/model.safetensors"), path.join("model.safetensors")).unwrap();
    std::fs::remove_file(path.join("config.json")).unwrap();
    refused("model.safetensors without a config.json or open_clip_config.json beside it");
    write("{");
    refused("config.json: EOF");
    write("{}");
    refused("model_type");
    let cases = [
        (r#"{"hidden_act": "relu"}"#, "relu"),
        (r#"{"image_size": 33}"#, "multiple of the patch"),
        (r#"{"num_attention_heads": 7}"#, "divide the width"),
        (r#"{"hidden_size": 0}"#, "expected vision width"),
        (r#"{"image_size": 18446744073709551615}"#, "expected image size"),
        (r#"{"num_hidden_layers": 1000000}"#, "1000000 layers"),
        (r#"{"layer_norm_eps": 1e-6}"#, "layer_norm_eps"),
        (r#"{"num_channels": 1}"#, "num_channels"),
        (r#"{"image_size": -1}"#, "config.json"),
    ];
    for (vision, expected) in cases {
        write(&format!(r#"{{"model_type": "clip", "vision_config": {vision}}}"#));
        refused(expected);
    }
    std::fs::remove_file(path.join("model.safetensors")).unwrap();
    let index = r#"{"weight_map": {"logit_scale": "../model.safetensors"}}"#;
    std::fs::write(path.join("model.safetensors.index.json"), index).unwrap();
    write(r#"{"model_type": "clip"}"#);
    refused("beside the index");
}

#[test]
fn other_files_are_no_models() {
    assert_refused("a.onnx", b"", "is no model");
    let missing = Path::new("/nowhere/model.safetensors");
    assert!(message(missing).contains("No such file"));
}
