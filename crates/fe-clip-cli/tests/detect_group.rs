//! `detect --group` and `[eval] group = true`: images scored against each other.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

/// Stripes, the same in every image but for their place; one has a dark spot.
fn photo(shift: u32, spot: bool) -> RgbImage {
    RgbImage::from_fn(96, 96, |x, y| {
        if spot && (40..64).contains(&x) && (48..72).contains(&y) {
            return Rgb([20, 10, 10]);
        }
        let wave = ((x + shift) as f32 / 5.0).sin() * 40.0 + (y as f32 / 9.0).cos() * 20.0;
        Rgb([130 + wave as i16, 120 + wave as i16 / 2, 110].map(|v: i16| v as u8))
    })
}

fn write_group(folder: &Path, images: u32, spot: Option<u32>) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..images {
        photo(i % 3, spot == Some(i)).save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn highest(lines: &[Value]) -> usize {
    let score = |i: &usize| lines[*i]["raw_score"].as_f64().unwrap();
    (0..lines.len()).max_by(|a, b| score(a).total_cmp(&score(b))).unwrap()
}

fn settings(folder: &Path, model: &str) -> std::path::PathBuf {
    let path = folder.join("run.toml");
    fs::write(&path, format!("[model]\n{model}\n")).unwrap();
    path
}

#[test]
fn the_odd_one_of_a_group_stands_out() {
    let folder = tempfile::tempdir().unwrap();
    let (images, out) = (folder.path().join("images"), folder.path().join("out"));
    write_group(&images, 8, Some(5));
    let musc = settings(folder.path(), "method = \"musc\"");
    for config in [None, Some(&musc)] {
        let mut command = fe_clip();
        command.args(["detect", "--group", "--format", "jsonl"]).arg(&images);
        command.arg("--out").arg(&out).args(["--save", "overlay,map"]);
        if let Some(path) = config {
            command.arg("--config").arg(path);
        }
        let output = command.assert().success().get_output().clone();
        let found = lines(&output.stdout);
        assert_eq!(found.len(), 8);
        for (i, line) in found.iter().enumerate() {
            let name = format!("{i:03}");
            assert!(line["path"].as_str().unwrap().ends_with(&format!("{name}.png")));
            assert!(line["label"].is_null(), "{line}");
            assert!(out.join(format!("{name}_overlay.png")).exists());
            assert!(out.join(format!("{name}_map.npy")).exists());
        }
        assert_eq!(highest(&found), 5, "{found:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("comparing 8 images, each with 7 others"), "{said}");
    }
}

#[test]
fn references_are_as_many_as_asked_and_the_order_of_images_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_group(&images, 9, Some(2));
    // Nine different pictures: which ones are references depends on their content.
    for i in 0..9 {
        let mut photo = photo(i, i == 2);
        photo.put_pixel(0, 0, Rgb([i as u8; 3]));
        photo.save(images.join(format!("{i:03}.png"))).unwrap();
    }
    let config = settings(folder.path(), "method = \"musc\"\n[model.group]\nreferences = 7");
    let mut paths: Vec<_> = (0..9).map(|i| images.join(format!("{i:03}.png"))).collect();
    let mut run = |flags: &[&str], reverse: bool| {
        if reverse {
            paths.reverse();
        }
        let mut command = fe_clip();
        command.args(["detect", "--group", "--format", "jsonl"]).args(flags).args(&paths);
        let output = command.arg("--config").arg(&config).assert().success().get_output().clone();
        let mut scores: Vec<(String, f64)> = lines(&output.stdout)
            .iter()
            .map(|l| (l["path"].to_string(), l["raw_score"].as_f64().unwrap()))
            .collect();
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        (scores, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (flags, others) in
        [(&[][..], 7), (&["--group-references", "4"], 4), (&["--group-references", "0"], 8)]
    {
        let (scores, said) = run(flags, false);
        assert!(said.contains(&format!("each with {others} others")), "{said}");
        assert_eq!(run(flags, true).0, scores, "{others}");
    }
    let mut command = fe_clip();
    let refused = command.args(["detect", "--group-references", "4"]).arg(&images).assert().code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("--group"));
}

#[test]
fn a_bad_image_is_named_and_the_others_are_a_group() {
    let folder = tempfile::tempdir().unwrap();
    write_group(folder.path(), 6, None);
    fs::write(folder.path().join("002.png"), b"no picture").unwrap();
    let mut command = fe_clip();
    command.args(["detect", "--group", "--format", "jsonl"]).arg(folder.path());
    let output = command.assert().code(1).get_output().clone();
    let found = lines(&output.stdout);
    assert_eq!(found.len(), 6);
    assert!(found[2]["error"].as_str().unwrap().contains("002.png"));
    assert!(found.iter().filter(|line| line["score"].is_f64()).count() == 5);

    fs::remove_file(folder.path().join("003.png")).unwrap();
    let mut command = fe_clip();
    command.args(["detect", "--group"]).arg(folder.path());
    let output = command.assert().code(2).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("at least 5 images") && said.contains("there are 4"), "{said}");
}

#[test]
fn images_that_are_all_the_same_score_zero() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..5 {
        photo(0, true).save(folder.path().join(format!("{i}.png"))).unwrap();
    }
    let config = settings(folder.path(), "method = \"musc\"");
    let mut command = fe_clip();
    command.args(["detect", "--group", "--format", "jsonl"]).arg(folder.path());
    let output = command.arg("--config").arg(config).assert().success().get_output().clone();
    for line in lines(&output.stdout) {
        assert!(line["raw_score"] == 0.0 && line["map_max"] == 0.0, "{line}");
    }
}

#[test]
fn what_a_group_seems_to_lack_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_group(&images, 6, Some(1));
    photo(1, true).save(images.join("copy.png")).unwrap();
    RgbImage::from_fn(400, 90, |x, y| {
        Rgb([(x * 7 % 256) as u8, (x * y % 251) as u8, (y * 31 % 256) as u8])
    })
    .save(images.join("other.png"))
    .unwrap();
    let config = settings(folder.path(), "group = { duplicates = 0.05 }\nbackbone = \"tiny\"");
    let mut command = fe_clip();
    command.args(["detect", "--group", "--format", "jsonl", "--config"]).arg(config).arg(&images);
    let output = command.assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("001.png and ") && said.contains("copy.png are nearly the same"),
        "{said}"
    );
    assert!(said.contains("very different sizes, 96x96 to 400x90"), "{said}");
    assert!(said.contains("other.png: differs so much from the others"), "{said}");
}

#[test]
fn methods_that_cannot_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_group(&images, 5, None);
    let refusal = |model: &str, flags: &[&str]| {
        let config = settings(folder.path(), model);
        let mut command = fe_clip();
        command.arg("detect").args(flags).arg(&images).arg("--config").arg(config);
        let output = command.assert().code(2).get_output().clone();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refusal("method = \"musc\"", &[]);
    assert!(said.contains("musc") && said.contains("--group"), "{said}");
    let said = refusal("method = \"winclip\"", &["--group"]);
    assert!(said.contains("winclip") && said.contains("every image by itself"), "{said}");
    let said = refusal("method = \"musc\"\ngroup = { stages = [1, 5] }", &["--group"]);
    assert!(said.contains("group.stages") && said.contains('5'), "{said}");
    let said = refusal("group = { neighbourhoods = [4] }", &["--group"]);
    assert!(said.contains("model.group.neighbourhoods"), "{said}");
}

#[test]
fn a_category_is_evaluated_as_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    write_group(&root.join("normal"), 6, None);
    fs::create_dir_all(root.join("anomalous")).unwrap();
    for i in 0..2 {
        photo(i, true).save(root.join(format!("anomalous/{i}.png"))).unwrap();
    }
    let out = folder.path().join("out");
    let config = folder.path().join("run.toml");
    for method in ["musc", "fe-clip"] {
        let text = format!(
            "[model]\nmethod = \"{method}\"\n[eval]\ngroup = true\n\
             datasets = [{{ name = \"folder\", root = \"data\" }}]\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = fe_clip();
        command.arg("eval").arg("--config").arg(&config).arg("--out").arg(&out);
        command.assert().success();
        let metrics: Value =
            serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
        assert_eq!(metrics["group"], true);
        let mean = &metrics["datasets"]["folder"]["mean"]["image"];
        assert_eq!(mean["auroc"], 1.0, "{method}: {mean}");
    }
    fs::remove_dir_all(root.join("normal")).unwrap();
    write_group(&root.join("normal"), 2, None);
    let mut command = fe_clip();
    command.arg("eval").arg("--config").arg(&config).arg("--out").arg(&out);
    let output = command.assert().code(2).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("at least 5 images"), "{said}");
}
