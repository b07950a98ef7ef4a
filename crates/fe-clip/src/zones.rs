//! Zones: parts of images that have a name, and thresholds of their own.

use std::path::{Path, PathBuf};

use data::{Limits, Preprocess, resize_mask};
use ndarray::{Array2, ArrayView2, Zip};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::files::hex;
use crate::geometry::Extent;
use crate::regions::{Region, RegionRule, regions};
use crate::shape::{Polygon, Shape};

/// Most zones of an image: what lies in none has the number 0.
const MOST: usize = 255;

/// Parts of images with names. Where several lie on one another the first one counts.
#[derive(Debug, Clone)]
pub struct Zones {
    path: PathBuf,
    zones: Vec<(String, Shape)>,
    sha256: String,
}

/// A file of zones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    zones: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    polygons: Option<Vec<Polygon>>,
    /// An image; relative paths lead from the file's folder.
    mask: Option<PathBuf>,
}

/// What a calibration remembers of zones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZonesIdentity {
    /// Their names, in the order of the file.
    pub names: Vec<String>,
    /// [`Zones::sha256`].
    pub sha256: String,
}

impl Zones {
    /// Reads a file, `{"zones": [{"name": "rim", "polygons": [[[x, y], …], …]}, {"name": "label",
    /// "mask": "label.png"}]}`; polygons and masks are those of a [`Scope`](crate::Scope).
    ///
    /// # Errors
    /// If it, or a mask, cannot be read, a zone has no name or that of another one, or no area; the
    /// message names the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let invalid = |reason: String| Error::invalid(path, reason);
        let Listed { zones: entries } = serde_json::from_slice(&bytes).map_err(|e| {
            invalid(format!("expected {{\"zones\": [{{\"name\": …, \"polygons\": …}}, …]}}: {e}"))
        })?;
        if !(1..=MOST).contains(&entries.len()) {
            return Err(invalid(format!("expected 1 to {MOST} zones, got {}", entries.len())));
        }
        let mut hasher = Sha256::new();
        hasher.update(Sha256::digest(&bytes));
        let mut zones: Vec<(String, Shape)> = Vec::with_capacity(entries.len());
        for Entry { name, polygons, mask } in entries {
            let of_zone = |reason: String| invalid(format!("zone {name:?}: {reason}"));
            if name.is_empty() || zones.iter().any(|(other, _)| *other == name) {
                return Err(of_zone("expected a name that no other zone has".into()));
            }
            let shape = match (polygons, mask) {
                (Some(polygons), None) => Shape::polygons(polygons).map_err(of_zone)?,
                (None, Some(mask)) => {
                    let mask = path.parent().unwrap_or(Path::new("")).join(mask);
                    let bytes = std::fs::read(&mask).map_err(|e| Error::io(&mask, e))?;
                    hasher.update(Sha256::digest(&bytes));
                    Shape::parse(&mask, &bytes, &Limits::default())
                        .map_err(|e| Error::invalid(&mask, e))?
                }
                _ => return Err(of_zone("expected polygons or a mask".into())),
            };
            zones.push((name, shape));
        }
        Ok(Self { path: path.to_owned(), zones, sha256: hex(hasher) })
    }

    /// A hash of all that decides which pixels lie in which zone.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What a calibration remembers of them.
    pub fn identity(&self) -> ZonesIdentity {
        let names = self.zones.iter().map(|(name, _)| name.clone()).collect();
        ZonesIdentity { names, sha256: self.sha256.clone() }
    }

    /// In which zone each pixel of an image of `size`, width and height, lies: 0 for none, else the
    /// zone's place in the file, from 1; `[height, width]`.
    ///
    /// # Errors
    /// If a mask has another size, or a polygon reaches beyond the image.
    pub fn on_image(&self, size: (u32, u32)) -> Result<Array2<u8>, Error> {
        let mut numbers = Array2::zeros((size.1 as usize, size.0 as usize));
        for (number, (name, shape)) in (1..=u8::MAX).zip(&self.zones) {
            let inside = shape
                .inside(size)
                .map_err(|e| Error::invalid(&self.path, format!("zone {name:?}: {e}")))?;
            Zip::from(&mut numbers).and(&inside).for_each(|found, inside| {
                if *inside && *found == 0 {
                    *found = number;
                }
            });
        }
        Ok(numbers)
    }

    /// The same of the pixels of the map: each lies in the zone that has more than half of it.
    ///
    /// # Errors
    /// Those of [`on_image`](Self::on_image), or if no pixel lies in a zone.
    pub(crate) fn on_map(&self, size: (u32, u32), frame: &Preprocess) -> Result<Array2<u8>, Error> {
        let on_image = self.on_image(size)?;
        let mut numbers = Array2::zeros((frame.height, frame.width));
        for (number, (name, _)) in (1..=u8::MAX).zip(&self.zones) {
            let inside = resize_mask(on_image.mapv(|found| found == number).view(), frame);
            let (mut any, (width, height)) = (false, size);
            Zip::from(&mut numbers).and(&inside).for_each(|found, inside| {
                if *inside {
                    (*found, any) = (number, true);
                }
            });
            if !any {
                let reason = format!(
                    "zone {name:?}: no pixel of the map of an image of {width} x {height} lies in it"
                );
                return Err(Error::invalid(&self.path, reason));
            }
        }
        Ok(numbers)
    }
}

/// From when on pixels are anomalous, by zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneLevels {
    names: Vec<String>,
    /// Of what lies in no zone, then of each zone.
    levels: Vec<f32>,
}

impl ZoneLevels {
    /// Those above thresholds: of what lies in no zone, and of each zone.
    pub(crate) fn above<'a>(
        elsewhere: f32,
        named: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Self {
        let (mut names, mut levels) = (Vec::new(), vec![elsewhere.next_up()]);
        for (name, threshold) in named {
            names.push(name.to_owned());
            levels.push(threshold.next_up());
        }
        Self { names, levels }
    }

    /// By the numbers of [`Zones::on_image`].
    pub fn levels(&self) -> &[f32] {
        &self.levels
    }

    /// The regions of a map, as [`regions`] finds them in each zone: they end at its border. The
    /// highest peak comes first.
    pub(crate) fn regions(
        &self,
        map: ArrayView2<'_, f32>,
        zones: ArrayView2<'_, u8>,
        rule: RegionRule,
        extent: &Extent,
        size: (u32, u32),
    ) -> Vec<Region> {
        let names = [None].into_iter().chain(self.names.iter().cloned().map(Some));
        let mut found = Vec::new();
        for (number, (zone, level)) in (0..=u8::MAX).zip(names.zip(&self.levels)) {
            let part = Zip::from(map)
                .and(zones)
                .map_collect(|value, lies_in| if *lies_in == number { *value } else { 0.0 });
            let inside = regions(part.view(), *level, rule, extent, size);
            found.extend(inside.into_iter().map(|one| Region { zone: zone.clone(), ..one }));
        }
        found.sort_by(|a, b| b.peak.total_cmp(&a.peak));
        found
    }
}

/// The highest value of a map of what lies in no zone, then of each of so many zones; 0 where
/// nothing is.
pub(crate) fn highest(
    map: ArrayView2<'_, f32>,
    zones: ArrayView2<'_, u8>,
    count: usize,
) -> Vec<f32> {
    let mut highest = vec![0.0f32; count + 1];
    Zip::from(map).and(zones).for_each(|value, number| {
        let highest = &mut highest[usize::from(*number)];
        *highest = highest.max(*value);
    });
    highest
}

#[cfg(test)]
mod tests {
    use data::Resize;

    use super::*;

    fn read(text: &str) -> Result<Zones, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zones.json");
        std::fs::write(&path, text).unwrap();
        Zones::read(&path)
    }

    const TWO: &str = r#"{"zones": [
        {"name": "left", "polygons": [[[0, 0], [4, 0], [4, 8], [0, 8]]]},
        {"name": "top", "polygons": [[[0, 0], [8, 0], [8, 4], [0, 4]]]}]}"#;

    #[test]
    fn the_first_zone_has_what_lies_in_several() {
        let zones = read(TWO).unwrap();
        assert_eq!(zones.identity().names, ["left", "top"]);
        let numbers = zones.on_map((8, 8), &Preprocess::clip(4, Resize::Squash)).unwrap();
        assert_eq!(
            numbers,
            ndarray::array![[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 0, 0], [1, 1, 0, 0]]
        );
        let map = Array2::from_shape_fn((4, 4), |(y, x)| (4 * y + x) as f32);
        assert_eq!(highest(map.view(), numbers.view(), 2), [15.0, 13.0, 7.0]);
    }

    #[test]
    fn regions_end_where_a_zone_does_and_reach_its_level() {
        let frame = Preprocess::clip(4, Resize::Squash);
        let (size, extent) = ((8, 8), Extent::new(&frame, (8, 8)));
        let numbers = read(TWO).unwrap().on_map(size, &frame).unwrap();
        let levels = ZoneLevels::above(0.9, [("left", 0.5), ("top", 0.2)]);
        let map = Array2::from_elem((4, 4), 0.6f32);
        let found =
            levels.regions(map.view(), numbers.view(), RegionRule::default(), &extent, size);
        let told: Vec<_> = found.iter().map(|r| (r.zone.as_deref(), r.x, r.y, r.area)).collect();
        assert_eq!(told, [(Some("left"), 0, 0, 32), (Some("top"), 4, 0, 16)]);
    }

    #[test]
    fn files_that_are_none_are_refused_with_the_reason() {
        for (text, reason) in [
            ("[]", "expected {\"zones\""),
            (r#"{"zones": []}"#, "expected 1 to 255 zones"),
            (r#"{"zones": [{"name": "a"}]}"#, "zone \"a\": expected polygons or a mask"),
            (r#"{"zones": [{"name": "a", "polygons": [[[0, 0]]]}]}"#, "three corners"),
            (r#"{"zones": [{"name": "", "polygons": []}]}"#, "a name that no other"),
            (r#"{"zones": [{"name": "a", "mask": "none.png"}]}"#, "none.png"),
            (&TWO.replace("top", "left"), "zone \"left\": expected a name that no other"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
        let zones = read(TWO).unwrap();
        let frame = Preprocess::clip(4, Resize::Squash);
        let outside = zones.on_map((7, 8), &frame).unwrap_err().to_string();
        assert!(outside.contains("zone \"top\": the corner [8, 0] lies outside"), "{outside}");
        let small = zones.on_map((800, 800), &frame).unwrap_err().to_string();
        assert!(small.contains("zone \"left\": no pixel of the map"), "{small}");
    }
}
