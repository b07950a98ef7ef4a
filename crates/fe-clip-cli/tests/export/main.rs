//! `fe-clip export`: other runtimes give the numbers that `detect` gives.
//!
//! The comparison needs Python with the packages of `requirements.txt`: the one that
//! `FE_CLIP_PYTHON` names, else `python3`. Without them it says that it is skipped; the graph is
//! interpreted in Rust all the same, in the unit tests of the library.
#![allow(clippy::unwrap_used)]

mod models;
mod parity;
#[path = "../python/mod.rs"]
mod python;
mod refused;

use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};

fn fe_clip() -> Command {
    Command::cargo_bin("fe-clip").unwrap()
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{errors}");
    errors
}

/// Images of several shapes, with structure at every scale.
fn draw_images(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (n, (width, height)) in [(61, 47), (40, 40), (33, 70)].into_iter().enumerate() {
        let n = n as u32;
        let image = RgbImage::from_fn(width, height, |x, y| {
            let spot = if x / 9 % 4 == n && y / 7 % 3 == 1 { 120 } else { 0 };
            let noise = (x * 7919 + y * 104_729 + n * 31).wrapping_mul(2_654_435_761) >> 27;
            Rgb([(x * 3) as u8, (y * 2 + 40 * n) as u8, (60 + spot + noise) as u8])
        });
        image.save(folder.join(format!("{n}.png"))).unwrap();
    }
}
