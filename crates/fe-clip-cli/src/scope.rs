//! Flags that say where to look.

use std::path::{Path, PathBuf};

use anyhow::Context;
use fe_clip::Scope;

/// Where `detect` and `calibrate` look.
#[derive(clap::Args)]
pub(crate) struct ScopeArgs {
    /// Look only here: a mask image, inside where it is not zero, or polygons, JSON
    /// `{"polygons": [[[x, y], ...], ...]}` in pixels of the images.
    #[arg(long, value_name = "FILE")]
    roi: Option<PathBuf>,
    /// Do not look here: a file as for --roi.
    #[arg(long, value_name = "FILE")]
    ignore: Option<PathBuf>,
}

impl ScopeArgs {
    /// What the flags say; none without them.
    ///
    /// # Errors
    /// If a file cannot be read or is neither a mask nor polygons.
    pub(crate) fn scope(&self) -> anyhow::Result<Option<Scope>> {
        let Self { roi, ignore } = self;
        let flag = match (roi, ignore) {
            (None, None) => return Ok(None),
            (Some(_), None) => "--roi",
            (None, Some(_)) => "--ignore",
            (Some(_), Some(_)) => "--roi and --ignore",
        };
        Scope::new(roi.as_deref(), ignore.as_deref()).map(Some).context(flag)
    }

    /// The files that they name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [self.roi.as_deref(), self.ignore.as_deref()].into_iter().flatten()
    }
}
