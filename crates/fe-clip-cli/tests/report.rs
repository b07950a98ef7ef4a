//! `--report` of `detect` and `eval`: the page, the tables, and that they say the same.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

/// The data that the page's script reads.
fn page_data(out: &Path) -> Value {
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    let start = "<script id=\"data\" type=\"application/json\">";
    let (_, rest) = page.split_once(start).unwrap();
    let (data, rest) = rest.split_once("</script>").unwrap();
    // The script that reads it is the only other one.
    assert_eq!(rest.matches("<script").count(), 1);
    serde_json::from_str(data).unwrap()
}

fn csv(out: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(out.join("results.csv")).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_string).collect()).collect()
}

/// The path that a relative address stands for.
fn percent_decoded(address: &str) -> String {
    let mut parts = address.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn detect_reports_every_input_even_with_a_name_that_is_markup() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    fs::create_dir_all(&parts).unwrap();
    RgbImage::from_fn(300, 200, |x, y| Rgb([x as u8, y as u8, 90]))
        .save(parts.join("a.png"))
        .unwrap();
    RgbImage::from_pixel(40, 60, Rgb([200, 90, 10])).save(parts.join("b.jpg")).unwrap();
    // A name may hold no slash, a path may.
    let nested = parts.join("<script>alert(1)<");
    fs::create_dir(&nested).unwrap();
    RgbImage::from_pixel(50, 50, Rgb([9, 9, 9])).save(nested.join("script>.png")).unwrap();
    fs::write(parts.join("c.png"), b"no image").unwrap();
    let out = folder.path().join("out");
    let output = fe_clip()
        .args(["detect", "--report", "--threshold", "0.3", "--out"])
        .arg(&out)
        .arg(&parts)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "c.png cannot be read");
    let lines: Vec<Value> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let data = page_data(&out);
    let rows = data["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(data["threshold"], 0.3);
    for (row, line) in rows.iter().zip(&lines) {
        assert_eq!(row["path"], line["path"]);
        for field in ["score", "raw_score"] {
            assert_eq!(row[field], line.get(field).cloned().unwrap_or(Value::Null));
        }
        assert!(row["truth"].is_null() && row["mask"].is_null());
        if let Some(overlay) = row["overlay"].as_str() {
            let file = out.join(percent_decoded(overlay));
            assert!(file.exists(), "{overlay} is linked but not there");
        }
    }
    let wide = rows.iter().find(|row| row["path"].as_str().unwrap().ends_with("a.png")).unwrap();
    assert_eq!(
        (wide["map"]["width"].as_u64(), wide["map"]["height"].as_u64()),
        (Some(48), Some(32))
    );
    let table = csv(&out);
    assert_eq!(table[0][..2], ["path".to_string(), "dataset".to_string()]);
    assert_eq!(table.len(), 5);
    let parquet = fs::read(out.join("results.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}

#[test]
fn eval_reports_truth_curves_and_the_metrics_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    fe_clip()
        .args(["synth", "--categories", "gear,hex_nut", "--size", "96", "--train-normal", "1"])
        .args(["--test-normal", "3", "--test-per-defect", "1", "--out"])
        .arg(&root)
        .assert()
        .success();
    let config = folder.path().join("run.toml");
    let text = "[[eval.datasets]]\nname = \"mvtec-ad\"\nroot = \"set\"\n";
    fs::write(&config, text).unwrap();
    let out = folder.path().join("out");
    let output = fe_clip()
        .args(["eval", "--report", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metrics: Value =
        serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
    let measured = &metrics["datasets"]["mvtec-ad"]["categories"];
    let data = page_data(&out);
    let rows = data["rows"].as_array().unwrap();
    for category in data["categories"].as_array().unwrap() {
        let name = category["name"].as_str().unwrap();
        assert_eq!(category["metrics"], measured[name]);
        // The trapezoids under the ROC curve are the AUROC.
        let points: Vec<(f64, f64)> = category["roc"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| (p[0].as_f64().unwrap(), p[1].as_f64().unwrap()))
            .collect();
        let area: f64 =
            points.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
        let auroc = measured[name]["image"]["auroc"].as_f64().unwrap();
        assert!((area - auroc).abs() < 1e-4, "{name}: {area}, {auroc}");
        let pro = category["pro"].as_array().unwrap();
        assert_eq!((pro[0][0].as_f64(), pro[0][1].as_f64()), (Some(0.0), Some(0.0)));
        assert_eq!(pro.last().unwrap()[0].as_f64(), Some(1.0));
        let anomalous = rows.iter().filter(|r| r["category"] == name && r["truth"] == true);
        assert_eq!(Some(anomalous.count() as u64), measured[name]["anomalous"].as_u64());
    }
    for row in rows {
        assert_eq!(row["truth"] == true, row["mask"].is_object(), "{row}");
        assert!(row["image"].as_str().unwrap().len() < 40_000);
    }
    assert_eq!(csv(&out).len(), rows.len() + 1);
}

#[test]
fn a_report_needs_a_folder() {
    let output = fe_clip().args(["detect", "--report", "a.png"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--out"));
}

/// A number after it was written as JSON and read again, which may round its last bit.
fn as_read(value: f64) -> Value {
    serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap()
}

/// With normal images scores pass 1; nothing that ranks may be cut there.
#[test]
fn a_few_shot_report_and_the_metrics_agree_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    fe_clip()
        .args(["synth", "--categories", "gear", "--size", "96", "--train-normal", "2"])
        .args(["--test-normal", "8", "--test-per-defect", "2", "--out"])
        .arg(&root)
        .assert()
        .success();
    // A weight that takes many sums beyond 1, and puts the same order on them.
    let config = folder.path().join("run.toml");
    let text = "[model]\nbackbone = \"tiny\"\nfew_weight = 20.0\n[eval]\nshots = 1\n\
                [[eval.datasets]]\nname = \"mvtec-ad\"\nroot = \"set\"\n";
    fs::write(&config, text).unwrap();
    let out = folder.path().join("out");
    let mut eval = fe_clip();
    eval.args(["eval", "--report", "--config"]).arg(&config).arg("--out").arg(&out);
    let output = eval.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metrics: Value =
        serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
    let measured = &metrics["datasets"]["mvtec-ad"]["categories"]["gear"]["image"];
    let table = csv(&out);
    let column = |name: &str| {
        let at = table[0].iter().position(|head| head == name).unwrap();
        table[1..].iter().map(|row| row[at].clone()).collect::<Vec<_>>()
    };
    let numbers =
        |name: &str| column(name).iter().map(|n| n.parse().unwrap()).collect::<Vec<f64>>();
    let (scores, raw) = (numbers("score"), numbers("raw_score"));
    assert!(raw.iter().filter(|raw| **raw > 1.0).count() > 3, "{raw:?}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    for (i, j) in (0..raw.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
        assert_eq!(raw[i].total_cmp(&raw[j]), scores[i].total_cmp(&scores[j]));
    }
    // What follows from either column of the table is what was measured.
    let labels = ndarray::Array1::from_iter(column("truth").iter().map(|t| t == "anomalous"));
    for values in [&scores, &raw] {
        let values = ndarray::Array1::from(values.clone());
        let (s, l) = (values.view(), labels.view());
        assert_eq!(measured["auroc"], as_read(metrics::auroc(s, l).unwrap()));
        assert_eq!(measured["ap"], as_read(metrics::average_precision(s, l).unwrap()));
        assert_eq!(measured["f1_max"], as_read(metrics::f1_max(s, l).unwrap().value));
    }
    let data = page_data(&out);
    let category = &data["categories"][0];
    assert_eq!(category["metrics"]["image"], *measured);
    let points: Vec<(f64, f64)> = category["roc"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p[0].as_f64().unwrap(), p[1].as_f64().unwrap()))
        .collect();
    let area: f64 = points.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
    assert!((area - measured["auroc"].as_f64().unwrap()).abs() < 1e-14, "{area}, {measured}");
    for ((row, score), raw) in data["rows"].as_array().unwrap().iter().zip(&scores).zip(&raw) {
        assert_eq!((&row["score"], &row["raw_score"]), (&as_read(*score), &as_read(*raw)));
    }
    // The page starts where F1 is largest, and decides there as the raw scores do.
    let level = &data["threshold"];
    assert!(scores.iter().any(|score| as_read(*score) == *level), "{level}");
}
