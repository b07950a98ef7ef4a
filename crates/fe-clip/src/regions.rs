//! Where a map reaches a threshold.

use std::ops::Range;

use metrics::{Connectivity, connected_regions};
use ndarray::ArrayView2;
use serde::Serialize;

use crate::geometry::Extent;

/// Which parts of a map count as regions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RegionRule {
    /// A region reaches as far as the map has at least this value, and is one where it reaches the threshold
    /// somewhere: hysteresis. Default: the threshold, which it never exceeds.
    pub low: Option<f32>,
    /// Regions of a smaller area are left out, in pixels of the image; at least 0.
    pub min_area: f64,
}

/// Pixels of the map at or above the threshold, or what [`RegionRule::low`] says, that touch, edges or corners.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Region {
    /// Left edge of the smallest box around it, in pixels of the image.
    pub x: u32,
    /// Top edge of that box.
    pub y: u32,
    /// Width of that box.
    pub width: u32,
    /// Height of that box.
    pub height: u32,
    /// Its area in pixels of the image, without its holes.
    pub area: u64,
    /// The highest value of the map in it.
    pub peak: f32,
    /// Its outline `[x, y]` in pixels of the image, clockwise from its upper left corner, first point not repeated;
    /// holes are not told. Parts that touch at a corner alone are one outline, which passes the corner twice.
    pub polygon: Vec<[f64; 2]>,
    /// Which of the [`Zones`](crate::Zones) it lies in, where there are zones and it lies in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The regions of a map, the highest peak first. 0 is what stands where nothing was looked at, and no part of any.
///
/// # Shapes
/// - map: `[image_size, image_size]`; `extent` says where it lies on an image of `size`
pub fn regions(
    map: ArrayView2<'_, f32>,
    threshold: f32,
    rule: RegionRule,
    extent: &Extent,
    (width, height): (u32, u32),
) -> Vec<Region> {
    let (rows, columns) = map.dim();
    let (x, y) = (extent.width / columns as f64, extent.height / rows as f64);
    // Edges of cells of the map in pixels of the image; what the model saw beyond it is cut off.
    let across = |column: usize| (extent.left + column as f64 * x).clamp(0.0, f64::from(width));
    let down = |row: usize| (extent.top + row as f64 * y).clamp(0.0, f64::from(height));
    let low = rule.low.map_or(threshold, |low| low.min(threshold));
    let low = low.max(f32::MIN_POSITIVE);
    let mask = map.mapv(|value| value >= low);
    let found =
        connected_regions(mask.view(), Connectivity::Eight).into_iter().filter_map(|runs| {
            let (mut left, mut right, mut area, mut peak) = (f64::MAX, 0.0f64, 0.0, f32::MIN);
            for (row, run) in &runs {
                let (start, end) = (across(run.start), across(run.end));
                (left, right) = (left.min(start), right.max(end));
                area += (end - start) * (down(row + 1) - down(*row));
                for column in run.clone() {
                    peak = peak.max(map[[*row, column]]);
                }
            }
            let area = area.round();
            if peak < threshold || area == 0.0 || area < rule.min_area {
                return None;
            }
            let top = runs.first().map_or(0.0, |(row, _)| down(*row)).floor();
            let bottom = runs.last().map_or(0.0, |(row, _)| down(row + 1)).ceil();
            Some(Region {
                x: left.floor() as u32,
                y: top as u32,
                width: (right.ceil() - left.floor()) as u32,
                height: (bottom - top) as u32,
                area: area as u64,
                peak,
                polygon: outline(&runs).into_iter().map(|[r, c]| [across(c), down(r)]).collect(),
                zone: None,
            })
        });
    let mut regions: Vec<Region> = found.collect();
    regions.sort_by(|a, b| b.peak.total_cmp(&a.peak));
    regions
}

/// The corners `[row, column]` of the outer outline of cells that touch, clockwise; runs are in order of rows, then
/// columns.
fn outline(runs: &[(usize, Range<usize>)]) -> Vec<[usize; 2]> {
    let inside = |row: usize, column: usize| {
        let first = runs.partition_point(|(r, run)| (*r, run.end) <= (row, column));
        runs.get(first).is_some_and(|(r, run)| *r == row && run.contains(&column))
    };
    let Some((top, first)) = runs.first() else { return Vec::new() };
    let start = [*top, first.start];
    let mut corners: Vec<[usize; 2]> = Vec::new();
    // Along the upper edge of the first cell; cells of the region lie to the right of the way.
    let (mut at, mut heading) = (start, EAST);
    loop {
        let [row, column] = at;
        let next = match heading {
            EAST => [row, column + 1],
            SOUTH => [row + 1, column],
            WEST => [row, column - 1],
            _ => [row - 1, column],
        };
        // Left first: cells that touch at a corner belong together.
        let turned = [3, 0, 1].map(|turn| (heading + turn) % 4).into_iter().find(|&turned| {
            let [row, column] = next;
            // The cells to the left and right of a step from this corner.
            let cell = |up: bool, left: bool| {
                let (row, column) = (row.checked_sub(up.into()), column.checked_sub(left.into()));
                row.zip(column).is_some_and(|(row, column)| inside(row, column))
            };
            let [left, right] = match turned {
                EAST => [cell(true, false), cell(false, false)],
                SOUTH => [cell(false, false), cell(false, true)],
                WEST => [cell(false, true), cell(true, true)],
                _ => [cell(true, true), cell(true, false)],
            };
            right && !left
        });
        let turned = turned.unwrap_or(heading);
        if turned != heading {
            corners.push(next);
        }
        (at, heading) = (next, turned);
        if at == start && heading == EAST {
            break;
        }
    }
    corners.rotate_right(1);
    corners
}

const EAST: usize = 0;
const SOUTH: usize = 1;
const WEST: usize = 2;

#[cfg(test)]
mod tests {
    use data::{Preprocess, Resize};
    use ndarray::Array2;

    use super::*;

    fn preprocess(resize: Resize) -> Preprocess {
        Preprocess::clip(4, resize)
    }

    fn all(map: ArrayView2<'_, f32>, extent: &Extent, size: (u32, u32)) -> Vec<Region> {
        regions(map, 0.5, RegionRule::default(), extent, size)
    }

    #[test]
    fn a_region_reaches_down_to_the_low_level_and_small_ones_are_left_out() {
        let map = ndarray::array![
            [0.9, 0.3, 0.3, 0.0],
            [0.0, 0.0, 0.0, 0.6],
            [0.3, 0.3, 0.0, 0.0],
            [0.3, 0.0, 0.0, 0.7f32]
        ];
        let size = (8, 8);
        let extent = Extent::new(&preprocess(Resize::Squash), size);
        let areas = |low, min_area| -> Vec<u64> {
            let found = regions(map.view(), 0.5, RegionRule { low, min_area }, &extent, size);
            found.iter().map(|region| region.area).collect()
        };
        assert_eq!(areas(None, 0.0), [4, 4, 4]);
        // The four at the top touch, by a corner, too; what is 0.3 alone is nothing.
        assert_eq!(areas(Some(0.25), 0.0), [16, 4]);
        assert_eq!(areas(Some(0.25), 4.0), [16, 4]);
        assert_eq!(areas(Some(0.25), 4.5), [16]);
        assert_eq!(areas(Some(0.8), 0.0), [4, 4, 4]);
    }

    #[test]
    fn boxes_and_areas_are_in_pixels_of_the_image() {
        let map = ndarray::array![
            [0.9, 0.1, 0.0, 0.0],
            [0.2, 0.6, 0.0, 0.5],
            [0.0, 0.0, 0.0, 0.95],
            [0.0, 0.0, 0.0, 0.0f32]
        ];
        let size = (80, 40);
        let extent = Extent::new(&preprocess(Resize::Squash), size);
        let found = all(map.view(), &extent, size);
        let polygon = vec![[60.0, 10.0], [80.0, 10.0], [80.0, 30.0], [60.0, 30.0]];
        let zone = None;
        let right =
            Region { x: 60, y: 10, width: 20, height: 20, area: 400, peak: 0.95, polygon, zone };
        // Two cells that touch at the corner [20, 10].
        let polygon = vec![
            [0.0, 0.0],
            [20.0, 0.0],
            [20.0, 10.0],
            [40.0, 10.0],
            [40.0, 20.0],
            [20.0, 20.0],
            [20.0, 10.0],
            [0.0, 10.0],
        ];
        let left =
            Region { x: 0, y: 0, width: 40, height: 20, area: 400, peak: 0.9, polygon, zone: None };
        assert_eq!(found, [right, left]);
    }

    #[test]
    fn crops_and_padding_are_undone() {
        let ones = Array2::from_elem((4, 4), 1.0f32);
        let size = (80, 40);
        let extent = Extent::new(&preprocess(Resize::ShortestCrop), size);
        let found = all(ones.view(), &extent, size);
        let whole = |x: u32, width: u32| {
            let [left, right] = [x, x + width].map(f64::from);
            let polygon = vec![[left, 0.0], [right, 0.0], [right, 40.0], [left, 40.0]];
            Region {
                x,
                y: 0,
                width,
                height: 40,
                area: u64::from(width * 40),
                peak: 1.0,
                polygon,
                zone: None,
            }
        };
        assert_eq!(found, [whole(20, 40)]);
        let extent = Extent::new(&preprocess(Resize::Letterbox), size);
        let found = all(ones.view(), &extent, size);
        assert_eq!(found, [whole(0, 80)]);
    }

    /// The area inside the outline is that of the region and its holes, whatever its form.
    #[test]
    fn outlines_enclose_the_region() {
        let ring =
            ndarray::array![[1, 1, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]];
        let map = ring.mapv(|on| f32::from(u8::try_from(on).expect("0 or 1")));
        let runs = connected_regions(map.mapv(|v| v > 0.0).view(), Connectivity::Eight);
        assert_eq!(runs.len(), 1);
        let corners = outline(&runs[0]);
        assert_eq!(corners[0], [0, 0]);
        let shoelace: f64 = (0..corners.len())
            .map(|i| {
                let ([y0, x0], [y1, x1]) = (corners[i], corners[(i + 1) % corners.len()]);
                x0 as f64 * y1 as f64 - x1 as f64 * y0 as f64
            })
            .sum();
        assert_eq!(shoelace / 2.0, f64::from(map.sum()) + 1.0);
    }
}
