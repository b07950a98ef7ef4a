//! `fe-clip info`, `completions` and the flags that every command has.
#![allow(clippy::unwrap_used)]

use std::fs;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

const COMMANDS: [&str; 15] = [
    "detect",
    "calibrate",
    "train",
    "eval",
    "embed",
    "export",
    "metrics",
    "scan",
    "datasets",
    "synth",
    "spectrum",
    "info",
    "completions",
    "man",
    "serve",
];

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = fe_clip().args(args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn info_tells_what_the_embedded_model_is_made_of() {
    let found = json(&["info", "--format", "json"]);
    let tower = &found["backbone"]["image_tower"];
    assert_eq!(found["backbone"]["name"], "tiny");
    assert_eq!(found["backbone"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(found["backbone"]["sha256"], found["adapters"]["trained_on_backbone"]);
    let ends: Vec<u64> = serde_json::from_value(found["model"]["stage_ends"].clone()).unwrap();
    assert_eq!(ends.last(), Some(&tower["layers"].as_u64().unwrap()));
    assert_eq!(found["model"]["prompts"]["normal"][0], "A photo of a normal object");
    assert!(found["adapters"]["training"]["seed"].is_number());
    // What the tensors hold is what the assembled head has.
    let tensors = found["adapters"]["tensors"].as_object().unwrap();
    let size =
        |s: &Value| -> u64 { s.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product() };
    let total: u64 = tensors.values().map(size).sum();
    assert_eq!(found["adapters"]["parameters"].as_u64(), Some(total));
    let output = fe_clip().arg("info").output().unwrap();
    let lines = text(&output.stdout);
    assert!(lines.contains("stage_ends") && lines.contains("A photo of a damaged object"));
}

#[test]
fn info_reads_a_checkpoint_alone_and_refuses_what_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../fe-clip/assets/tiny/adapters.safetensors");
    let found = json(&["info", tiny, "--format", "json"]);
    assert!(found.get("backbone").is_none());
    assert_eq!(found["adapters"]["file"], tiny);
    assert_eq!(found["adapters"]["sha256"].as_str().unwrap().len(), 64);
    assert!(found["adapters"]["settings"]["lambda"].is_number());
    let other = folder.path().join("other.safetensors");
    fs::write(&other, b"no checkpoint").unwrap();
    let output = fe_clip().arg("info").arg(&other).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("other.safetensors"));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = fe_clip().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = text(&output.stdout);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    assert_eq!(fe_clip().args(["completions", "cmd"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let output = fe_clip().arg("man").arg(&pages).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), COMMANDS.len() + 1);
    let main = fs::read_to_string(pages.join("fe-clip.1")).unwrap();
    for command in COMMANDS {
        let page = fs::read_to_string(pages.join(format!("fe-clip-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Example"), "{command}: {page}");
        assert!(main.contains(&format!("fe\\-clip\\-{command}(1)")), "{command}: {main}");
    }
}

#[test]
fn every_command_helps_with_an_example() {
    for command in COMMANDS {
        let output = fe_clip().args([command, "--help"]).output().unwrap();
        assert!(output.status.success());
        let help = text(&output.stdout);
        assert!(help.contains(&format!("  fe-clip {command}")), "{command} shows no example");
        assert!(help.contains("--threads") && help.contains("--quiet"), "{command}");
    }
}

#[test]
fn threads_change_no_number_and_bad_flags_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.png");
    RgbImage::from_fn(70, 50, |x, y| Rgb([x as u8 * 3, y as u8 * 5, 40])).save(&image).unwrap();
    let score = |threads: &str| {
        let output = fe_clip().args(["--threads", threads, "detect"]).arg(&image).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    assert_eq!(score("1"), score("3"));
    for wrong in [["--threads", "0"], ["--threads", "many"], ["-v", "-q"]] {
        let output = fe_clip().args(wrong).arg("detect").arg(&image).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn instructions_that_there_are_not_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.png");
    RgbImage::from_pixel(40, 40, Rgb([90, 90, 90])).save(&image).unwrap();
    let mut command = fe_clip();
    let output = command.env("CLIP_VIT_INSTRUCTIONS", "avx1024").arg("detect").arg(&image).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let expected = "CLIP_VIT_INSTRUCTIONS: expected portable, avx2, avx-vnni, avx512 or products, got \"avx1024\"";
    assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
}

#[test]
fn quiet_says_errors_alone_and_verbose_says_more() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        RgbImage::from_pixel(40, 40, Rgb([90, 90, 90])).save(folder.path().join(name)).unwrap();
    }
    let said = |flags: &[&str]| {
        text(&fe_clip().arg("detect").args(flags).arg(folder.path()).output().unwrap().stderr)
    };
    assert!(said(&[]).contains("2 images in "));
    assert_eq!(said(&["-q"]), "");
    assert!(said(&["-v"]).contains("tiny in float32 at 240 pixels"));
    fs::write(folder.path().join("c.png"), b"").unwrap();
    let errors = said(&["-q"]);
    assert!(errors.contains("c.png"), "{errors}");
    // No terminal, no colour.
    assert!(!errors.contains('\u{1b}'));
}
