//! The program with a list of paths on its standard input.

use std::process::Output;

use assert_cmd::Command;

pub(crate) fn fe_clip(arguments: &[&str], list: &str) -> Output {
    let mut command = Command::cargo_bin("fe-clip").unwrap();
    command.args(arguments).write_stdin(list).output().unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
