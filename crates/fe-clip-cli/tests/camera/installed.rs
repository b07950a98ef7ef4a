//! Whether the tests of cameras can run.

use std::io::Write;
use std::process::Command;

/// Whether there is an ffmpeg; else says loudly that nothing is tested.
pub(crate) fn installed(test: &str) -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !there {
        // Not by eprintln!, which is silent in a test that passes.
        let mut terminal = std::io::stderr();
        writeln!(terminal, "\n{test}: SKIPPED, no ffmpeg: apt-get install ffmpeg\n").unwrap();
    }
    there
}
