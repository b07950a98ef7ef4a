//! VisA: the tables in `split_csv` say which image is what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::mvtec;
use super::names::{folded, name};
use super::table::{Files, read_text};
use super::tree::{Tree, named, named_file, subfolders};
use crate::{Error, Split};

/// The columns that are read.
const COLUMNS: [&str; 5] = ["object", "split", "label", "image", "mask"];

/// Whether `root` is VisA as distributed, or converted.
pub(super) fn fits(root: &Path) -> bool {
    table(root).is_some() || mvtec::fits(root, &mvtec::GOOD)
}

/// Lists the one-class split, as the paper's protocol has it.
pub(super) fn list(root: &Path, tree: &mut Tree) -> Result<(), Error> {
    let Some(path) = table(root) else {
        mvtec::list(root, &mvtec::GOOD, tree); // spot-diff's and anomalib's conversions
        return Ok(());
    };
    let failed = |reason: String| Error::Table { path: path.clone(), reason };
    let text = read_text(&path)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(&text))
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| failed(e.to_string()))?.clone();
    let columns = COLUMNS.map(|name| header.iter().position(|c| c.eq_ignore_ascii_case(name)));
    let [Some(object), Some(split), Some(label), Some(image), Some(mask)] = columns else {
        let (expected, got) = (COLUMNS.join(","), header.iter().collect::<Vec<_>>().join(","));
        return Err(failed(format!("line 1: expected {expected}, got {got}")));
    };
    let mut files = Files::new(root);
    let mut listed = BTreeSet::new();
    let (mut line, mut seen) = (1, 0);
    for row in reader.records() {
        let row = row.map_err(|e| failed(e.to_string()))?;
        // The reader's own count is off by one after CR LF, and does not know empty lines.
        let mut start = row.position().map_or(0, |position| position.byte() as usize);
        start += text[start..].len() - text[start..].trim_start_matches(['\r', '\n']).len();
        line += text[seen..start].matches('\n').count();
        seen = start;
        let failed = |reason: String| failed(format!("line {line}: {reason}"));
        if row.iter().all(str::is_empty) {
            continue;
        }
        if row.len() != header.len() {
            let (expected, got) = (header.len(), row.len());
            return Err(failed(format!("expected {expected} fields, got {got}")));
        }
        let split = match row[split].to_ascii_lowercase().as_str() {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(failed(format!("expected train or test, got {other}"))),
        };
        let image = files.find(&row[image]).map_err(&failed)?;
        if !image.is_file() {
            tree.problem(image, format!("missing: listed in line {line} of split_csv/1cls.csv"));
            continue;
        }
        listed.insert(image.clone());
        match row[label].to_ascii_lowercase().as_str() {
            "normal" => tree.normal(image, &row[object], split),
            "anomaly" => {
                let written = Some(&row[mask]).filter(|mask| !mask.is_empty());
                let mask = written.map(|mask| files.find(mask)).transpose().map_err(&failed)?;
                let found = mask.clone().filter(|mask| mask.is_file());
                if found.is_none() {
                    let expected = mask.map_or("one in split_csv/1cls.csv".to_owned(), |m| {
                        m.display().to_string()
                    });
                    tree.problem(&image, format!("no mask: expected {expected}"));
                }
                tree.anomalous(image, &row[object], split, "anomaly", found);
            }
            other => return Err(failed(format!("expected normal or anomaly, got {other}"))),
        }
    }
    unlisted(root, &listed, tree);
    Ok(())
}

/// What separates the fields: spreadsheets of some countries write semicolons, others export tabs.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    *[b'\t', b';', b','].iter().max_by_key(|delimiter| count(delimiter)).unwrap_or(&b',')
}

/// Images on disk that the table does not know.
fn unlisted(root: &Path, listed: &BTreeSet<PathBuf>, tree: &mut Tree) {
    for category in subfolders(root).unwrap_or_default() {
        let Some(images) = named(&category, &["Data"]).and_then(|data| named(&data, &["Images"]))
        else {
            if folded(&name(&category)) != "split_csv" {
                tree.problem(category, "not read: not a category, expected Data/Images in it");
            }
            continue;
        };
        for folder in tree.folders(&images) {
            for image in tree.images(&folder) {
                if !listed.contains(&image) {
                    tree.problem(image, "not read: not listed in split_csv/1cls.csv");
                }
            }
        }
    }
}

fn table(root: &Path) -> Option<PathBuf> {
    named_file(&named(root, &["split_csv"])?, "1cls.csv")
}
