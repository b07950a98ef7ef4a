//! The message when a computation breaks off: a device out of memory, or a bug of the program.
//! Backends report both by a panic.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::process::ExitCode;

use crate::talk;

/// Runs the program; a panic ends it with one line and exit code 2.
pub(crate) fn guard(program: impl FnOnce() -> ExitCode) -> ExitCode {
    let trace = take_hook();
    set_hook(Box::new(move |info| {
        talk::error(explain(text(info), &place(info)));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            trace(info);
        }
    }));
    catch_unwind(AssertUnwindSafe(program)).unwrap_or(ExitCode::from(2))
}

fn text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map(ToString::to_string).unwrap_or_default()
}

/// The line for a panic's text and place.
fn explain(text: &str, place: &str) -> String {
    const NO_MEMORY: [&str; 5] =
        ["out of memory", "outofmemory", "can't allocate", "cannot allocate", "failed to allocate"];
    let lower = text.to_lowercase();
    if NO_MEMORY.iter().any(|words| lower.contains(words)) {
        let cause = text.lines().find(|line| {
            let lower = line.to_lowercase();
            NO_MEMORY.iter().any(|words| lower.contains(words))
        });
        return format!(
            "the device has no memory left: {}; a smaller `train.micro_batch_size` or \
             `model.image_size` needs less, and `--device flex` has the computer's own",
            cause.unwrap_or(text).trim()
        );
    }
    format!(
        "a fault of the program, at {place}: {}; please report it with the command that led to it \
         (RUST_BACKTRACE=1 tells more)",
        text.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_memory_is_told_from_a_fault() {
        let wgpu = "Failed to read:\n  can't allocate buffer of size 141557760\n  at stream 3";
        let line = explain(wgpu, "read.rs:1");
        assert!(line.starts_with("the device has no memory left: can't allocate buffer"), "{line}");
        assert!(!line.contains('\n') && !line.contains("stream"), "{line}");
        let cuda = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory.\")";
        assert!(explain(cuda, "").starts_with("the device has no memory left"));
        let other = explain("index out of bounds", "src/a.rs:3:4");
        assert!(other.starts_with("a fault of the program, at src/a.rs:3:4: index out of bounds"));
    }

    #[test]
    fn a_panic_becomes_exit_code_2() {
        let code = guard(|| panic!("broken off"));
        let _ = take_hook();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
