//! Results on standard output; nothing else writes there.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

/// Standard output was closed by its reader, as `head` does: no fault, but nothing is left to do.
#[derive(Debug)]
pub(crate) struct Closed;

/// Exit code of a program that a closed pipe ends, as the shell reports it.
pub(crate) const CLOSED: u8 = 141;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// Writes some lines byte for byte.
///
/// # Errors
/// [`Closed`], or if the system refuses them.
pub(crate) fn print(lines: impl AsRef<[u8]>) -> anyhow::Result<()> {
    put(std::io::stdout().lock(), lines.as_ref())
}

/// Writes some lines with their colours, if a terminal shows them.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_styled(lines: &str) -> anyhow::Result<()> {
    put(anstream::stdout().lock(), lines.as_bytes())
}

/// Writes the name of a file that was made.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_path(path: &Path) -> anyhow::Result<()> {
    print([path.as_os_str().as_encoded_bytes(), b"\n"].concat())
}

/// What is left in a buffer at the end would be lost in silence where a device is full.
fn put(mut out: impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        done => done.context("writing to standard output"),
    }
}
