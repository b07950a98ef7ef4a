//! Figures that are kept: a page, the JSON that it was made from beside it, and where they come
//! from in both.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where figures come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The commit that was run, marked where files outside docs differed from it.
    pub(crate) revision: String,
    /// The command line that made them.
    pub(crate) command: String,
    /// When it was started: UTC, RFC 3339.
    pub(crate) date: String,
    /// Absent where that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<Machine>,
    /// Processes that were running or waiting for a processor at the start, averaged over a
    /// minute; absent where that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<f64>,
    /// How the figures came here, where not from the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    /// Those that our kernels or the libraries under us choose between.
    instruction_sets: Vec<String>,
    system: String,
    rustc: String,
}

impl Source {
    /// This run; to be called when it starts.
    pub(crate) fn here() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).map(quoted).collect();
        Self {
            revision: revision(&[":/", ":(top,exclude)docs"]).unwrap_or_else(|| "unknown".into()),
            command: format!("cargo xtask {}", arguments.join(" ")),
            date: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            machine: Some(Machine::here()),
            load: Some(load()),
            kept: None,
        }
    }
}

/// A sentence for a page.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, command, date, machine, load, kept } = self;
        let revision: String = match revision.split_once("-with-") {
            Some((commit, _)) => format!("{} with changes", &commit[..commit.len().min(12)]),
            None => revision.chars().take(12).collect(),
        };
        let day = date.split('T').next().unwrap_or_default();
        write!(f, "Made by `{command}` at revision {revision} on {day}")?;
        if let Some(machine) = machine {
            let Machine { processor, cores, memory_gib, instruction_sets, system, rustc } = machine;
            write!(
                f,
                ": {processor}, {cores} cores ({}), {memory_gib:.0} GiB, {system}, {rustc}",
                instruction_sets.join(" ")
            )?;
        }
        if let Some(load) = load {
            write!(f, "; load {load:.1} at the start")?;
        }
        if let Some(kept) = kept {
            write!(f, "; {kept}")?;
        }
        write!(f, ".")
    }
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
            instruction_sets: instruction_sets(),
            system: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
        }
    }
}

fn instruction_sets() -> Vec<String> {
    let mut found = Vec::new();
    macro_rules! ask {
        ($detected:ident: $($name:tt),*) => {
            $(if std::arch::$detected!($name) {
                found.push($name.to_string());
            })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    ask!(is_x86_feature_detected: "sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni");
    #[cfg(target_arch = "aarch64")]
    ask!(is_aarch64_feature_detected: "neon", "fp16", "dotprod", "i8mm", "sve");
    found
}

/// The last commit that touched these paths; with changes that are not committed, and a digest of
/// them, where there are some. None outside a repository.
pub(crate) fn revision(paths: &[&str]) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).arg("--").args(paths).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let commit = String::from_utf8(git(&["log", "-1", "--format=%H"])?).ok()?.trim().to_string();
    let changes = git(&["diff", "HEAD"])?;
    if commit.is_empty() || changes.is_empty() {
        return (!commit.is_empty()).then_some(commit);
    }
    let digest = format!("{:x}", Sha256::digest(changes));
    Some(format!("{commit}-with-{}", &digest[..12]))
}

/// Writes `NAME.md` and `NAME.json` into a folder, each at once; the JSON is what the page was
/// made from and holds a [`Source`] for every run.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(folder: &Path, name: &str, page: &str, figures: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let json = serde_json::to_string_pretty(figures).context("encoding the figures")? + "\n";
    for (extension, text) in [("json", json.as_str()), ("md", page)] {
        let path = folder.join(name).with_extension(extension);
        replace(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Writes a file under its name only when it is complete.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> Result<()> {
        let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
        file.write_all(content.as_ref())?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Temporary files are for their owner alone otherwise.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// An argument as a shell takes it.
fn quoted(argument: String) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:@+".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
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

/// The metrics that pages compare methods by: level and name in `metrics.json`, and title.
pub(crate) const METRICS: [(&str, &str, &str); 4] = [
    ("image", "auroc", "image AUROC"),
    ("image", "ap", "image AP"),
    ("pixel", "auroc", "pixel AUROC"),
    ("pixel", "aupro", "AUPRO"),
];

/// What FE-CLIP adds to plain CLIP with the same words, in words: fractions, in the order of
/// [`METRICS`].
pub(crate) fn difference(fe_clip: &[f64; 4], clip: &[f64; 4]) -> String {
    let points: Vec<(&str, f64)> = METRICS
        .iter()
        .zip(fe_clip.iter().zip(clip))
        .map(|((.., title), (ours, plain))| (*title, (1000.0 * (ours - plain)).round() / 10.0))
        .collect();
    let part = |place: &str, wanted: fn(f64) -> bool| {
        let named = points.iter().filter(|(_, points)| wanted(*points));
        let named: Vec<String> = named.map(|(title, d)| format!("{title} ({d:+.1})")).collect();
        (!named.is_empty()).then(|| format!("{place} in {}", named.join(", ")))
    };
    let parts =
        [part("above", |d| d > 0.0), part("level", |d| d == 0.0), part("below", |d| d < 0.0)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!(
        "Beside plain CLIP with the same sentences, smoothing and image score, FE-CLIP is {}; \
         points of the means.",
        parts.join(", ")
    )
}

/// A cell of a table: a fraction as percent, a dash where there is none.
pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{:.1}", 100.0 * value))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_page_and_its_json_say_where_they_come_from() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source { command: "cargo xtask x".into(), ..Source::here() };
        write(folder.path(), "x", &format!("# X\n\n{source}\n"), &source).unwrap();
        let page = std::fs::read_to_string(folder.path().join("x.md")).unwrap();
        assert!(page.contains("Made by `cargo xtask x` at revision "), "{page}");
        let json = std::fs::read(folder.path().join("x.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Source>(&json).unwrap(), source);
        assert_eq!(source.date.len(), "2026-01-02T03:04:05Z".len(), "{}", source.date);
        assert_eq!(source.revision.split('-').next().map(str::len), Some(40));
    }

    #[test]
    fn what_is_lost_is_said_like_what_is_gained() {
        let said = difference(&[0.60, 0.80, 0.9, 0.5], &[0.65, 0.80, 0.8, 0.5]);
        assert!(
            said.contains("FE-CLIP is above in pixel AUROC (+10.0), level in image AP"),
            "{said}"
        );
        assert!(said.contains("AUPRO (+0.0), below in image AUROC (-5.0); points"), "{said}");
    }

    #[test]
    fn arguments_are_quoted_where_a_shell_would_split_them() {
        let shown = ["--seeds=1", "a b", "", "it's"].map(|a| quoted(a.into()));
        assert_eq!(shown, ["--seeds=1", "'a b'", "''", r"'it'\''s'"]);
    }

    /// Rows of the tables of a page, cells trimmed, without heads and rules.
    fn rows(page: &str) -> Vec<Vec<String>> {
        let cells = |line: &str| -> Vec<String> {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            inner.split('|').map(|cell| cell.trim().to_string()).collect()
        };
        let lines: Vec<&str> = page.lines().collect();
        let rule = |line: &str| line.starts_with('|') && line.chars().all(|c| "|-: ".contains(c));
        let head = |i: usize| lines.get(i + 1).is_some_and(|next| rule(next));
        (0..lines.len())
            .filter(|&i| lines[i].starts_with('|') && !rule(lines[i]) && !head(i))
            .map(|i| cells(lines[i]))
            .collect()
    }

    /// Every object with a revision, a command and a date.
    fn sources(json: &Value, found: &mut usize) {
        let said = |key: &str| json[key].as_str().is_some_and(|text| !text.is_empty());
        *found += usize::from(["revision", "command", "date"].into_iter().all(said));
        match json {
            Value::Object(map) => map.values().for_each(|value| sources(value, found)),
            Value::Array(values) => values.iter().for_each(|value| sources(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_table_of_the_results_has_its_json_beside_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results");
        let mut pages = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let shown = rows(&std::fs::read_to_string(&path).unwrap());
            if shown.is_empty() {
                continue;
            }
            pages += 1;
            let path = path.with_extension("json");
            let json = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let json: Value = serde_json::from_slice(&json).unwrap();
            let mut found = 0;
            sources(&json, &mut found);
            assert!(found > 0, "{}: no source", path.display());
            // Pages that no task writes keep their tables as they are shown.
            if let Some(tables) = json["tables"].as_array() {
                assert_eq!(found, tables.len(), "{}: a table without source", path.display());
                let kept = tables.iter().flat_map(|t| t["rows"].as_array().unwrap());
                let kept: Vec<Vec<String>> =
                    kept.map(|row| serde_json::from_value(row.clone()).unwrap()).collect();
                assert_eq!(kept, shown, "{}", path.display());
            }
        }
        assert!(pages >= 7, "{pages} pages with tables");
    }
}
