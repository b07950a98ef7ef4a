//! The measurements as JSON and as a page.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

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
    machine: Machine,
    sections: Vec<Section>,
}

#[derive(Serialize, Deserialize)]
struct Section {
    title: String,
    /// The commit that was measured.
    revision: String,
    /// Processes that were running or waiting for a processor, averaged over a minute, at the start.
    load: f64,
    rows: Vec<Row>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    system: String,
    rustc: String,
}

impl Report {
    /// What the folder has of this machine, to be measured afresh section by section.
    pub(super) fn open(folder: &Path, quick: bool) -> Self {
        let text = std::fs::read(folder.join("bench.json")).unwrap_or_default();
        let (found, machine) = (serde_json::from_slice::<Self>(&text), Machine::here());
        match found {
            Ok(found) if found.quick == quick && found.machine == machine => found,
            _ => Self { quick, machine, sections: Vec::new() },
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
        let (revision, load) = (said("git", &["describe", "--always", "--dirty"]), load());
        let section = Section { title: title.into(), revision, load, rows: run()? };
        match self.sections.iter_mut().find(|earlier| earlier.title == title) {
            Some(earlier) => *earlier = section,
            None => self.sections.push(section),
        }
        Ok(())
    }

    /// Writes `bench.json` and `bench.md`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let json = serde_json::to_string_pretty(self).context("encoding the measurements")? + "\n";
        for (name, text) in [("bench.json", json), ("bench.md", self.page())] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    fn page(&self) -> String {
        let Machine { processor, cores, memory_gib, system, rustc } = &self.machine;
        let mut page = format!(
            "# Speed beside the peers\n\n\
             Written by `cargo xtask bench`; each section is one run in which ours and the peers took turns, and the \
             fastest turn of each counts.\n\
             Ratios are the peer's figure divided by ours: above 1 we need less; for a share of the peak, above 1 the peer reaches more.\n\n\
             Machine: {processor}, {cores} cores, {memory_gib:.0} GiB, {system}, {rustc}.\n"
        );
        if self.quick {
            page.push_str("\nA quick run: it shows that everything runs, not how fast.\n");
        }
        for Section { title, revision, load, rows } in &self.sections {
            let _ = write!(
                page,
                "\n## {title}\n\nRevision {revision}, load {load:.1} at the start.\n\n\
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

/// What a program printed; nothing if it cannot be run.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|x| x.parse().ok()).unwrap_or_default()
}

/// Three significant digits.
fn digits(x: f64) -> String {
    let before = if x > 0.0 { x.log10().floor() as i32 } else { 0 };
    format!("{x:.*}", (2 - before).clamp(0, 6) as usize)
}

impl Machine {
    fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib / f64::from(1 << 20),
            system: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
        }
    }
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
