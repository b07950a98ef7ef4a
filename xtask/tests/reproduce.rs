//! `cargo xtask reproduce --profile quick`: all tables by two processes that share the work, and their merge; a training
//! that failed goes on.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// The quick run with one step a training, so that it takes a minute; from the root of the
/// repository, where the embedded weights and the paper's tables are.
fn quick(data: &Path, out: &Path, more: &[&str]) -> Child {
    let mut command = reproduce(data, out, &["--max-steps", "1"]);
    command.args(more);
    // Built before by a test run of the whole workspace; else the task builds it.
    let program = Path::new(XTASK).with_file_name("fe-clip");
    if program.exists() {
        command.arg("--fe-clip").arg(program);
    }
    command.spawn().unwrap()
}

fn reproduce(data: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(XTASK);
    command.args(["reproduce", "--profile", "quick"]);
    command.arg("--data").arg(data).arg("--out").arg(out).args(more);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(run: Child) -> String {
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn shards_merge_into_complete_tables() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let parts = ["part1", "part2"].map(|name| folder.path().join(name));
    let shards = [("1/2", &parts[0]), ("2/2", &parts[1])];
    let running = shards.map(|(shard, out)| quick(&data, out, &["--shard", shard]));
    running.into_iter().for_each(|shard| drop(finish(shard)));

    let all = folder.path().join("all");
    let [one, two] = parts.each_ref().map(|part| part.to_str().unwrap());
    let merged = finish(quick(&data, &all, &["--merge", one, "--merge", two]));
    assert!(merged.contains(" 0 to run, 0 without data"), "{merged}");

    // Every row that the program can run has a number of ours in every table.
    let mut reader = csv::Reader::from_path(all.join("tables.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let [table, dataset, ours] = ["table", "dataset", "ours_mean"].map(column);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for number in ["1", "2", "3", "4", "5", "6"] {
        let of_table = rows.iter().filter(|row| &row[table] == number);
        let measured: Vec<f64> = of_table
            .filter(|row| &row[dataset] == "Procedural")
            .map(|row| row[ours].parse().unwrap())
            .collect();
        assert!(!measured.is_empty(), "table {number} has no row of ours");
        assert!(measured.iter().all(|value| (0.0..=100.0).contains(value)), "{measured:?}");
    }
    // What is the paper's says so everywhere; what is ours is compared with nothing in a trial.
    let [kind, quoted, difference, method] = ["kind", "quoted", "difference", "method"].map(column);
    for row in &rows {
        assert_eq!(row[kind].contains("quoted"), !row[quoted].is_empty(), "{row:?}");
        assert!(row[difference].is_empty(), "{row:?}");
    }
    let own = rows.iter().find(|row| row[method].contains("memory-bank")).unwrap();
    assert_eq!(&own[kind], "measured");
    let json = std::fs::read(all.join("tables.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(json["source"]["command"].as_str().unwrap().starts_with("cargo xtask reproduce"));
    assert!(json["code"].as_str().is_some_and(|code| code.len() > 40), "{}", json["code"]);
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), rows.len());
    let peers = cells.iter().filter(|cell| cell["metric"] == "PRO, peers' routine");
    assert!(peers.clone().count() > 0);
    assert!(peers.flat_map(|cell| cell["ours"].as_array().unwrap()).all(|v| v.is_f64()));
    let markdown = std::fs::read_to_string(all.join("tables.md")).unwrap();
    let page = std::fs::read_to_string(all.join("tables.html")).unwrap();
    assert!(markdown.contains(" quoted |") && page.contains(" quoted"), "{markdown}");
    assert!(page.contains("they show that everything runs, and are not the paper's"));
    assert!(page.contains("Time of an image, one at a time, without decoding"), "{page}");
}

/// A training that ended after two of its steps is not begun again: its log keeps their lines, times and all.
#[cfg(unix)]
#[test]
fn a_training_that_failed_goes_on_where_it_was() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = Path::new(XTASK).with_file_name("fe-clip");
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--release", "--workspace", "--bin", "fe-clip"]);
        assert!(build.status().unwrap().success());
    }
    // The first training gets two steps, saves its state and fails; whatever comes later is the program itself.
    let script = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = train ] && mkdir {failed:?} 2>/dev/null; then\n\
         echo 'max_steps = 2' >> \"$3\"\n{program:?} \"$@\"\nrm \"$5/adapters.safetensors\"\nexit 1\nfi\n\
         exec {program:?} \"$@\"\n",
        failed = at("failed"),
    );
    fs::write(at("fails-once"), script).unwrap();
    fs::set_permissions(at("fails-once"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = || {
        let mut command = reproduce(&at("data"), &at("out"), &["--table", "3", "--shard", "1/4"]);
        command.arg("--fe-clip").arg(at("fails-once"));
        command.output().unwrap()
    };
    let trainings = |folder: &str| -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(at(folder)).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.join("train.jsonl").exists()).collect()
    };

    let first = run();
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(!first.status.success() && said.contains("its training failed"), "{said}");
    assert!(trainings("out").is_empty(), "a failed training counts as done");
    let [partial] = &trainings("out/partial")[..] else { panic!("{said}") };
    let before = fs::read_to_string(partial.join("train.jsonl")).unwrap();
    assert_eq!(before.lines().count(), 2);

    let second = run();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    let [done] = &trainings("out")[..] else { panic!("not one training") };
    let after = fs::read_to_string(done.join("train.jsonl")).unwrap();
    assert!(after.starts_with(&before), "{before}{after}");
    let step =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64();
    let steps: Vec<u64> = after.lines().map(|line| step(line).unwrap()).collect();
    assert!(steps.len() > 2 && steps.iter().zip(1..).all(|(step, n)| *step == n), "{steps:?}");
    assert!(done.join("adapters.safetensors").exists() && !done.join("state").exists());
    assert!(trainings("out/partial").is_empty());
}
