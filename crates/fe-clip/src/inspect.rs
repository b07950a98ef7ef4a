//! Images in, verdicts out: reading ahead, batches, scores, thresholds, regions.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use data::{Prefetch, Preprocess, prefetch, preprocess, resize_mask};
use image::RgbImage;
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use crate::Error;
use crate::calibrate::{Calibration, ZoneThresholds};
use crate::detect::Detector;
use crate::input::Input;
use crate::judge::{Judge, Judgement, Thresholds};
use crate::regions::RegionRule;
use crate::scope::{Out, Scope};
use crate::scorer::Prediction;
use crate::verdict::{Divided, Failed, Verdict};
use crate::zones::Zones;

/// Images that the model sees at a time, but for the first: its answer should not wait for others.
pub(crate) const BATCH: usize = 4;
/// Images that are read ahead of the model.
const AHEAD: usize = 8;

/// A model with all that it takes to judge images: thresholds, normal images to compare with.
///
/// ```
/// use fe_clip::{Input, Inspector};
/// use image::{Rgb, RgbImage};
///
/// let photo = RgbImage::from_fn(320, 240, |x, y| Rgb([(x % 50) as u8, (y % 40) as u8, 90]));
/// let inspector = Inspector::tiny()?.threshold(0.5);
/// for found in inspector.inspect([Input::pixels("a", photo)]) {
///     let verdict = found?;
///     assert!((0.0..=1.0).contains(&verdict.score) && verdict.label.is_some());
///     assert_eq!(verdict.map_on_image().dim(), (240, 320));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inspector {
    detector: Detector,
    levels: Levels,
    rule: RegionRule,
    scope: Option<Arc<Scope>>,
    zones: Option<Arc<Zones>>,
    /// Whether normal images are remembered.
    compared: bool,
    features: bool,
    threads: usize,
}

/// Where thresholds come from.
enum Levels {
    None,
    Given(Thresholds),
    Calibrated(Box<Calibration>),
    /// A calibration without normal images: those move all scores.
    Shipped(Box<Calibration>),
}

impl Inspector {
    /// A detector without thresholds and normal images.
    pub fn new(detector: Detector) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (levels, rule) = (Levels::None, RegionRule::default());
        let (scope, zones, compared, features) = (None, None, false, false);
        Self { detector, levels, rule, scope, zones, compared, features, threads }
    }

    /// Takes the thresholds that the model was shipped with.
    pub(crate) fn shipped(self, calibration: Calibration) -> Self {
        Self { levels: Levels::Shipped(Box::new(calibration)), ..self }
    }

    /// Compares with these normal images of the same kind, too.
    ///
    /// # Errors
    /// Those of [`remember`](Self::remember).
    pub fn normals(
        mut self,
        images: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Result<Self, Error> {
        self.remember(images)?;
        Ok(self)
    }

    /// Takes the thresholds of a calibration; [`Calibration::check`] tells whether it is of this
    /// model.
    #[must_use]
    pub fn calibration(self, calibration: Calibration) -> Self {
        Self { levels: Levels::Calibrated(Box::new(calibration)), ..self }
    }

    /// Takes one threshold, in [0, 1], for image scores and for values of the map.
    #[must_use]
    pub fn threshold(self, level: f64) -> Self {
        self.thresholds(Some(Thresholds::both(level)))
    }

    /// Takes these thresholds, or none.
    #[must_use]
    pub fn thresholds(self, thresholds: Option<Thresholds>) -> Self {
        Self { levels: thresholds.map_or(Levels::None, Levels::Given), ..self }
    }

    /// Takes a rule for which regions count; at first all do that reach the threshold.
    #[must_use]
    pub fn regions(self, rule: RegionRule) -> Self {
        Self { rule, ..self }
    }

    /// Whether verdicts hold the features of the last stage; not so at first.
    #[must_use]
    pub fn features(self, features: bool) -> Self {
        Self { features, ..self }
    }

    /// Reads images with so many threads. Default: one a processor core.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        assert!(threads > 0, "inspector: expected at least one thread");
        Self { threads, ..self }
    }

    /// Remembers normal images instead of those before.
    ///
    /// # Errors
    /// If there is none, one cannot be read, or the method has no use for any.
    pub fn remember(
        &mut self,
        images: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Result<(), Error> {
        let inputs: Vec<Input> = images.into_iter().map(Into::into).collect();
        if inputs.is_empty() {
            return Err(Error::Settings("expected at least one normal image".into()));
        }
        self.detector.check_normals(inputs.len())?;
        let preprocessing = self.detector.preprocess();
        let mut images = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let image = input.read()?;
            images.push(preprocess(&image, preprocessing));
            images.extend(self.detector.tiling().into_iter().flat_map(|t| t.inputs(&image)));
        }
        self.detector.remember(&images);
        self.compared = true;
        Ok(())
    }

    /// From now on looks only where a scope says, or everywhere. What is remembered of normal
    /// images is of all of them.
    pub fn look(&mut self, scope: Option<Scope>) {
        self.scope = scope.map(Arc::new);
    }

    /// From now on divides images into zones, or does not. A calibration with these zones has a
    /// threshold for each.
    pub fn divide(&mut self, zones: Option<Zones>) {
        self.zones = zones.map(Arc::new);
    }

    /// Where it looks, if not everywhere.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    /// Says what the next images show, for methods whose prompts name it.
    pub fn describe(&mut self, category: &str) {
        self.detector.describe(category);
    }

    /// The model.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// What turns the model's predictions into verdicts.
    pub fn judge(&self) -> Judge {
        let scale = self.detector.score_scale(self.compared);
        let thresholds = match &self.levels {
            Levels::Given(thresholds) => Some(*thresholds),
            Levels::Calibrated(calibration) => Some(Thresholds::of(calibration, scale)),
            Levels::Shipped(calibration) if !self.compared => {
                Some(Thresholds::of(calibration, scale))
            }
            Levels::Shipped(_) | Levels::None => None,
        };
        let zones = match &self.levels {
            Levels::Calibrated(calibration) if self.zones.is_some() => calibration.zones.as_ref(),
            _ => None,
        };
        let zones = zones.map(ZoneThresholds::levels).map(Arc::new);
        let preprocess = self.detector.preprocess().clone();
        Judge { scale, thresholds, rule: self.rule, preprocess, zones }
    }

    /// What turns predictions for the images of a group into verdicts: those move all scores, so
    /// thresholds that were shipped do not hold.
    pub(crate) fn group_judge(&self) -> Judge {
        let judge = self.judge();
        let thresholds = judge.thresholds.filter(|_| !matches!(self.levels, Levels::Shipped(_)));
        Judge { scale: self.detector.score_scale(true), thresholds, ..judge }
    }

    /// Reads images ahead of the one who asks.
    pub(crate) fn reading(&self, inputs: &Arc<Vec<Input>>) -> Prefetch<Read> {
        let (preprocessing, all) = (self.detector.preprocess().clone(), inputs.clone());
        let places = self.places();
        let read = move |i: &usize| Read::new(&all[*i], &preprocessing, &places);
        prefetch((0..inputs.len()).collect(), self.threads, AHEAD, read)
    }

    /// Judges images: one result an image, in their order. Threads read ahead of the model; an
    /// image that fails costs no other its verdict.
    pub fn inspect(&self, images: impl IntoIterator<Item = impl Into<Input>>) -> Verdicts<'_> {
        let inputs: Vec<Input> = images.into_iter().map(Into::into).collect();
        let read = self.reading(&Arc::new(inputs));
        Verdicts { inspector: self, judge: self.judge(), read, ready: VecDeque::new(), first: true }
    }

    /// Judges one image.
    ///
    /// # Errors
    /// If it cannot be read, or the method needs normal images and remembers none, or its answer
    /// is not finite.
    pub fn inspect_one(&self, image: impl Into<Input>) -> Result<Verdict, Failed> {
        let read = Read::new(&image.into(), self.detector.preprocess(), &self.places());
        self.judge_all(&self.judge(), vec![read]).swap_remove(0)
    }

    /// Judges some images at a time, which takes memory for all of them; one result an image, in
    /// their order.
    pub fn inspect_together(
        &self,
        images: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Vec<Result<Verdict, Failed>> {
        let inputs: Vec<Input> = images.into_iter().map(Into::into).collect();
        let places = self.places();
        let read = |input: &Input| Read::new(input, self.detector.preprocess(), &places);
        self.judge_all(&self.judge(), inputs.par_iter().map(read).collect())
    }

    fn places(&self) -> Places {
        Places { scope: self.scope.clone(), zones: self.zones.clone() }
    }

    /// The model sees them at a time; one result an image.
    fn judge_all(&self, judge: &Judge, read: Vec<Read>) -> Vec<Result<Verdict, Failed>> {
        let (mut pixels, mut ignored) = (Vec::new(), Vec::new());
        let mut items = Vec::with_capacity(read.len());
        for Read { path, found } in read {
            let ready = self.detector.check_group(false).and_then(|()| match self.compared {
                true => Ok(()),
                false => self.detector.check_normals(0),
            });
            items.push((
                path,
                ready.and(found).map(|Seen { image, input, out, zones }| {
                    pixels.push(input);
                    ignored.push(out.as_ref().map(|out| out.on_map.clone()));
                    Shown { image, out, zones }
                }),
            ));
        }
        let predictions = self.detector.detect_without(&pixels, &ignored);
        let mut predictions = predictions.into_iter().zip(&pixels);
        let verdict = |(path, seen): (PathBuf, Result<Shown, Error>)| {
            let found = seen.and_then(|shown| {
                let (prediction, input) = predictions.next().expect("one prediction an image");
                self.verdict(judge, path.clone(), shown, input, prediction)
            });
            found.map_err(|error| Failed { path, error })
        };
        items.into_iter().map(verdict).collect()
    }

    pub(crate) fn verdict(
        &self,
        judge: &Judge,
        path: PathBuf,
        Shown { image, mut out, mut zones }: Shown,
        input: &Array3<f32>,
        mut prediction: Prediction,
    ) -> Result<Verdict, Error> {
        let preprocess = judge.preprocess.clone();
        let mut judge = judge.clone();
        if let Some(tiling) = self.detector.tiling().filter(|t| t.splits(image.dimensions())) {
            judge.preprocess = tiling.frame(image.dimensions());
            if let Some(out) = &mut out {
                out.on_map = resize_mask(out.on_image.view(), &judge.preprocess);
            }
            if let (Some(numbers), Some(zones)) = (&mut zones, &self.zones) {
                *numbers = zones.on_map(image.dimensions(), &judge.preprocess)?;
            }
            let detect = |tiles: &[_], ignored: &[_]| self.detector.detect_without(tiles, ignored);
            prediction = tiling.add(detect, &image, out.as_ref(), (&prediction, &preprocess))?;
        }
        let numbers = zones.as_ref().map(|numbers| numbers.view());
        let Judgement { score, label, regions } =
            judge.judge_divided(&prediction, image.dimensions(), numbers)?;
        let Prediction { score: raw_score, map } = prediction;
        Ok(Verdict {
            path,
            score,
            raw_score,
            label,
            map,
            regions: regions.unwrap_or_default(),
            size: image.dimensions(),
            image,
            last_stage: if self.features { self.detector.last_stage(input) } else { None },
            preprocess,
            frame: judge.preprocess,
            out,
            divided: self.zones.clone().zip(zones).map(|(zones, on_map)| Divided {
                zones,
                on_map,
                levels: judge.zones.clone(),
            }),
        })
    }
}

/// An input after reading.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    pub(crate) found: Result<Seen, Error>,
}

/// An image, the model's input made of it, and what of both does not count.
pub(crate) struct Seen {
    pub(crate) image: RgbImage,
    pub(crate) input: Array3<f32>,
    pub(crate) out: Option<Out>,
    /// In which zone each pixel of the map lies.
    pub(crate) zones: Option<Array2<u8>>,
}

/// The same when the model has its input.
pub(crate) struct Shown {
    pub(crate) image: RgbImage,
    pub(crate) out: Option<Out>,
    pub(crate) zones: Option<Array2<u8>>,
}

/// What is said of places on images.
struct Places {
    scope: Option<Arc<Scope>>,
    zones: Option<Arc<Zones>>,
}

impl Read {
    fn new(input: &Input, preprocessing: &Preprocess, places: &Places) -> Self {
        let Places { scope, zones } = places;
        let found = input.read().map_err(Error::from).and_then(|image| {
            let size = image.dimensions();
            let out = scope.as_ref().map(|scope| scope.out(size, preprocessing)).transpose()?;
            let zones =
                zones.as_ref().map(|zones| zones.on_map(size, preprocessing)).transpose()?;
            let input = preprocess(&image, preprocessing);
            Ok(Seen { image, input, out, zones })
        });
        Self { path: input.path.clone(), found }
    }
}

/// The verdicts of [`Inspector::inspect`]; dropping them stops the reading.
pub struct Verdicts<'a> {
    inspector: &'a Inspector,
    judge: Judge,
    read: Prefetch<Read>,
    ready: VecDeque<Result<Verdict, Failed>>,
    first: bool,
}

impl Iterator for Verdicts<'_> {
    type Item = Result<Verdict, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            let size = if self.first { 1 } else { BATCH };
            self.first = false;
            let read: Vec<Read> = self.read.by_ref().take(size).collect();
            self.ready = self.inspector.judge_all(&self.judge, read).into();
        }
        self.ready.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ready.len() + self.read.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Verdicts<'_> {}
