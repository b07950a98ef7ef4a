//! The measurements as JSON and as a page.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::results::{self, Source};

/// One measurement of ours and a peer's.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    /// What was done.
    case: String,
    /// Who else did it.
    peer: String,
    ours: f64,
    theirs: f64,
    unit: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    /// Whether rounds were too few to be quoted.
    quick: bool,
    sections: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
struct Section {
    title: String,
    source: Source,
    rows: Vec<Row>,
}

impl Report {
    /// What the folder has, to be measured afresh section by section.
    pub(super) fn open(folder: &Path, quick: bool) -> Self {
        let text = std::fs::read(folder.join("bench.json")).unwrap_or_default();
        match serde_json::from_slice::<Self>(&text) {
            Ok(found) if found.quick == quick => found,
            _ => Self { quick, sections: Vec::new() },
        }
    }

    /// Runs a section and keeps its rows in the place of those of an earlier run.
    ///
    /// # Errors
    /// Those of the run.
    pub(super) fn measure(
        &mut self,
        title: &str,
        run: impl FnOnce() -> Result<Vec<Row>>,
    ) -> Result<()> {
        let source = Source::here();
        let section = Section { title: title.into(), source, rows: run()? };
        match self.sections.iter_mut().find(|earlier| earlier.title == title) {
            Some(earlier) => *earlier = section,
            None => self.sections.push(section),
        }
        Ok(())
    }

    /// Writes `bench.json` and `bench.md`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        results::write(folder, "bench", &self.page(), self)
    }

    fn page(&self) -> String {
        let mut page = String::from(
            "# Speed beside the peers\n\n\
             Each section is one run in which ours and the peers took turns, and the fastest turn of each counts; other \
             programs shared the machine.\n\
             Ratios are the peer's figure divided by ours: above 1 we need less; for a share of the peak, above 1 the peer \
             reaches more. `bench.json` beside this page has the figures.\n",
        );
        if self.quick {
            page.push_str("\nA quick run: it shows that everything runs, not how fast.\n");
        }
        for Section { title, source, rows } in &self.sections {
            let _ = write!(
                page,
                "\n## {title}\n\n{source}\n\n\
                 | what | unit | ours | peer | theirs | ratio |\n| --- | --- | --- | --- | --- | --- |\n"
            );
            for Row { case, peer, ours, theirs, unit } in rows {
                let ratio = theirs / ours;
                let (ours, theirs) = (digits(*ours), digits(*theirs));
                let _ =
                    writeln!(page, "| {case} | {unit} | {ours} | {peer} | {theirs} | {ratio:.2} |");
            }
        }
        page
    }
}

/// Three significant digits.
fn digits(x: f64) -> String {
    let before = if x > 0.0 { x.log10().floor() as i32 } else { 0 };
    format!("{x:.*}", (2 - before).clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.001234, 0.1234, 1.234, 12.34, 123.4, 12345.6].map(digits);
        assert_eq!(shown, ["0.00", "0.00123", "0.123", "1.23", "12.3", "123", "12346"]);
    }

    #[test]
    fn a_section_is_measured_afresh_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let row = |ours| {
            let row = format!(
                r#"{{"case": "a", "peer": "b", "ours": {ours}, "theirs": 3.0, "unit": "s"}}"#
            );
            Ok(vec![serde_json::from_str(&row).unwrap()])
        };
        let mut report = Report::open(folder.path(), true);
        report.measure("First", || row(2.0)).unwrap();
        report.measure("Second", || row(1.0)).unwrap();
        report.write(folder.path()).unwrap();
        let mut report = Report::open(folder.path(), true);
        assert!(report.measure("First", || anyhow::bail!("no peer")).is_err());
        assert!(report.page().contains("| a | s | 2.00 | b | 3.00 | 1.50 |\n"));
        report.measure("First", || row(6.0)).unwrap();
        let page = report.page();
        assert!(page.contains("## First\n") && page.contains("## Second\n"));
        assert!(page.contains("| a | s | 6.00 | b | 3.00 | 0.50 |\n"));
        assert!(page.contains("| a | s | 1.00 | b | 3.00 | 3.00 |\n"));
        assert!(page.contains("A quick run"));
        assert!(Report::open(folder.path(), false).sections.is_empty());
    }
}
