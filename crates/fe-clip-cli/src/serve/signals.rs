//! What asks the server to end: Ctrl-C, and SIGTERM or, on Windows, Ctrl-Break.

use anyhow::Context;

#[cfg(unix)]
type Source = [tokio::signal::unix::Signal; 2];
#[cfg(windows)]
type Source = (tokio::signal::windows::CtrlC, tokio::signal::windows::CtrlBreak);

pub(super) struct Signals(Source);

impl Signals {
    /// From now on these signals no longer end the program by themselves.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Self::source().context("listening for signals").map(Self)
    }

    #[cfg(unix)]
    fn source() -> std::io::Result<Source> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
    }

    #[cfg(windows)]
    fn source() -> std::io::Result<Source> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        Ok((ctrl_c()?, ctrl_break()?))
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        let [interrupt, terminate] = &mut self.0;
        #[cfg(windows)]
        let (interrupt, terminate) = &mut self.0;
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    }
}
