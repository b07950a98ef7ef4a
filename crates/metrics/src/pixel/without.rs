//! Images of which some pixels count for nothing.

use ndarray::{ArrayView2, Zip};

use super::{Part, PixelMetrics, Placed};
use crate::Undefined;
use crate::ranking::{same_shape, slice};
use crate::regions::Regions;
use crate::score::{Score, range};

impl<S: Score> PixelMetrics<S> {
    /// Adds one image of which some pixels count neither as normal nor as anomalous. A region is what is left of it, or
    /// several where that falls apart.
    ///
    /// # Shapes
    /// - map, mask, ignored: `[height, width]`; `true` marks an anomalous pixel and one that does not count
    ///
    /// # Errors
    /// [`Undefined`] for NaN in a pixel that counts or different shapes; the image is then left out as a whole.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics};
    /// use ndarray::array;
    ///
    /// let mut pixels = PixelMetrics::new(Connectivity::Eight);
    /// let (map, mask) = (array![[0.9f32, 0.2, 0.4]], array![[false, false, true]]);
    /// pixels.add_without(map.view(), mask.view(), array![[true, false, false]].view())?;
    /// assert_eq!(pixels.finish(&[])?.auroc, Ok(1.0));
    /// # Ok::<(), anomaly_metrics::Undefined>(())
    /// ```
    pub fn add_without(
        &mut self,
        map: ArrayView2<'_, S>,
        mask: ArrayView2<'_, bool>,
        ignored: ArrayView2<'_, bool>,
    ) -> Result<(), Undefined> {
        same_shape(map.shape(), mask.shape())?;
        same_shape(map.shape(), ignored.shape())?;
        let (_, width) = map.dim();
        let mask = Zip::from(mask).and(ignored).map_collect(|mask, ignored| *mask && !ignored);
        let (map, ignored) = (map.as_standard_layout(), ignored.as_standard_layout());
        let (scores, ignored) = (slice(&map), slice(&ignored));
        let counted = || (0..scores.len()).filter(|at| !ignored[*at]);
        let kept: Vec<S> = counted().map(|at| scores[at]).collect();
        let range = range(&kept).map_err(|nan| {
            let at = counted().nth(nan).expect("a score that was kept has a place");
            Undefined::NotANumber { index: vec![self.images, at / width, at % width] }
        })?;
        let found = Regions::new(mask.view(), self.connectivity);
        let mut regions: Vec<Placed> = Vec::with_capacity(found.count);
        let mut anomalous = Vec::new();
        for run in &found.runs {
            if run.region == regions.len() {
                regions.push(Placed { image: self.images, start: (run.row, run.start), area: 0 });
            }
            regions[run.region].area += (run.end - run.start) as u64;
            let keys = (run.start..run.end).map(|column| scores[run.row * width + column].key());
            anomalous.extend(keys.map(|key| (key, run.region as u32)));
        }
        let normal = counted().filter(|at| !mask[[at / width, at % width]]);
        let normal: Vec<S::Key> = normal.map(|at| scores[at].key()).collect();
        self.normal.fill(|filler| filler.extend(normal.into_iter()));
        self.append(Part { anomalous, regions, range });
        self.images += 1;
        Ok(())
    }
}
