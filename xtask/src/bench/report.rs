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

#[derive(Serialize)]
pub(super) struct Report {
    /// Whether rounds were too few to be quoted.
    quick: bool,
    machine: Machine,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    system: String,
    rustc: String,
    revision: String,
    /// Processes that were running or waiting for a processor, averaged over a minute, at the start.
    load: f64,
}

impl Report {
    pub(super) fn new(quick: bool) -> Self {
        Self { quick, machine: Machine::here(), sections: Vec::new() }
    }

    pub(super) fn add(&mut self, title: &'static str, rows: Vec<Row>) {
        self.sections.push(Section { title, rows });
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
        let Machine { processor, cores, memory_gib, system, rustc, revision, load } = &self.machine;
        let mut page = format!(
            "# Speed beside the peers\n\n\
             Written by `cargo xtask bench`; each section is one run in which ours and the peers took turns, and the \
             fastest turn of each counts.\n\
             Ratios are the peer's time divided by ours: above 1 we are faster.\n\n\
             Machine: {processor}, {cores} cores, {memory_gib:.0} GiB, {system}, {rustc}, revision {revision}; load \
             {load:.1} at the start.\n"
        );
        if self.quick {
            page.push_str("\nA quick run: it shows that everything runs, not how fast.\n");
        }
        for Section { title, rows } in &self.sections {
            let _ = write!(
                page,
                "\n## {title}\n\n| what | unit | ours | peer | theirs | ratio |\n| --- | --- | --- | --- | --- | --- |\n"
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

impl Machine {
    fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string())
        };
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output
                .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib / f64::from(1 << 20),
            system: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            revision: said("git", &["describe", "--always", "--dirty"]),
            load: load.split(' ').next().and_then(|x| x.parse().ok()).unwrap_or_default(),
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
    fn the_page_has_a_row_and_its_ratio() {
        let mut report = Report::new(true);
        let row = r#"{"case": "a", "peer": "b", "ours": 2.0, "theirs": 3.0, "unit": "s"}"#;
        report.add("Title", vec![serde_json::from_str(row).unwrap()]);
        assert!(report.page().contains("## Title\n"));
        assert!(report.page().contains("| a | s | 2.00 | b | 3.00 | 1.50 |\n"));
        assert!(report.page().contains("A quick run"));
    }
}
