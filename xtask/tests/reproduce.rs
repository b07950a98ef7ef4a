//! `cargo xtask reproduce --profile quick`: all tables by two processes that share the work, and their merge.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// The quick run with one step a training, so that it takes a minute; from the root of the
/// repository, where the embedded weights and the paper's tables are.
fn quick(data: &Path, out: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(XTASK);
    command.args(["reproduce", "--profile", "quick", "--max-steps", "1"]);
    command.arg("--data").arg(data).arg("--out").arg(out).args(more);
    // Built before by a test run of the whole workspace; else the task builds it.
    let program = Path::new(XTASK).with_file_name("fe-clip");
    if program.exists() {
        command.arg("--fe-clip").arg(program);
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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
    for number in ["1", "2", "3", "4", "5"] {
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
