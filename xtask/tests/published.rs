//! `cargo xtask published` with a checkpoint made here, in the layout of AnomalyCLIP's authors, on drawn images.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use zip::write::SimpleFileOptions;

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn published(arguments: &[&str]) -> Output {
    Command::new(XTASK).arg("published").args(arguments).current_dir(repository()).output().unwrap()
}

/// A file as `torch.save` writes it, of a dict of dicts of float tensors, row by row.
fn save_pth(path: &Path, outer: &str, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let mut pickle = b"\x80\x02}".to_vec();
    let text = |pickle: &mut Vec<u8>, text: &str| {
        pickle.push(b'X');
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text.as_bytes());
    };
    let number = |pickle: &mut Vec<u8>, n: usize| {
        pickle.push(b'J');
        pickle.extend((n as u32).to_le_bytes());
    };
    let numbers = |pickle: &mut Vec<u8>, all: &[usize]| {
        pickle.push(b'(');
        all.iter().for_each(|n| number(pickle, *n));
        pickle.push(b't');
    };
    text(&mut pickle, outer);
    pickle.push(b'}');
    for (i, (name, shape, values)) in tensors.iter().enumerate() {
        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, &i.to_string());
        text(&mut pickle, "cpu");
        number(&mut pickle, values.len());
        pickle.extend(b"tQ");
        number(&mut pickle, 0);
        numbers(&mut pickle, shape);
        let strides: Vec<usize> =
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        numbers(&mut pickle, &strides);
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs");
    }
    pickle.extend(b"s.");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut write = |name: String, bytes: &[u8]| {
        archive.start_file(format!("archive/{name}"), options).unwrap();
        archive.write_all(bytes).unwrap();
    };
    write("data.pkl".into(), &pickle);
    for (i, (.., values)) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        write(format!("data/{i}"), &bytes);
    }
    write("version".into(), b"3\n");
    archive.finish().unwrap();
}

/// Vectors for the embedded model's words.
fn write_checkpoint(path: &Path) {
    let config = repository().join("crates/fe-clip/assets/tiny/config.json");
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    let number = |key: &str| config["text_config"][key].as_u64().unwrap() as usize;
    let (width, blocks) = (number("hidden_size"), number("num_hidden_layers"));
    let vectors = |name: String, shape: Vec<usize>| {
        let count = shape.iter().product::<usize>();
        // Anything that is not all alike.
        let values = (0..count).map(|i| (i as f32 * 0.7).sin() * 0.02).collect();
        (name, shape, values)
    };
    let mut tensors = vec![
        vectors("ctx_pos".into(), vec![1, 1, 12, width]),
        vectors("ctx_neg".into(), vec![1, 1, 12, width]),
    ];
    for i in 0..(blocks - 1).min(8) {
        tensors.push(vectors(format!("compound_prompts_text.{i}"), vec![4, width]));
    }
    save_pth(path, "prompt_learner", &tensors);
}

#[test]
fn our_numbers_stand_beside_the_authors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let program = Path::new(XTASK).with_file_name("fe-clip");
    assert!(program.exists(), "build the workspace's programs first");
    let mut synth = Command::new(&program);
    synth.args(["synth", "--size", "96", "--categories", "bottle,gear", "--train-normal", "1"]);
    synth.args(["--test-normal", "2", "--test-per-defect", "1", "--out"]);
    assert!(synth.arg(folder.join("mvtec-ad")).status().unwrap().success());
    let checkpoint = folder.join("epoch_15.pth");
    write_checkpoint(&checkpoint);
    let out = folder.join("out");
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let (data, out_text, file) = (text(folder), text(&out), text(&checkpoint));
    let program = text(&program);
    let evaluated = |method: &str| {
        let files = ["--checkpoint", &file, "--backbone", "tiny", "--data", &data];
        let rest = ["--image-size", "96", "--out", &out_text, "--fe-clip", &program];
        published(&[&[method, "mvtec-ad"][..], &files, &rest].concat())
    };
    let output = evaluated("anomalyclip");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8(output.stdout).unwrap();
    let row = |name: &str| {
        let start = format!("| {name} |");
        page.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{page}"))
    };
    // The authors tell of a bottle and of no gear.
    assert!(row("bottle").contains(" / 90.4 (") && row("bottle").contains(" / 96.8 ("), "{page}");
    assert!(row("gear").contains(" / - |"), "{page}");
    assert!(row("mean").contains(" / 91.1 ("), "{page}");
    assert!(page.contains("a trial at 96 pixels") && page.contains("wood, zipper"), "{page}");
    let json = std::fs::read(out.join("anomalyclip-mvtec-ad/published.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 3);
    assert_eq!(json["checkpoint_sha256"].as_str().unwrap().len(), 64);

    // Another method's file is refused with the differences.
    let output = evaluated("vcp-clip");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && errors.contains("missing vcp.query"), "{errors}");
}

#[test]
fn what_there_is_is_listed_and_what_there_is_not_is_said() {
    let list = String::from_utf8(published(&[]).stdout).unwrap();
    assert_eq!(list.matches("licence").count(), 12, "{list}");
    assert!(list.contains("inctrl visa --shots 4") && list.contains("image.auroc 87.7"), "{list}");
    let errors = |arguments: &[&str]| {
        let output = published(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(errors(&["anomalyclip", "kvasir"]).contains("there are: anomalyclip mvtec-ad, "));
    assert!(errors(&["anomalyclip", "visa"]).contains("--checkpoint"));
    let nowhere = ["anomalyclip", "visa", "--checkpoint", "x.pth", "--data", "nowhere"];
    assert!(errors(&nowhere).contains("nowhere/visa is not there"));
}
