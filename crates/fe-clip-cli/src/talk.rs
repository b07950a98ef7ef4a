//! What the program says on standard error: warnings, errors, progress. Results go to standard
//! output and never pass through here.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

/// How much is said; set once, by the flags of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Errors alone.
    Quiet,
    /// Errors, warnings, progress.
    Usual,
    /// What was loaded and how long it took, too.
    Verbose,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// Between two lines of progress where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// Sets the level; a second call changes nothing.
pub(crate) fn set(level: Level) {
    let _ = LEVEL.set(level);
}

fn level() -> Level {
    LEVEL.get().copied().unwrap_or(Level::Usual)
}

/// Says why something failed; never silenced.
pub(crate) fn error(text: impl Display) {
    say(Some((RED, "error:")), text);
}

/// Says what is odd but did not stop anything.
pub(crate) fn warning(text: impl Display) {
    if level() >= Level::Usual {
        say(Some((YELLOW, "warning:")), text);
    }
}

/// Says what happens, as a person at the terminal wants to know.
pub(crate) fn note(text: impl Display) {
    if level() >= Level::Usual {
        say(None, text);
    }
}

/// Says what only `--verbose` asks for.
pub(crate) fn detail(text: impl Display) {
    if level() >= Level::Verbose {
        say(None, text);
    }
}

/// A closed standard error is ignored: there is nowhere to report it.
fn say(head: Option<(Style, &str)>, text: impl Display) {
    let text = text.to_string();
    let text = visible(&text, &['\n', '\t']);
    let mut stderr = anstream::stderr().lock();
    let _ = match head {
        Some((style, head)) => writeln!(stderr, "{style}{head}{style:#} {text}"),
        None => writeln!(stderr, "{text}"),
    };
}

/// Text for a terminal: control characters, which names of files may hold, are written `\xhh`,
/// but for those to keep.
pub(crate) fn visible<'a>(text: &'a str, keep: &[char]) -> Cow<'a, str> {
    let hidden = |c: char| c.is_control() && !keep.contains(&c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match hidden(c) {
        true => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Why something failed: the causes, the outermost first, what was said once not said again.
pub(crate) fn reason(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            // A cause often begins with the file that was named before.
            let new = match cause.split_once(": ") {
                Some((named, rest)) if text.ends_with(named) => rest,
                _ => &cause,
            };
            text += ": ";
            text += new;
        }
    }
    text
}

/// Progress of a job: a bar with rate and remaining time on a terminal, now and then a line where
/// standard error goes to a file. Threads may share it.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Present where lines are written.
    lines: Option<Mutex<Instant>>,
    unit: &'static str,
    total: AtomicU64,
    done: AtomicU64,
    started: Instant,
}

impl Progress {
    /// Starts a job of so many units, named in the plural; 0 = not known yet.
    pub(crate) fn new(total: usize, unit: &'static str) -> Self {
        let (quiet, terminal) = (level() == Level::Quiet, std::io::stderr().is_terminal());
        let bar = if quiet || !terminal {
            ProgressBar::hidden()
        } else {
            let template =
                format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left {{msg}}");
            let style = ProgressStyle::with_template(&template).expect("the template is right");
            ProgressBar::new(total as u64).with_style(style)
        };
        let started = Instant::now();
        let lines = (!quiet && !terminal).then(|| Mutex::new(started));
        let (total, done) = (AtomicU64::new(total as u64), AtomicU64::new(0));
        Self { bar, lines, unit, total, done, started }
    }

    /// A job that shows nothing: its results already do.
    pub(crate) fn hidden() -> Self {
        let (total, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let started = Instant::now();
        Self { bar: ProgressBar::hidden(), lines: None, unit: "", total, done, started }
    }

    /// Corrects the number of units.
    pub(crate) fn set_total(&self, total: usize) {
        self.total.store(total as u64, Ordering::Relaxed);
        self.bar.set_length(total as u64);
    }

    /// One unit more is done.
    pub(crate) fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.show(done);
    }

    /// Sets how many units are done.
    pub(crate) fn set(&self, done: usize) {
        self.done.store(done as u64, Ordering::Relaxed);
        self.show(done as u64);
    }

    /// Sets the message after the bar.
    pub(crate) fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    fn show(&self, done: u64) {
        self.bar.set_position(done);
        let Some(lines) = &self.lines else { return };
        let mut last = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            let total = self.total.load(Ordering::Relaxed);
            note(line(done, total, self.unit, self.started.elapsed()));
        }
    }

    /// Hides the bar while something writes to the terminal.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Ends the job with one line, unless it was hidden or had but one unit.
    pub(crate) fn finish(self) {
        let shown = self.lines.is_some() || !self.bar.is_hidden();
        self.bar.finish_and_clear();
        let done = self.done.load(Ordering::Relaxed);
        if shown && done > 1 {
            let seconds = self.started.elapsed().as_secs_f64();
            let rate = done as f64 / seconds.max(1e-3);
            note(format!("{done} {} in {seconds:.1} s, {rate:.1}/s", self.unit));
        }
    }
}

/// One line of progress.
fn line(done: u64, total: u64, unit: &str, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
    let left = indicatif::FormattedDuration(Duration::from_secs_f64(left.min(1e9)));
    format!("{done}/{total} {unit}, {rate:.1}/s, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_remaining_time() {
        let text = line(30, 120, "images", Duration::from_secs(10));
        assert_eq!(text, "30/120 images, 3.0/s, 00:00:30 left");
    }

    #[test]
    fn each_cause_is_told_once() {
        let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let file = fe_clip::Error::Io { path: "a/b".into(), source: refused() };
        let said = anyhow::Error::new(file).context("--out a/b");
        assert_eq!(reason(&said), "--out a/b: permission denied");
        let said = anyhow::Error::new(refused()).context("making a/b").context("--out");
        assert_eq!(reason(&said), "--out: making a/b: permission denied");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\u{1b}[31m\n\u{9b}", &['\n']), "a\\x1b[31m\n\\xc2\\x9b");
        assert_eq!(visible("plain ü", &[]), "plain ü");
    }
}
