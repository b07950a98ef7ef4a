//! The report as Markdown and as JSON, and the measurements in the model card.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::real::{REFERENCES, TEXTURES};
use super::{FE_CLIP, Measured, PLAIN, Row};
use crate::results::{METRICS, Source, difference, percent};

/// Means of rows over the categories in which all of them have a metric.
struct Means<'a> {
    title: String,
    rows: Vec<(&'a Row, [Option<f64>; METRICS.len()])>,
    /// Categories behind each metric.
    counts: [usize; METRICS.len()],
}

impl<'a> Means<'a> {
    fn new(title: &str, rows: &[&'a (Row, Value)], names: &BTreeSet<&str>) -> Self {
        let common = METRICS.map(|(level, metric, _)| {
            let all = |name: &&&str| {
                rows.iter().all(|(_, found)| value(found, name, level, metric).is_some())
            };
            names.iter().filter(all).copied().collect::<Vec<&str>>()
        });
        let mean = |found: &Value| {
            std::array::from_fn(|i| {
                let (level, metric, _) = METRICS[i];
                let values = common[i].iter().filter_map(|name| value(found, name, level, metric));
                let sum: f64 = values.sum();
                (!common[i].is_empty()).then(|| sum / common[i].len() as f64)
            })
        };
        let counts = std::array::from_fn(|i| common[i].len());
        let rows = rows.iter().map(|(row, found)| (row, mean(found))).collect();
        Self { title: title.into(), rows, counts }
    }

    /// The row of a method without references, if it is there and has every metric.
    fn of(&self, wanted: &Row) -> Option<[f64; METRICS.len()]> {
        let (_, means) = self.rows.iter().find(|(row, _)| row.title == wanted.title)?;
        let values: Option<Vec<f64>> = means.iter().copied().collect();
        values?.try_into().ok()
    }

    fn table(&self) -> String {
        let mut out = String::from("| |");
        for ((.., title), count) in METRICS.iter().zip(self.counts) {
            let _ = write!(out, " {title} ({count}) |");
        }
        let _ = write!(out, "\n| --- |{}\n", " --- |".repeat(METRICS.len()));
        for (row, means) in &self.rows {
            let _ = writeln!(out, "| {} | {} |", row.title, means.map(percent).join(" | "));
        }
        out
    }
}

/// The comparisons of a set: methods that need no reference over all categories, then all methods
/// over those with references, where that is another set; the same of textures.
fn comparisons(measured: &Measured) -> Vec<Means<'_>> {
    let rows: Vec<&(Row, Value)> = measured.rows.iter().collect();
    let alone: Vec<&(Row, Value)> =
        rows.iter().filter(|(row, _)| row.shots == 0 && !row.group).copied().collect();
    let all: BTreeSet<&str> = alone.iter().flat_map(|(_, found)| names(found)).collect();
    let textures: BTreeSet<&str> =
        all.iter().filter(|name| TEXTURES.contains(name)).copied().collect();
    let mut means = Vec::new();
    for (title, chosen) in [("all categories", all), ("textures", textures)] {
        if chosen.is_empty() {
            continue;
        }
        let without = Means::new(&format!("Without normal images, {title}"), &alone, &chosen);
        let mut with =
            Means::new(&format!("With and without normal images, {title}"), &rows, &chosen);
        if with.counts != without.counts {
            means.push(without);
            with.title += " that every row has";
        }
        means.push(with);
    }
    means
}

/// Tables of means and one of categories a set.
pub(super) fn markdown(source: &Source, results: &[Measured]) -> String {
    let mut out = format!(
        "# tiny, measured\n\n{source}\n`tiny.json` beside this page has every category of every row.\n\n\
         Percent. Means are over the categories in which every row of the table has the metric; \
         their number stands in brackets. A dash where a metric is undefined or a category has \
         too few normal images.\n\
         \"plain CLIP\" has the sentences, smoothing and image score of FE-CLIP and lacks its \
         adapters; \"category named\" has sentences that say what is looked at.\n\
         The real images are small samples of published data sets: they show a tendency. What they \
         were used to choose, the model card says.\n",
    );
    for set in results {
        let _ = write!(out, "\n## {}\n\n", set.title);
        if let Some(alarms) = set.alarms {
            let _ = write!(out, "{}\n\n", alarms_in_words(alarms));
        }
        let comparisons = comparisons(set);
        if let Some(text) = comparisons.first().and_then(verdict) {
            let _ = write!(out, "{text}\n\n");
        }
        for means in &comparisons {
            let _ = write!(out, "{}:\n\n{}\n", means.title, means.table());
        }
        out += "Image AUROC / pixel AUROC by category:\n\n| |";
        for (row, _) in &set.rows {
            let _ = write!(out, " {} |", row.title);
        }
        let _ = write!(out, "\n| --- |{}\n", " --- |".repeat(set.rows.len()));
        let categories: BTreeSet<&str> =
            set.rows.iter().flat_map(|(_, found)| names(found)).collect();
        for name in categories {
            let _ = write!(out, "| {name} |");
            for (_, found) in &set.rows {
                let cell = |level| percent(value(found, name, level, "auroc"));
                let _ = write!(out, " {} / {} |", cell("image"), cell("pixel"));
            }
            out.push('\n');
        }
    }
    let _ = write!(
        out,
        "\nFew-shot runs take their normal images from {REFERENCES} that are put aside and never \
         tested on; the spectral residual needs no model at all.\n"
    );
    out
}

/// What the adapters add, by the first comparison of a set.
fn verdict(means: &Means<'_>) -> Option<String> {
    Some(difference(&means.of(&FE_CLIP)?, &means.of(&PLAIN)?))
}

fn alarms_in_words((alarms, images): (usize, usize)) -> String {
    let share = 100.0 * alarms as f64 / images.max(1) as f64;
    format!(
        "`detect` labels {alarms} of the {images} normal images anomalous at its default threshold \
         ({share:.1} %)."
    )
}

/// Everything that the page was made from.
pub(super) fn document(source: &Source, results: &[Measured]) -> Value {
    let sets: Vec<Value> = results
        .iter()
        .map(|set| {
            let rows = set.rows.iter().map(|(row, found)| {
                json!({
                    "title": row.title, "method": row.method, "shots": row.shots,
                    "prompts": found["config"]["prompts"], "model": found["config"]["model"],
                    "categories": found["datasets"]["mvtec-ad"]["categories"],
                })
            });
            let means = comparisons(set).into_iter().map(|means| {
                let rows = means
                    .rows
                    .iter()
                    .map(|(row, means)| json!({ "title": row.title, "means": means }));
                json!({
                    "title": means.title, "metrics": METRICS.map(|(.., title)| title),
                    "categories": means.counts, "rows": rows.collect::<Vec<_>>(),
                })
            });
            let alarms =
                set.alarms.map(|(alarms, images)| json!({ "alarms": alarms, "normal": images }));
            json!({
                "title": set.title, "rows": rows.collect::<Vec<_>>(),
                "means": means.collect::<Vec<_>>(), "default_threshold": alarms,
            })
        })
        .collect();
    json!({ "source": source, "sets": sets })
}

/// Heading of the card's section that is written here.
const MEASURED: &str = "## Measured\n";

/// The model card with its measurements replaced.
///
/// # Errors
/// If it has no such section.
pub(super) fn card(card: &str, source: &Source, results: &[Measured]) -> Result<String> {
    let (before, rest) =
        card.split_once(MEASURED).context("the model card has no section \"Measured\"")?;
    let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
    let mut text = format!(
        "{before}{MEASURED}\n\
         This section is written by `cargo xtask evaluate-tiny` (revision {}, {}); \
         `docs/results/tiny.md` has every category and pictures. Percent, means over as many \
         categories as the brackets say.\n",
        &source.revision[..source.revision.len().min(12)],
        source.date.split('T').next().unwrap_or_default(),
    );
    for set in results {
        for means in comparisons(set).iter().filter(|means| means.title.contains("all categories"))
        {
            let _ = write!(text, "\n{}. {}:\n\n{}", set.title, means.title, means.table());
        }
        let words = [comparisons(set).first().and_then(verdict), set.alarms.map(alarms_in_words)];
        for sentence in words.into_iter().flatten() {
            let _ = write!(text, "\n{sentence}");
        }
        text.push('\n');
    }
    Ok(text + after)
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

fn names(found: &Value) -> impl Iterator<Item = &str> {
    let categories = found["datasets"]["mvtec-ad"]["categories"].as_object();
    categories.into_iter().flatten().map(|(name, _)| name.as_str())
}

fn value(found: &Value, category: &str, level: &str, metric: &str) -> Option<f64> {
    found["datasets"]["mvtec-ad"]["categories"][category][level][metric].as_f64()
}

#[cfg(test)]
mod tests {
    use super::super::ROWS;
    use super::*;

    /// `metrics.json` with the same number for all metrics of a category.
    fn found(categories: &[(&str, f64)]) -> Value {
        let each = categories.iter().map(|(name, value)| {
            let metrics = json!({ "auroc": value, "ap": value, "aupro": value });
            (name.to_string(), json!({ "image": metrics, "pixel": metrics }))
        });
        let categories: serde_json::Map<String, Value> = each.collect();
        json!({ "datasets": { "mvtec-ad": { "categories": categories } } })
    }

    #[test]
    fn means_are_over_the_categories_that_every_row_has() {
        let rows = ROWS.map(|row| match (row.shots, row.title) {
            (0, "FE-CLIP") => (row, found(&[("a", 0.9), ("b", 0.5), ("glass174", 0.7)])),
            (0, _) => (row, found(&[("a", 0.8), ("b", 0.6), ("glass174", 0.7)])),
            _ => (row, found(&[("a", 1.0)])),
        });
        let measured = [Measured { title: "Set", rows: rows.to_vec(), alarms: Some((1, 8)) }];
        let page = markdown(&Source::here(), &measured);
        assert!(
            page.contains("| | image AUROC (3) | image AP (3) | pixel AUROC (3) | AUPRO (3) |")
        );
        assert!(page.contains("| FE-CLIP | 70.0 | 70.0 | 70.0 | 70.0 |"), "{page}");
        assert!(page.contains("| | image AUROC (1) |"), "{page}");
        assert!(page.contains("| FE-CLIP | 90.0 | 90.0 | 90.0 | 90.0 |"), "{page}");
        assert!(page.contains("| FE-CLIP, 4 normals | 100.0 |"), "{page}");
        assert!(page.contains("FE-CLIP is level in image AUROC (+0.0)"), "{page}");

        let before = "# tiny\n\n## Measured\n\nearlier text\n\n## After\n\ntext\n";
        let card = card(before, &Source::here(), &measured).unwrap();
        assert!(card.starts_with("# tiny\n\n## Measured\n\nThis section"), "{card}");
        assert!(card.ends_with("(12.5 %).\n\n## After\n\ntext\n"), "{card}");
        assert!(!card.contains("earlier text"), "{card}");
        assert!(super::card("no section", &Source::here(), &measured).is_err());
    }
}
