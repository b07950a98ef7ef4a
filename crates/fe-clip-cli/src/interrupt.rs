//! Ctrl-C: the images or the step in progress are finished, their results kept, then the program ends.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::talk;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C sets the flag that is returned; a second one ends the program at once.
///
/// # Errors
/// If the system refuses a handler.
pub(crate) fn catch() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        talk::note("stopping when what is in work is done; Ctrl-C again stops at once");
    })
    .context("setting up Ctrl-C")?;
    Ok(&ASKED)
}

/// Whether Ctrl-C was pressed.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
