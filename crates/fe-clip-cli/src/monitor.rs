//! `--monitor`: whether normal images still look like those of the calibration.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fe_clip::{Calibration, Monitor};
use serde::Serialize;

/// Whether to watch for a drift.
#[derive(clap::Args)]
pub(crate) struct MonitorArgs {
    /// Say when images that are called normal no longer look like those of --calibration; with a
    /// false alarm in at most RATE of all runs. RATE is 0.01 where --monitor stands alone.
    #[arg(
        long,
        value_name = "RATE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0.01",
        requires = "calibration",
        conflicts_with_all = ["group", "shard"]
    )]
    monitor: Option<f64>,
}

impl MonitorArgs {
    /// What the flag asks for, with the calibration's file; nothing without it.
    ///
    /// # Errors
    /// If the rate is none, or the file keeps no scores.
    pub(crate) fn start(
        &self,
        calibration: Option<&Path>,
        category: Option<&str>,
    ) -> anyhow::Result<Option<Watched>> {
        let (Some(rate), Some(file)) = (self.monitor, calibration) else { return Ok(None) };
        if !(rate > 0.0 && rate < 1.0) {
            bail!("--monitor: expected a rate between 0 and 1, got {rate}");
        }
        let calibration = Calibration::read_of(file, category)?;
        let monitor = Monitor::new(&calibration, rate, file).context("--monitor")?;
        Ok(Some(Watched { monitor, file: file.to_owned(), began: String::new(), told: false }))
    }
}

/// A run whose images are watched.
pub(crate) struct Watched {
    monitor: Monitor,
    file: PathBuf,
    /// The image where a drift would have begun.
    began: String,
    told: bool,
}

/// What is told of an image.
#[derive(Serialize)]
pub(crate) struct Evidence {
    /// Absent where the image is not called normal.
    p_value: Option<f64>,
    log10_martingale: f64,
    drift: bool,
}

impl Watched {
    /// Takes the next image; a drift is told once.
    pub(crate) fn observe(&mut self, path: &str, raw_score: f32) -> (Evidence, Option<String>) {
        let reading = self.monitor.observe(raw_score);
        if reading.p_value.is_some() && reading.watched == reading.began {
            self.began = path.to_owned();
        }
        let news = (reading.drift && !self.told).then(|| {
            format!(
                "drift: normal images no longer look like those of {}, since about {}, {} images ago",
                self.file.display(),
                self.began,
                reading.watched.saturating_sub(reading.began)
            )
        });
        self.told |= reading.drift;
        let fe_clip::Reading { p_value, log10_martingale, drift, .. } = reading;
        (Evidence { p_value, log10_martingale, drift }, news)
    }
}
