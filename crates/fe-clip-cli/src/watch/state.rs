//! What a watch has done, in a file.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use data::path_text::{from_text, to_text};
use fe_clip::files::{read_to_string, write_atomic};
use serde::{Deserialize, Serialize};

/// Which files were handled, by their path below the folder.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format: String,
    done: BTreeMap<String, Done>,
}

const FORMAT: &str = "fe-clip-watch 2";
/// Without what tells a file's content.
const FORMER: &str = "fe-clip-watch 1";

/// A file that was scored, as it was then.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    bytes: u64,
    modified: i64,
    changed: Option<i64>,
    sha256: Option<String>,
}

/// What tells a file from another of the same name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    /// When its content changed, as it says itself, in nanoseconds since 1970.
    modified: i64,
    /// When the system changed anything about it: copies that keep the time of the original have
    /// the same size and time before and after they are complete.
    changed: i64,
}

impl Stamp {
    pub(super) fn new(metadata: &Metadata) -> Self {
        let since = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i64,
            Err(before) => -(before.duration().as_nanos() as i64),
        };
        let modified = metadata.modified().map(since).unwrap_or_default();
        Self { bytes: metadata.len(), modified, changed: changed(metadata).unwrap_or(modified) }
    }
}

/// None where the system does not tell.
fn changed(metadata: &Metadata) -> Option<i64> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some(metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

impl State {
    /// Reads the file; one that is not there is empty.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.try_exists().with_context(|| path.display().to_string())? {
            return Ok(Self { format: FORMAT.into(), done: BTreeMap::new() });
        }
        let text = read_to_string(path)?;
        let mut state: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if ![FORMAT, FORMER].contains(&state.format.as_str()) {
            bail!("{}: expected format {FORMAT:?}, got {:?}", path.display(), state.format);
        }
        state.format = FORMAT.into();
        Ok(state)
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("encoding the state")?;
        Ok(write_atomic(path, &text)?)
    }

    pub(super) fn len(&self) -> usize {
        self.done.len()
    }

    /// Of files that are gone nothing need be known; where all are gone, a share is not there.
    pub(super) fn forget_missing(&mut self, folder: &Path) {
        let there = |path: &String| folder.join(from_text(path)).exists();
        if self.done.keys().any(there) {
            self.done.retain(|path, _| there(path));
        }
    }

    pub(super) fn add(&mut self, path: &Path, stamp: Stamp, sha256: Option<String>) {
        let Stamp { bytes, modified, changed } = stamp;
        let done = Done { bytes, modified, changed: Some(changed), sha256 };
        self.done.insert(to_text(path).into_owned(), done);
    }

    /// Whether a file is as it was when it was scored.
    pub(super) fn is_done(&self, path: &Path, stamp: Stamp) -> bool {
        let done = self.done.get(to_text(path).as_ref());
        done.is_some_and(|d| {
            d.is_at(stamp) && d.changed.is_none_or(|changed| changed == stamp.changed)
        })
    }

    /// Whether a file that has the same size and time has the same content, too; it is known by
    /// its new stamp then.
    pub(super) fn is_done_by_content(
        &mut self,
        path: &Path,
        stamp: Stamp,
        sha256: Option<&str>,
    ) -> bool {
        let Some(done) = self.done.get_mut(to_text(path).as_ref()) else { return false };
        let same = done.is_at(stamp) && sha256.is_some() && done.sha256.as_deref() == sha256;
        if same {
            done.changed = Some(stamp.changed);
        }
        same
    }
}

impl Done {
    fn is_at(&self, stamp: Stamp) -> bool {
        (self.bytes, self.modified) == (stamp.bytes, stamp.modified)
    }
}
