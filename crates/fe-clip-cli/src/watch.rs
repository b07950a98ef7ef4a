//! `detect --watch`: the images of a folder as they appear, each once, also after a restart.
//!
//! The folder is listed twice a second. Notifications of the system would be quicker, but the
//! network shares that cameras write to do not send them, and whether a file is complete shows
//! only in its size standing still.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use fe_clip::files::write_atomic;
use serde::{Deserialize, Serialize};

use crate::inputs::Input;
use crate::job::{Job, Read};
use crate::{interrupt, talk};

/// Between two looks at the folder; a file that did not change from one to the next is complete.
const PAUSE: Duration = Duration::from_millis(500);
/// A file that cannot be read is still being written if it changed less than this ago.
const SETTLED: Duration = Duration::from_secs(5);
const STATE: &str = ".fe-clip-watch.json";

/// A watched folder.
pub(crate) struct Watch {
    folder: PathBuf,
    /// Nothing below is an input.
    out: Option<PathBuf>,
    state_file: PathBuf,
    state: State,
    /// Files at the last look that are not done yet.
    waiting: BTreeMap<PathBuf, Stamp>,
}

/// Which files were handled, by their path below the folder.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: String,
    done: BTreeMap<String, Stamp>,
}

const FORMAT: &str = "fe-clip-watch 1";

/// What tells a file from another of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u64,
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
        // Of files that are gone nothing need be known.
        state.done.retain(|path, _| folder.join(path).exists());
        let watch = Self {
            folder: folder.to_owned(),
            out: out.map(real),
            state_file,
            state,
            waiting: BTreeMap::new(),
        };
        watch.save()?;
        Ok(watch)
    }

    /// Handles images until Ctrl-C.
    ///
    /// # Errors
    /// If standard output is closed or the state cannot be written.
    pub(crate) fn run(&mut self, job: &mut Job) -> anyhow::Result<()> {
        talk::note(format_args!(
            "watching {}; {} images were scored before; Ctrl-C ends",
            self.folder.display(),
            self.state.done.len()
        ));
        let mut lost = false;
        while !interrupt::asked() {
            match self.ready() {
                Ok(ready) => {
                    lost = false;
                    for (path, stamp) in ready {
                        if interrupt::asked() {
                            break;
                        }
                        self.handle(job, path, stamp)?;
                    }
                }
                // A share may come back.
                Err(error) if !lost => {
                    lost = true;
                    talk::warning(format_args!("{error:#}"));
                }
                Err(_) => {}
            }
            for _ in 0..5 {
                if !interrupt::asked() {
                    std::thread::sleep(PAUSE / 5);
                }
            }
        }
        talk::note(format_args!("stopped; {} images scored, {} failed", job.done, job.failed));
        Ok(())
    }

    /// Scores one file, unless it turns out to be incomplete.
    fn handle(&mut self, job: &mut Job, path: PathBuf, stamp: Stamp) -> anyhow::Result<()> {
        let full = self.folder.join(&path);
        let input = Input { path: full, stem: self.stem(&path), error: None };
        let read = Read::new(&input, job.detector.preprocess());
        if read.image.is_err() && stamp.age() < SETTLED {
            self.waiting.insert(path, stamp);
            return Ok(());
        }
        job.handle(&mut vec![read])?;
        self.state.done.insert(key(&path), stamp);
        self.save()
    }

    /// Files that are complete and not done, in order; the others are waited for.
    fn ready(&mut self) -> anyhow::Result<Vec<(PathBuf, Stamp)>> {
        std::fs::read_dir(&self.folder)
            .with_context(|| format!("--watch {}", self.folder.display()))?;
        // An empty folder is no error here.
        let found = data::find_images(&self.folder).unwrap_or_default();
        let mut waiting = BTreeMap::new();
        let mut ready = Vec::new();
        for full in found.into_iter().flatten().filter(|path| !self.is_output(path)) {
            let Ok(path) = full.strip_prefix(&self.folder) else { continue };
            // It may be gone by now.
            let Ok(metadata) = full.metadata() else { continue };
            let stamp = Stamp::new(&metadata);
            if self.state.done.get(&key(path)) == Some(&stamp) {
                continue;
            }
            let started = stamp.bytes > 0 || stamp.age() >= SETTLED;
            if started && self.waiting.get(path) == Some(&stamp) {
                ready.push((path.to_owned(), stamp));
            } else {
                waiting.insert(path.to_owned(), stamp);
            }
        }
        self.waiting = waiting;
        Ok(ready)
    }

    fn is_output(&self, path: &Path) -> bool {
        let Some(out) = &self.out else { return false };
        path.canonicalize().is_ok_and(|path| path.starts_with(out))
    }

    /// The name of a file's outputs: its own without extension, unless another file that was
    /// scored has that one.
    fn stem(&self, path: &Path) -> PathBuf {
        let (own, plain) = (key(path), path.with_extension(""));
        let mut others = self.state.done.keys().filter(|other| **other != own);
        let taken = others.any(|other| Path::new(other).with_extension("") == plain);
        if taken { path.to_owned() } else { plain }
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&self.state).context("encoding the state")?;
        Ok(write_atomic(&self.state_file, &text)?)
    }
}

/// A path in the state.
fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl State {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { format: FORMAT.into(), done: BTreeMap::new() });
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let state: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if state.format != FORMAT {
            bail!("{}: expected format {FORMAT:?}, got {:?}", path.display(), state.format);
        }
        Ok(state)
    }
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = metadata.modified().map(since).unwrap_or_default();
        Self { bytes: metadata.len(), modified: modified.as_nanos() as u64 }
    }

    fn age(&self) -> Duration {
        let modified = UNIX_EPOCH + Duration::from_nanos(self.modified);
        SystemTime::now().duration_since(modified).unwrap_or_default()
    }
}
