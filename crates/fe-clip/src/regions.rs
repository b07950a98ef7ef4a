//! Where a map reaches a threshold.

use metrics::{Connectivity, connected_regions};
use ndarray::ArrayView2;
use serde::Serialize;

use crate::geometry::Extent;

/// Pixels of the map at or above the threshold that touch, edges or corners.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Region {
    /// Left edge of the smallest box around it, in pixels of the image.
    pub x: u32,
    /// Top edge of that box.
    pub y: u32,
    /// Width of that box.
    pub width: u32,
    /// Height of that box.
    pub height: u32,
    /// Its area in pixels of the image.
    pub area: u64,
    /// The highest value of the map in it.
    pub peak: f32,
}

/// The regions of a map, the highest peak first.
///
/// # Shapes
/// - map: `[image_size, image_size]`; `extent` says where it lies on an image of `size`
pub fn regions(
    map: ArrayView2<'_, f32>,
    threshold: f32,
    extent: &Extent,
    (width, height): (u32, u32),
) -> Vec<Region> {
    let (rows, columns) = map.dim();
    let (x, y) = (extent.width / columns as f64, extent.height / rows as f64);
    // Edges of cells of the map in pixels of the image; what the model saw beyond it is cut off.
    let across = |column: usize| (extent.left + column as f64 * x).clamp(0.0, f64::from(width));
    let down = |row: usize| (extent.top + row as f64 * y).clamp(0.0, f64::from(height));
    let mask = map.mapv(|value| value >= threshold);
    let found = connected_regions(mask.view(), Connectivity::Eight).into_iter().map(|runs| {
        let (mut left, mut right, mut area, mut peak) = (f64::MAX, 0.0f64, 0.0, f32::MIN);
        for (row, run) in &runs {
            let (start, end) = (across(run.start), across(run.end));
            (left, right) = (left.min(start), right.max(end));
            area += (end - start) * (down(row + 1) - down(*row));
            for column in run.clone() {
                peak = peak.max(map[[*row, column]]);
            }
        }
        let top = runs.first().map_or(0.0, |(row, _)| down(*row)).floor();
        let bottom = runs.last().map_or(0.0, |(row, _)| down(row + 1)).ceil();
        Region {
            x: left.floor() as u32,
            y: top as u32,
            width: (right.ceil() - left.floor()) as u32,
            height: (bottom - top) as u32,
            area: area.round() as u64,
            peak,
        }
    });
    let mut regions: Vec<Region> = found.filter(|region| region.area > 0).collect();
    regions.sort_by(|a, b| b.peak.total_cmp(&a.peak));
    regions
}

#[cfg(test)]
mod tests {
    use data::{Preprocess, Resize};
    use ndarray::Array2;

    use super::*;

    fn preprocess(resize: Resize) -> Preprocess {
        Preprocess::clip(4, resize)
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
        let found = regions(map.view(), 0.5, &extent, size);
        let right = Region { x: 60, y: 10, width: 20, height: 20, area: 400, peak: 0.95 };
        let left = Region { x: 0, y: 0, width: 40, height: 20, area: 400, peak: 0.9 };
        assert_eq!(found, [right, left]);
    }

    #[test]
    fn crops_and_padding_are_undone() {
        let all = Array2::from_elem((4, 4), 1.0f32);
        let size = (80, 40);
        let extent = Extent::new(&preprocess(Resize::ShortestCrop), size);
        let found = regions(all.view(), 0.5, &extent, size);
        assert_eq!(found, [Region { x: 20, y: 0, width: 40, height: 40, area: 1600, peak: 1.0 }]);
        let extent = Extent::new(&preprocess(Resize::Letterbox), size);
        let found = regions(all.view(), 0.5, &extent, size);
        assert_eq!(found, [Region { x: 0, y: 0, width: 80, height: 40, area: 3200, peak: 1.0 }]);
    }
}
