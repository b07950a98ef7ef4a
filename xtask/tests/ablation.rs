//! `cargo xtask ablation` at a tiny scale.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

#[test]
fn every_row_is_trained_measured_and_found_again() {
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("study");
    let results = folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    let study = || {
        let mut command = Command::new(xtask);
        command.arg("ablation").arg("--out").arg(&out).arg("--results").arg(&results);
        command.args(["--training", "wood", "--held-out", "knit", "--epochs", "1"]);
        command.args(["--size", "32"]);
        command.args(["--test-normal", "1", "--test-per-defect", "1"]);
        // Built before by a test run of the whole workspace; else the task builds it.
        let program = xtask.with_file_name("fe-clip");
        if program.exists() {
            command.arg("--fe-clip").arg(program);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = study();
    // A head, plain CLIP with two kinds of sentences, and two lines for each of the five that
    // learn.
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    assert_eq!(lines.clone().count(), 2 + 2 + 2 * 5, "{table}");
    assert!(lines.clone().all(|line| line.matches('|').count() == 6), "{table}");
    let page = std::fs::read_to_string(results.join("ablation.md")).unwrap();
    assert!(page.ends_with(&lines.map(|line| format!("{line}\n")).collect::<String>()), "{page}");
    assert!(page.contains("Beside plain CLIP with the same sentences"), "{page}");

    let document = std::fs::read_to_string(results.join("ablation.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    for row in document["rows"].as_array().unwrap() {
        let runs = row["runs"].as_array().unwrap();
        let learns = !["CLIP", "CLIP, category named"].contains(&row["method"].as_str().unwrap());
        assert_eq!(runs.len(), 1, "{row}");
        for run in runs {
            let auroc = run["untrained"]["pixel_auroc"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&auroc), "{row}");
            assert_eq!(run["trained"].is_object(), learns, "{row}");
            if learns {
                assert_ne!(run["untrained"], run["trained"], "training changed nothing: {row}");
            }
        }
    }

    assert_eq!(document["source"]["revision"].as_str().map(|r| r.len() >= 40), Some(true));
    assert!(document["source"]["command"].as_str().unwrap().starts_with("cargo xtask ablation"));

    // Plain CLIP is asked with the sentences of the others, smoothed and scored as they are.
    let settings = |row: &str, epochs: u32| -> Value {
        let metrics = out.join(format!("{row}/seed-0-epochs-{epochs}/metrics.json"));
        let metrics: Value = serde_json::from_slice(&std::fs::read(metrics).unwrap()).unwrap();
        metrics["config"].clone()
    };
    let (plain, whole) = (settings("clip", 0), settings("fe-clip-ffe-lfs", 1));
    assert_eq!(plain["prompts"], whole["prompts"]);
    for key in ["smoothing_sigma", "image_score", "temperature", "align_corners", "resize"] {
        assert_eq!(plain["model"][key], whole["model"][key], "{key}");
    }
    assert_ne!(settings("clip-category-named", 0)["prompts"], whole["prompts"]);

    let log = out.join("fe-clip-ffe-lfs/seed-0-epochs-1/train.jsonl");
    let written = || -> SystemTime { log.metadata().unwrap().modified().unwrap() };
    let before = written();
    assert_eq!(study(), table);
    assert_eq!(written(), before, "what was finished was done again");
}
