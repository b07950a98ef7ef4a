//! `detect --watch`: the images of a folder as they appear, each once, also after a restart.
//!
//! The folder is listed twice a second. Notifications of the system would be quicker, but the
//! network shares that cameras write to do not send them, and whether a file is complete shows
//! only in its standing still.

mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use data::find_images;
use fe_clip::{Error, Failed, Inspector};

use self::state::{Stamp, State};
use crate::inputs::is_below;
use crate::job::{Job, Outcome};
use crate::{interrupt, names, own, talk};

/// Between two looks at the folder; a file that did not change from one to the next is complete.
const PAUSE: Duration = Duration::from_millis(500);
/// A file that cannot be read is still being written if it was first seen as it is less than this
/// ago. Its own times are another clock's, and copies keep those of the original.
const SETTLED: Duration = Duration::from_secs(5);
const STATE: &str = ".fe-clip-watch.json";

/// A watched folder.
pub(crate) struct Watch {
    folder: PathBuf,
    /// The folder of outputs, where it is in the watched one: nothing below is an input.
    out: Option<PathBuf>,
    state_file: PathBuf,
    state: State,
    /// Whether the last change of the state was not written.
    unsaved: bool,
    /// Files at the last look that are not dealt with yet, and since when they are as they are.
    waiting: BTreeMap<PathBuf, (Stamp, Instant)>,
    /// Files that this run has dealt with and that are not done: a later run tries them again.
    put_off: BTreeMap<PathBuf, Stamp>,
}

impl Watch {
    /// Prepares to watch; goes on where the state file says.
    ///
    /// # Errors
    /// If the folder cannot be read, the state file is not one, or outputs would go right among
    /// the inputs.
    pub(crate) fn new(
        folder: &Path,
        out: Option<&Path>,
        state_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        std::fs::read_dir(folder).with_context(|| format!("--watch {}", folder.display()))?;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if out.is_some_and(|out| real(out) == real(folder)) {
            bail!("--out and --watch are one folder: the pictures would be taken for inputs");
        }
        let state_file = match state_file {
            Some(file) => file.to_owned(),
            None => out.unwrap_or(folder).join(STATE),
        };
        let mut state = State::read(&state_file)?;
        state.forget_missing(folder);
        state.write(&state_file)?;
        Ok(Self {
            folder: folder.to_owned(),
            out: out.map(real).filter(|out| out.starts_with(real(folder))),
            state_file,
            state,
            unsaved: false,
            waiting: BTreeMap::new(),
            put_off: BTreeMap::new(),
        })
    }

    /// Handles images until Ctrl-C.
    ///
    /// # Errors
    /// If standard output is closed or full.
    pub(crate) fn run(&mut self, inspector: &Inspector, job: &mut Job) -> anyhow::Result<()> {
        talk::note(format_args!(
            "watching {}; {} images were scored before; Ctrl-C ends",
            self.folder.display(),
            self.state.len()
        ));
        let mut lost = Vec::new();
        while !interrupt::asked() {
            let before = std::mem::take(&mut lost);
            for (path, stamp, since) in self.look(&mut lost) {
                if interrupt::asked() {
                    break;
                }
                self.handle((inspector, job), path, stamp, since)?;
            }
            // What was told at the last look is not told again; a share may come back.
            for reason in lost.iter().filter(|reason| !before.contains(reason)) {
                talk::warning(reason);
            }
            if self.unsaved {
                self.save();
            }
            for _ in 0..5 {
                if !interrupt::asked() {
                    std::thread::sleep(PAUSE / 5);
                }
            }
        }
        for path in self.waiting.keys() {
            let path = self.folder.join(path);
            talk::warning(format_args!("{}: not complete yet, not scored", path.display()));
        }
        talk::note(format_args!("stopped; {} images scored, {} failed", job.scored, job.failed));
        Ok(())
    }

    /// Scores one file, unless it turns out to be incomplete.
    fn handle(
        &mut self,
        (inspector, job): (&Inspector, &mut Job),
        path: PathBuf,
        stamp: Stamp,
        since: Instant,
    ) -> anyhow::Result<()> {
        let full = self.folder.join(&path);
        if own::is_own(&full) {
            self.put_off.insert(path, stamp);
            return Ok(());
        }
        let hash = fe_clip::files::sha256(&full).ok();
        if self.state.is_done_by_content(&path, stamp, hash.as_deref()) {
            self.save();
            return Ok(());
        }
        let found = inspector.inspect_one(&full);
        let unreadable = matches!(&found, Err(Failed { error: Error::Data(_), .. }));
        if unreadable && since.elapsed() < SETTLED {
            self.waiting.insert(path, (stamp, since));
            return Ok(());
        }
        let stem = names::assign(&[(&self.folder, &full)]).swap_remove(0);
        match job.handle(&stem, found)? {
            Outcome::Complete => {
                self.state.add(&path, stamp, hash);
                self.save();
            }
            Outcome::Unsaved | Outcome::Failed => {
                self.put_off.insert(path, stamp);
            }
        }
        Ok(())
    }

    /// Files that are complete and not dealt with, in order; the others are waited for. `lost`
    /// takes why some cannot be seen.
    fn look(&mut self, lost: &mut Vec<String>) -> Vec<(PathBuf, Stamp, Instant)> {
        if let Err(error) = std::fs::read_dir(&self.folder) {
            lost.push(format!("--watch {}: {error}", self.folder.display()));
            return Vec::new();
        }
        // An empty folder is no error here.
        let found = find_images(&self.folder).unwrap_or_default();
        let (mut waiting, mut ready) = (BTreeMap::new(), Vec::new());
        for full in found {
            let full = match full {
                Ok(full) => full,
                Err(error) => {
                    lost.push(error.to_string());
                    continue;
                }
            };
            let Ok(path) = full.strip_prefix(&self.folder) else { continue };
            // It may be gone by now.
            let Ok(metadata) = full.metadata().or_else(|_| full.symlink_metadata()) else {
                continue;
            };
            let stamp = Stamp::new(&metadata);
            let known = self.state.is_done(path, stamp) || self.put_off.get(path) == Some(&stamp);
            if known || self.out.as_ref().is_some_and(|out| is_below(&full, out)) {
                continue;
            }
            match self.waiting.get(path) {
                Some(&(seen, since)) if seen == stamp => {
                    // A file without content is about to get some.
                    let started = stamp.bytes > 0 || since.elapsed() >= SETTLED;
                    if started {
                        ready.push((path.to_owned(), stamp, since));
                    } else {
                        waiting.insert(path.to_owned(), (stamp, since));
                    }
                }
                _ => {
                    waiting.insert(path.to_owned(), (stamp, Instant::now()));
                }
            }
        }
        self.waiting = waiting;
        ready
    }

    /// Writes the state; a full disk may have room again later.
    fn save(&mut self) {
        let before = std::mem::replace(&mut self.unsaved, false);
        if let Err(error) = self.state.write(&self.state_file) {
            self.unsaved = true;
            if !before {
                let reason = talk::reason(&error);
                talk::warning(format_args!("{reason}; images since then may be scored again"));
            }
        }
    }
}
