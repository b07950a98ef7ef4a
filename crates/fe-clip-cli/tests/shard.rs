//! `fe-clip detect --shard`: parts of a list make the whole, and none is computed twice.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::path::{Path, PathBuf};

use command::{errors, fe_clip};
use image::{Rgb, RgbImage};

/// Nine images and a list of them, in another order than that of their names.
fn images(folder: &Path) -> String {
    let path = |n: u32| folder.join(format!("{}.png", (n * 4) % 9));
    for n in 0..9 {
        let image = RgbImage::from_fn(60, 40, |x, y| Rgb([(x * n) as u8, (y * 5) as u8, 90]));
        image.save(path(n)).unwrap();
    }
    (0..9).map(|n| format!("{}\n", path(n).display())).collect()
}

fn parts(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    found.sort();
    found
}

#[test]
fn parts_make_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let list = images(folder.path());
    let whole = fe_clip(&["detect", "-"], &list);
    assert!(whole.status.success(), "{}", errors(&whole));
    let out = folder.path().join("out");
    let mut lines = Vec::new();
    for shard in ["0/4", "1/4", "2/4", "3/4"] {
        let part =
            fe_clip(&["detect", "-", "--shard", shard, "--out", out.to_str().unwrap()], &list);
        assert!(part.status.success(), "{}", errors(&part));
        lines.extend(part.stdout);
    }
    assert_eq!(lines, whole.stdout);
    assert_eq!(parts(&out).len(), 4);
    // The only part of a list is the table of a report.
    let both = folder.path().join("both");
    for flags in [["--shard", "0/1"].as_slice(), &["--report"]] {
        let arguments = ["detect", "-", "--save", "map", "--out", both.to_str().unwrap()];
        let done = fe_clip(&[&arguments, flags].concat(), &list);
        assert!(done.status.success(), "{}", errors(&done));
    }
    let [part, table] = &parts(&both)[..] else { panic!("expected two tables") };
    assert!(part.to_str().unwrap().ends_with("-00000-of-00001.parquet"));
    assert_eq!(fs::read(part).unwrap(), fs::read(table).unwrap());
}

#[test]
fn a_list_in_a_file_is_that_of_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let list = images(folder.path());
    let out = folder.path().join("out");
    let part = ["--shard", "1/3", "--out", out.to_str().unwrap()];
    let expected = fe_clip(&[&["detect", "-"], &part[..]].concat(), &list);
    assert!(expected.status.success(), "{}", errors(&expected));
    let run = parts(&out);
    let table = fs::read(&run[0]).unwrap();

    let text = folder.path().join("list.txt");
    fs::write(&text, &list).unwrap();
    let lines = folder.path().join("list.jsonl");
    let json = |path: &str| format!("{}\n", serde_json::json!({"path": path, "line": 1}));
    fs::write(&lines, list.lines().map(json).collect::<String>()).unwrap();
    let columns = folder.path().join("list.csv");
    fs::write(&columns, format!("path\n{list}")).unwrap();
    let whole = folder.path().join("whole");
    let report = ["detect", "-", "--shard", "0/1", "--out", whole.to_str().unwrap()];
    assert!(fe_clip(&report, &list).status.success());
    // What a run wrote is the list of another.
    for file in [&text, &lines, &columns, &parts(&whole)[0]] {
        fs::remove_file(&run[0]).unwrap();
        let of_file = ["detect", "--list", file.to_str().unwrap()];
        let output = fe_clip(&[&of_file, &part[..]].concat(), "");
        assert!(output.status.success(), "{}", errors(&output));
        assert_eq!(output.stdout, expected.stdout, "{}", file.display());
        assert_eq!(parts(&out), run, "the same run: the same name");
        assert_eq!(fs::read(&run[0]).unwrap(), table);
    }
    // A list is read and not replaced, and one that cannot be read is named.
    let report = folder.path().join("results.csv");
    fs::copy(&columns, &report).unwrap();
    let arguments = ["detect", "--list", report.to_str().unwrap(), "--report", "--out"];
    let refused = fe_clip(&[&arguments[..], &[folder.path().to_str().unwrap()]].concat(), "");
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors(&refused).contains("would replace"), "{}", errors(&refused));
    let missing = fe_clip(&["detect", "--list", "missing.parquet"], "");
    assert_eq!(missing.status.code(), Some(2));
    assert!(errors(&missing).contains("missing.parquet"), "{}", errors(&missing));
}

#[test]
fn a_finished_part_is_not_computed_again_and_other_runs_have_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let list = images(folder.path());
    let out = folder.path().join("out");
    let run = |flags: &[&str], list: &str| {
        let mut arguments = vec!["detect", "-", "--shard", "1/2", "--out", out.to_str().unwrap()];
        arguments.extend(flags);
        let output = fe_clip(&arguments, list);
        assert!(output.status.success(), "{}", errors(&output));
        output
    };
    assert!(!run(&[], &list).stdout.is_empty());
    let again = run(&[], &list);
    assert!(again.stdout.is_empty() && errors(&again).contains("finished before"));
    let written = fs::read(&parts(&out)[0]).unwrap();
    // An interrupted or removed part is made anew, with the same bytes.
    fs::remove_file(&parts(&out)[0]).unwrap();
    run(&[], &list);
    assert_eq!(fs::read(&parts(&out)[0]).unwrap(), written);

    let shorter = list.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    for (count, (flags, list)) in (2..).zip([
        (&["--threshold", "0.25"][..], &list),
        (&["--save", "map"], &list),
        (&[], &shorter),
    ]) {
        assert!(!run(flags, list).stdout.is_empty());
        assert_eq!(parts(&out).len(), count);
    }
}

#[test]
fn a_part_with_bad_images_is_finished_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let list = images(folder.path()) + "missing.png\n";
    let out = folder.path().join("out");
    let last = ["detect", "-", "--shard", "4/5", "--out", out.to_str().unwrap()];
    let failed = fe_clip(&last, &list);
    assert_eq!(failed.status.code(), Some(1));
    assert!(errors(&failed).contains("missing.png"));
    assert!(fe_clip(&last, &list).status.success());
    // More parts than images: some hold none.
    let empty = ["detect", "-", "--shard", "0/99", "--out", out.to_str().unwrap()];
    assert!(fe_clip(&empty, &list).status.success());
    assert_eq!(parts(&out).len(), 2);
    for flags in [
        &["--shard", "0/2"][..],
        &["--shard", "2/2", "--out", "o"],
        &["--shard", "0/2", "--out", "o", "--report"],
    ] {
        let output = fe_clip(&[&["detect", "-"], flags].concat(), &list);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
