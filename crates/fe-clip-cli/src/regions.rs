//! Which regions count, and what is told of them beside one another: flags, and a row's columns.

use anyhow::bail;
use fe_clip::{Region, RegionRule, Thresholds};

/// Flags that say which regions count.
#[derive(Debug, clap::Args)]
pub(crate) struct RegionArgs {
    /// A region reaches as far as the map is at least this, and counts where it reaches the
    /// threshold somewhere. Default: the threshold.
    #[arg(long, value_name = "X")]
    region_low: Option<f32>,
    /// Leave out regions smaller than this: in pixels of the image, in mm² with --scale.
    #[arg(long, value_name = "AREA")]
    min_area: Option<f64>,
    /// Size of a pixel of the images; areas are told in mm², too.
    #[arg(long, value_name = "MM_PER_PIXEL")]
    scale: Option<f64>,
}

impl RegionArgs {
    /// What the flags say, for these thresholds.
    ///
    /// # Errors
    /// If a number is out of its range, or there is no threshold that makes regions.
    pub(crate) fn rule(&self, thresholds: Option<Thresholds>) -> anyhow::Result<RegionRule> {
        let Self { region_low, min_area, scale } = *self;
        let given = [
            ("--region-low", region_low.is_some()),
            ("--min-area", min_area.is_some()),
            ("--scale", scale.is_some()),
        ];
        let first = given.iter().find(|(_, given)| *given);
        if let (Some((flag, _)), None) = (first, thresholds) {
            bail!("{flag} needs --threshold or --calibration: without them there are no regions");
        }
        if let (Some(low), Some(Thresholds { pixel, .. })) = (region_low, thresholds)
            && !(0.0..=pixel).contains(&low)
        {
            bail!("--region-low: expected 0 to the pixel threshold, {pixel}, got {low}");
        }
        if let Some(area) = min_area.filter(|area| !(area.is_finite() && *area >= 0.0)) {
            bail!("--min-area: expected a number from 0 on, got {area}");
        }
        if let Some(scale) = scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            bail!("--scale: expected millimetres a pixel above 0, got {scale}");
        }
        let pixel = self.pixel_area().unwrap_or(1.0);
        Ok(RegionRule { low: region_low, min_area: min_area.unwrap_or(0.0) / pixel })
    }

    /// Area of a pixel in mm², where it is known.
    pub(crate) fn pixel_area(&self) -> Option<f64> {
        self.scale.map(|scale| scale * scale)
    }
}

/// The regions of an image in a row of a table.
#[derive(Clone, Default)]
pub(crate) struct Summary {
    /// How many there are; absent without a threshold.
    pub(crate) count: Option<usize>,
    /// The one of the largest area, of equals that of the highest peak.
    pub(crate) largest: Option<Largest>,
}

/// The largest region.
#[derive(Clone)]
pub(crate) struct Largest {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) area: u64,
    pub(crate) score: f32,
    pub(crate) area_mm2: Option<f64>,
    /// The zone that it lies in.
    pub(crate) zone: Option<String>,
}

impl Summary {
    /// Of regions, the highest peak first; `pixel_area` in mm².
    pub(crate) fn of(regions: &[Region], pixel_area: Option<f64>) -> Self {
        // The last of equals is taken.
        let largest = regions.iter().rev().max_by_key(|region| region.area);
        let largest = largest.map(|region| {
            let Region { x, y, width, height, area, peak: score, .. } = *region;
            let zone = region.zone.clone();
            let area_mm2 = pixel_area.map(|pixel| pixel * area as f64);
            Largest { x, y, width, height, area, score, area_mm2, zone }
        });
        Self { count: Some(regions.len()), largest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: u32, area: u64, peak: f32) -> Region {
        Region { x, y: 2, width: 3, height: 4, area, peak, polygon: Vec::new(), zone: None }
    }

    #[test]
    fn the_largest_of_equals_has_the_highest_peak() {
        let regions = [region(0, 7, 0.9), region(1, 9, 0.8), region(2, 9, 0.7)];
        let Summary { count, largest } = Summary::of(&regions, Some(0.25));
        let largest = largest.unwrap();
        assert_eq!((count, largest.x, largest.area_mm2), (Some(3), 1, Some(2.25)));
        assert!(Summary::of(&[], None).largest.is_none());
    }

    #[test]
    fn numbers_out_of_range_and_missing_thresholds_are_named() {
        let flags = |region_low, min_area, scale| RegionArgs { region_low, min_area, scale };
        let half = Some(Thresholds::both(0.5));
        let rule = flags(Some(0.25), Some(2.0), Some(0.5)).rule(half).unwrap();
        assert_eq!(rule, RegionRule { low: Some(0.25), min_area: 8.0 });
        for (flags, thresholds, said) in [
            (flags(Some(0.6), None, None), half, "--region-low: expected 0 to"),
            (flags(Some(f32::NAN), None, None), half, "--region-low"),
            (flags(None, Some(-1.0), None), half, "--min-area"),
            (flags(None, None, Some(0.0)), half, "--scale"),
            (flags(None, Some(4.0), None), None, "--min-area needs --threshold"),
        ] {
            let error = flags.rule(thresholds).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
