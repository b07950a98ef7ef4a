//! The report as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::real::{REFERENCES, TEXTURES};
use super::{Found, Measured, Row};

/// One table of means and one of categories a set.
pub(super) fn markdown(results: &[Measured], pictures: &str) -> String {
    let mut out = String::from(
        "# tiny, measured\n\n\
         Written by `cargo xtask evaluate-tiny`. Percent. Means over categories; a dash where a \
         metric is undefined or a category has too few normal images.\n\
         The real images are small samples of published data sets: they show a tendency. No real \
         image was used to train or choose anything but the false-alarm rate of the default \
         threshold (docs/calibration.md).\n",
    );
    for Measured { set, rows, alarms } in results {
        let _ = write!(out, "\n## {}\n\n", set.title);
        if let Some((alarms, images)) = alarms {
            let _ = write!(
                out,
                "`detect` labels {alarms} of the {images} normal images anomalous at its default threshold ({:.1} %).\n\n",
                100.0 * *alarms as f64 / (*images).max(1) as f64
            );
        }
        let categories: BTreeSet<String> = rows
            .iter()
            .filter_map(|(_, found)| found.as_ref())
            .flat_map(|found| categories(found).map(|(name, _)| name.clone()))
            .collect();
        let textures =
            |name: &String| TEXTURES.contains(&name.as_str()) && categories.contains(name);
        let groups: [(&str, Vec<&String>); 2] = [
            ("all categories", categories.iter().collect()),
            ("textures", categories.iter().filter(|name| textures(name)).collect()),
        ];
        for (title, names) in groups.iter().filter(|(_, names)| !names.is_empty()) {
            let _ = write!(
                out,
                "Means over {title} ({}):\n\n| | image AUROC | image AP | pixel AUROC | AUPRO |\n| --- | --- | --- | --- | --- |\n",
                names.len()
            );
            for (row, found) in rows {
                let Some(found) = found else { continue };
                let _ = write!(out, "| {} |", row.title);
                for metric in ["image/auroc", "image/ap", "pixel/auroc", "pixel/aupro"] {
                    let values: Vec<f64> =
                        names.iter().filter_map(|name| value(found, name, metric)).collect();
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let _ = write!(out, " {} |", percent((!values.is_empty()).then_some(mean)));
                }
                out.push('\n');
            }
            out.push('\n');
        }
        out += "Image AUROC / pixel AUROC by category:\n\n| |";
        let shown: Vec<&(Row, Found)> = rows.iter().filter(|(_, found)| found.is_some()).collect();
        shown.iter().for_each(|(row, _)| {
            let _ = write!(out, " {} |", row.title);
        });
        let _ = write!(out, "\n| --- |{}\n", " --- |".repeat(shown.len()));
        for name in &categories {
            let _ = write!(out, "| {name} |");
            for (_, found) in &shown {
                let cell = |metric| percent(found.as_ref().and_then(|f| value(f, name, metric)));
                let _ = write!(out, " {} / {} |", cell("image/auroc"), cell("pixel/auroc"));
            }
            out.push('\n');
        }
    }
    let _ = write!(
        out,
        "\nFew-shot runs take their normal images from {REFERENCES} that are put aside and never \
         tested on; the spectral residual needs no model at all.\n"
    );
    out + pictures
}

/// A section that shows pictures, by their paths from a folder; empty without any.
pub(super) fn pictures(pictures: &[PathBuf], base: &Path) -> Result<String> {
    if pictures.is_empty() {
        return Ok(String::new());
    }
    let base = std::path::absolute(base)?;
    let mut out = String::from(
        "\n## How it looks\n\nThe first damaged image of every held-out category, not chosen:\n\n",
    );
    for picture in pictures {
        let name = picture.file_stem().unwrap_or_default().to_string_lossy();
        let path = relative(&std::path::absolute(picture)?, &base);
        let _ = writeln!(out, "![{name}]({})", path.display());
    }
    Ok(out)
}

/// The way to a file from a folder, both absolute.
fn relative(file: &Path, folder: &Path) -> PathBuf {
    let shared = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

fn categories(found: &serde_json::Value) -> impl Iterator<Item = (&String, &serde_json::Value)> {
    found["datasets"]["mvtec-ad"]["categories"].as_object().into_iter().flatten()
}

fn value(found: &serde_json::Value, category: &str, metric: &str) -> Option<f64> {
    let (level, key) = metric.split_once('/')?;
    found["datasets"]["mvtec-ad"]["categories"][category][level][key].as_f64()
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{:.1}", 100.0 * value))
}
