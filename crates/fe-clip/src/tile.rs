//! Large images: scored in tiles, a few at a time, and once as a whole.

use std::f64::consts::PI;
use std::ops::Range;

use data::{Preprocess, Resize, preprocess, resize_mask};
use image::RgbImage;
use image::imageops::crop_imm;
use ndarray::{Array2, Array3, ArrayViewMut2, s};
use rayon::prelude::*;

use crate::Error;
use crate::counted::Ignored;
use crate::geometry::to_image;
use crate::scope::Out;
use crate::scorer::Prediction;
use crate::settings::tile::TileConfig;

/// Tiles of a forward pass.
const BATCH: usize = 4;

/// How images become tiles for a model.
#[derive(Debug, Clone)]
pub(crate) struct Tiling {
    /// Side of a tile and least overlap, in pixels of the image.
    size: usize,
    overlap: usize,
    /// How a tile becomes the model's input. That of an image that is narrower than a tile is no
    /// square and keeps its shape.
    preprocess: Preprocess,
}

impl Tiling {
    /// For a model whose input is made like that.
    pub(crate) fn new(config: TileConfig, whole: &Preprocess) -> Self {
        let (size, overlap) = config.resolve(whole.height);
        let preprocess = Preprocess { resize: Resize::Letterbox, ..whole.clone() };
        Self { size, overlap, preprocess }
    }

    /// Whether an image has more than one tile.
    pub(crate) fn splits(&self, (width, height): (u32, u32)) -> bool {
        width.max(height) as usize > self.size
    }

    /// What of an image the map of all tiles shows: all of it, a pixel of the map a pixel of the
    /// model's input, or one of the image where tiles are enlarged.
    pub(crate) fn frame(&self, (width, height): (u32, u32)) -> Preprocess {
        let side = |pixels: u32| self.on_map(pixels as usize);
        let (width, height) = (side(width), side(height));
        Preprocess { width, height, resize: Resize::Squash, ..self.preprocess.clone() }
    }

    /// Pixels of the map that so many of the image are.
    fn on_map(&self, pixels: usize) -> usize {
        let scale = (self.preprocess.height as f64 / self.size as f64).min(1.0);
        ((pixels as f64 * scale).round() as usize).max(1)
    }

    fn axis(&self, pixels: usize, overlap: usize) -> Axis {
        Axis::new(pixels, self.on_map(self.size).min(pixels), self.on_map(overlap))
    }

    /// The model's inputs for all tiles of an image, hardly overlapping: what is remembered of a
    /// normal one beside the whole. There are none of an image that is no larger than a tile.
    pub(crate) fn inputs(&self, image: &RgbImage) -> Vec<Array3<f32>> {
        if !self.splits(image.dimensions()) {
            return Vec::new();
        }
        let Preprocess { width, height, .. } = self.frame(image.dimensions());
        let (across, down) = (self.axis(width, 0), self.axis(height, 0));
        let places = tiles(&across, &down).map(|tile| Place::new(&tile, image, (width, height)));
        places.map(|place| preprocess(&place.cut(image), &self.preprocess)).collect()
    }

    /// Adds what `detect` says of tiles to what was said of the image as a whole, whose input was
    /// made like `whole`. The map is the higher of both, that of tiles blended; the score is the
    /// highest. What is `out` of the image and of the [`frame`](Self::frame) does not count.
    ///
    /// Beside image and map, what is in memory is that of a batch of tiles.
    ///
    /// # Errors
    /// [`Error::NoNumber`] if what is said is not finite.
    pub(crate) fn add(
        &self,
        detect: impl Fn(&[Array3<f32>], Ignored<'_>) -> Vec<Prediction>,
        image: &RgbImage,
        out: Option<&Out>,
        (said, whole): (&Prediction, &Preprocess),
    ) -> Result<Prediction, Error> {
        // The highest of two numbers hides one that is none.
        said.require_finite()?;
        let size = image.dimensions();
        let frame = self.frame(size);
        let (across, down) =
            (self.axis(frame.width, self.overlap), self.axis(frame.height, self.overlap));
        let (mut score, mut map) = (said.score, Array2::zeros((frame.height, frame.width)));
        let mut waiting = tiles(&across, &down).filter_map(|tile| {
            let place = Place::new(&tile, image, (frame.width, frame.height));
            let ignored = out.map(|out| place.ignored(&out.on_image, &self.preprocess));
            // Of a tile that is ignored as a whole nothing is asked.
            Some((tile, place, ignored.map_or(Some(None), |seen| seen.map(Some))?))
        });
        loop {
            let batch: Vec<_> = waiting.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let inputs: Vec<Array3<f32>> = batch
                .par_iter()
                .map(|(_, place, _)| preprocess(&place.cut(image), &self.preprocess))
                .collect();
            let ignored: Vec<_> = batch.iter().map(|(_, _, ignored)| ignored.clone()).collect();
            let found = detect(&inputs, &ignored);
            for (((columns, rows), place, _), found) in batch.into_iter().zip(found) {
                found.require_finite()?;
                score = score.max(found.score);
                let points = (columns.len() as u32, rows.len() as u32);
                let tile = to_image(found.map.view(), &self.preprocess, place.size(), points);
                let weights = (down.weights(&rows), across.weights(&columns));
                add_weighted(map.slice_mut(s![rows, columns]), &tile, weights);
            }
        }
        let points = (frame.width as u32, frame.height as u32);
        let whole = to_image(said.map.view(), whole, size, points);
        map.zip_mut_with(&whole, |tiles: &mut f32, whole| *tiles = (*tiles).max(*whole));
        if let Some(out) = out {
            map.zip_mut_with(&out.on_map, |value, ignored| {
                if *ignored {
                    *value = 0.0;
                }
            });
        }
        Ok(Prediction { score, map })
    }
}

/// A tile by its pixels of the map: columns and rows.
type Tile = (Range<usize>, Range<usize>);

/// All tiles, row by row.
fn tiles(across: &Axis, down: &Axis) -> impl Iterator<Item = Tile> {
    let row = move |rows: Range<usize>| across.ranges().map(move |columns| (columns, rows.clone()));
    down.ranges().flat_map(row)
}

fn add_weighted(mut map: ArrayViewMut2<'_, f32>, tile: &Array2<f32>, (y, x): (Vec<f32>, Vec<f32>)) {
    for ((mut map, tile), y) in map.outer_iter_mut().zip(tile.outer_iter()).zip(y) {
        for ((value, tile), x) in map.iter_mut().zip(tile).zip(&x) {
            *value += tile * x * y;
        }
    }
}

/// Where a tile lies on its image, in whole pixels of that.
struct Place {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Place {
    /// Of a tile of a map of `width` by `height` pixels.
    fn new((columns, rows): &Tile, image: &RgbImage, (width, height): (usize, usize)) -> Self {
        let pixel = |at: usize, of_map: usize, of_image: u32| {
            (at as f64 * f64::from(of_image) / of_map as f64).round() as u32
        };
        let span = |range: &Range<usize>, of_map: usize, of_image: u32| {
            let start = pixel(range.start, of_map, of_image).min(of_image - 1);
            (start, pixel(range.end, of_map, of_image).max(start + 1) - start)
        };
        let (x, across) = span(columns, width, image.width());
        let (y, down) = span(rows, height, image.height());
        Self { x, y, width: across, height: down }
    }

    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn cut(&self, image: &RgbImage) -> RgbImage {
        crop_imm(image, self.x, self.y, self.width, self.height).to_image()
    }

    /// The ignored pixels of the model's input; none if nothing counts.
    fn ignored(&self, of_image: &Array2<bool>, preprocess: &Preprocess) -> Option<Array2<bool>> {
        let [x, y, width, height] = [self.x, self.y, self.width, self.height].map(|v| v as usize);
        let part = of_image.slice(s![y..y + height, x..x + width]);
        let seen = resize_mask(part.mapv(|ignored| !ignored).view(), preprocess);
        seen.iter().any(|seen| *seen).then(|| resize_mask(part, preprocess))
    }
}

/// Tiles along an axis of the map: evenly, from edge to edge.
struct Axis {
    starts: Vec<usize>,
    length: usize,
    /// Sum of the windows of all tiles at every pixel.
    total: Vec<f32>,
}

impl Axis {
    /// Of so many pixels, of which a tile has `length`, at most all; half of it overlaps at most.
    fn new(pixels: usize, length: usize, overlap: usize) -> Self {
        let step = (length - overlap.min(length / 2)).max(1);
        let more = (pixels - length).div_ceil(step);
        let start = |i: usize| (i * (pixels - length)).checked_div(more).unwrap_or(0);
        let starts: Vec<usize> = (0..=more).map(start).collect();
        let mut total = vec![0.0; pixels];
        for start in &starts {
            (0..length).for_each(|i| total[start + i] += window(i, length));
        }
        Self { starts, length, total }
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.iter().map(move |start| *start..*start + self.length)
    }

    /// The weights of a tile's pixels; those of all tiles add up to 1 at every pixel.
    fn weights(&self, tile: &Range<usize>) -> Vec<f32> {
        let weight = |i: usize| window(i, self.length) / self.total[tile.start + i];
        (0..self.length).map(weight).collect()
    }
}

/// The cosine window of so many pixels, above 0 at each.
fn window(i: usize, length: usize) -> f32 {
    (PI * (i as f64 + 0.5) / length as f64).sin().powi(2) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_an_axis_and_their_weights_add_up_to_one() {
        for (pixels, length, overlap) in
            [(4096, 240, 60), (3072, 240, 120), (241, 240, 60), (240, 240, 0), (7, 7, 3), (9, 1, 0)]
        {
            let axis = Axis::new(pixels, length, overlap);
            let mut total = vec![0.0; pixels];
            for tile in axis.ranges() {
                for (at, weight) in tile.clone().zip(axis.weights(&tile)) {
                    total[at] += weight;
                }
            }
            assert!(total.iter().all(|total| (total - 1.0f32).abs() < 1e-5), "{pixels}");
            let ranges: Vec<_> = axis.ranges().collect();
            for pair in ranges.windows(2) {
                assert!(pair[0].end >= pair[1].start + overlap, "{pair:?}");
            }
            assert_eq!(ranges.last().map(|range| range.end), Some(pixels));
        }
    }

    #[test]
    fn the_map_has_the_resolution_of_what_the_model_sees() {
        let model = Preprocess::clip(240, Resize::Squash);
        let shape = |size, image| {
            let tile = TileConfig { size: Some(size), ..TileConfig::default() };
            let frame = Tiling::new(tile, &model).frame(image);
            (frame.width, frame.height)
        };
        assert_eq!(shape(240, (4096, 3072)), (4096, 3072));
        assert_eq!(shape(480, (4096, 3072)), (2048, 1536));
        // Enlarged tiles have no detail that the image has not.
        assert_eq!(shape(120, (500, 90)), (500, 90));
    }
}
