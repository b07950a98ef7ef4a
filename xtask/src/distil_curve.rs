//! `cargo xtask distil-curve`: the curve of a distillation as a page of figures.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::results::{self, Source};

/// Steps whose errors are averaged before each point.
const AVERAGED: usize = 50;
/// Qualities of a point: key, heading.
const QUALITIES: [(&str, &str); 4] = [
    ("image_auroc", "procedural, image AUROC"),
    ("pixel_auroc", "procedural, pixel AUROC"),
    ("texture_image_auroc", "textures, image AUROC"),
    ("texture_pixel_auroc", "textures, pixel AUROC"),
];

/// Write what a run of `distil` logged as docs/results/distil.md.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  cargo xtask distil --references > target/tiny/references.jsonl\n  \
    cargo xtask distil-curve --log target/tiny/distilled/distil.jsonl --references target/tiny/references.jsonl"
)]
pub(crate) struct Args {
    /// Log of the run
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// What `distil --references` printed for the same corpus and seed
    #[arg(long, value_name = "FILE")]
    references: PathBuf,
    /// Folder for the page, distil.md and distil.json
    #[arg(long, default_value = "docs/results")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::here();
    let (log, references) = (lines(&args.log)?, lines(&args.references)?);
    let points = points(&log).with_context(|| args.log.display().to_string())?;
    let page = page(&source, &points, &references);
    let document = json!({ "source": source, "points": points, "references": references });
    results::write(&args.out, "distil", &page, &document)
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", path.display(), i + 1))
        })
        .collect()
}

/// The judged steps, each with the mean errors of the steps before it. A run that was resumed has logged some steps
/// twice; the last line of a step counts.
fn points(log: &[Value]) -> Result<Vec<Value>> {
    let mut steps: Vec<&Value> = Vec::new();
    for line in log {
        let step = line["step"].as_u64().context("a line without its step")?;
        while steps.last().is_some_and(|last| last["step"].as_u64() >= Some(step)) {
            steps.pop();
        }
        steps.push(line);
    }
    let mut points = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        if step["image_auroc"].is_null() {
            continue;
        }
        let part = &steps[(i + 1).saturating_sub(AVERAGED)..=i];
        let mean = |of: &dyn Fn(&Value) -> Option<f64>| {
            let values: Vec<f64> = part.iter().filter_map(|step| of(step)).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let stages = [0, 1, 2].map(|stage| mean(&|step| step["stages"][stage].as_f64()));
        let pooled = mean(&|step| step["pooled"].as_f64());
        let (number, rate) = (&step["step"], &step["rate"]);
        let mut point = json!({ "step": number, "rate": rate, "stages": stages, "pooled": pooled });
        for (key, _) in QUALITIES {
            point[key] = step[key].clone();
        }
        points.push(point);
    }
    ensure!(!points.is_empty(), "no step of it was judged");
    Ok(points)
}

fn page(source: &Source, points: &[Value], references: &[Value]) -> String {
    let mut out = format!(
        "# Distilling the image tower of tiny\n\n{source}\n\n\
         Errors are mean squared errors of the teacher's standardised channels, 1 for their mean, over the {AVERAGED} \
         steps before; AUROC in percent is that of the average of weights, with four normal images and a plain memory \
         bank of tokens after a third and two thirds of the layers, on procedural categories and textures that were \
         held out. The teacher is compared by its stages 3 and 5.\n\n| | learning rate | stage 3 | stage 5 | stage 7 | \
         pooled |"
    );
    for (_, title) in QUALITIES {
        let _ = write!(out, " {title} |");
    }
    let _ = write!(out, "\n|{}\n", " --- |".repeat(6 + QUALITIES.len()));
    let percent = |value: &Value| value.as_f64().map_or("-".into(), |v| format!("{v:.1}"));
    let error = |value: &Value| value.as_f64().map_or("-".into(), |v| format!("{v:.2}"));
    for reference in references {
        let name = reference["of"].as_str().unwrap_or_default();
        let _ = write!(out, "| {name} | | | | | |");
        for (key, _) in QUALITIES {
            let _ = write!(out, " {} |", percent(&reference["quality"][key]));
        }
        out.push('\n');
    }
    for point in points {
        let _ = write!(out, "| step {} | {} |", point["step"], error(&point["rate"]));
        for stage in 0..3 {
            let _ = write!(out, " {} |", error(&point["stages"][stage]));
        }
        let _ = write!(out, " {} |", error(&point["pooled"]));
        for (key, _) in QUALITIES {
            let _ = write!(out, " {} |", percent(&point[key]));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_done_again_counts_once() {
        let step = |step: usize, error: f64, judged: bool| {
            let mut line = json!({ "step": step, "rate": 1.0, "stages": [error, error, error], "pooled": error });
            if judged {
                line["image_auroc"] = json!(70.0);
                line["pixel_auroc"] = json!(80.0);
            }
            line
        };
        let log =
            [step(1, 4.0, false), step(2, 9.0, true), step(2, 2.0, false), step(3, 3.0, true)];
        let points = points(&log).expect("a judged step");
        assert_eq!(points.len(), 1);
        assert_eq!(points[0]["step"], 3);
        assert_eq!(points[0]["stages"][0], 3.0);
        let page = page(
            &Source::here(),
            &points,
            &[json!({ "of": "teacher", "quality": { "image_auroc": 90.0 } })],
        );
        assert!(page.contains("| teacher | | | | | | 90.0 | - | - | - |"), "{page}");
        assert!(
            page.contains("| step 3 | 1.00 | 3.00 | 3.00 | 3.00 | 3.00 | 70.0 | 80.0 | - | - |"),
            "{page}"
        );
        assert!(super::points(&[step(1, 1.0, false)]).is_err());
    }
}
