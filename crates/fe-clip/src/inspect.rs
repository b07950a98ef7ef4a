//! Images in, verdicts out: reading ahead, batches, scores, thresholds, regions.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use data::{Prefetch, Preprocess, prefetch, preprocess};
use image::RgbImage;
use ndarray::{Array2, Array3};

use crate::Error;
use crate::backbone::Backbone;
use crate::calibrate::{Calibration, Scores};
use crate::detect::Detector;
use crate::geometry::to_image;
use crate::input::Input;
use crate::judge::{Judge, Judgement, Label, Thresholds};
use crate::model::LastStage;
use crate::regions::{Region, RegionRule};
use crate::run::RunConfig;
use crate::scorer::Prediction;

/// Images of a forward pass, but for the first: its answer should not wait for others.
pub(crate) const BATCH: usize = 4;
/// Images that are read ahead of the model.
const AHEAD: usize = 8;

/// What is said of an image.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What it is called: the path that it was read from.
    pub path: PathBuf,
    /// How anomalous it is, in [0, 1].
    pub score: f64,
    /// What ranks: the method's own score, which may exceed 1 where normal images are remembered.
    pub raw_score: f32,
    /// What it is called; absent without thresholds.
    pub label: Option<Label>,
    /// How anomalous every pixel of the model's input is, `[image_size, image_size]`; range as
    /// `raw_score`.
    pub map: Array2<f32>,
    /// Where the map reaches the pixel threshold, in pixels of the image, the highest peak first;
    /// empty without thresholds.
    pub regions: Vec<Region>,
    /// Width and height of the image.
    pub size: (u32, u32),
    /// The image as read, upright.
    pub image: RgbImage,
    /// The features of the last stage, where [`Inspector::features`] asked for them and the
    /// method has adapters.
    pub last_stage: Option<LastStage>,
    preprocess: Preprocess,
}

impl Verdict {
    /// The map at the image's own size, `[height, width]`; 0 where the model saw nothing of it.
    pub fn map_on_image(&self) -> Array2<f32> {
        to_image(self.map.view(), &self.preprocess, self.size, self.size)
    }

    /// The map's highest value.
    pub fn map_max(&self) -> f32 {
        self.map.iter().copied().fold(f32::MIN, f32::max)
    }

    /// What a calibration keeps of it.
    pub fn scores(&self) -> Scores {
        Scores { image: self.raw_score, pixel: self.map_max() }
    }

    /// How the image became the model's input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }
}

/// An image without a verdict.
#[derive(Debug)]
pub struct Failed {
    /// What it is called.
    pub path: PathBuf,
    /// Why there is none.
    pub error: Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            // It names the file itself.
            Error::Data(error) => error.fmt(f),
            error => write!(f, "{}: {error}", self.path.display()),
        }
    }
}

impl std::error::Error for Failed {}

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
        Self { detector, levels, rule, compared: false, features: false, threads }
    }

    /// The model that is built in, on this CPU, with the thresholds that it was shipped with;
    /// those hold until it remembers normal images.
    ///
    /// # Errors
    /// Never on a build whose tests passed.
    pub fn tiny() -> Result<Self, Error> {
        let device = Device::flex();
        let backbone = Backbone::load("tiny", None, &device)?;
        let nothing = || Error::Settings("tiny: no adapters are built in".into());
        let adapters = backbone.adapters()?.ok_or_else(nothing)?;
        let run = RunConfig {
            model: adapters.origin.config.clone().unwrap_or_default(),
            prompts: adapters.origin.prompts.clone().unwrap_or_default(),
            ..RunConfig::default()
        };
        let head = run.model.method.new_head(&backbone.clip, &device)?;
        let head = adapters.head(head, &device)?;
        let detector = Detector::new(&run, Some(backbone.clip), Some(head), &device)?;
        let levels = Levels::Shipped(Box::new(Calibration::of_tiny()?));
        Ok(Self { levels, ..Self::new(detector) })
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
        let read = |input: &Input| Ok(preprocess(&input.read()?, preprocessing));
        let images = inputs.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        self.detector.remember(&images);
        self.compared = true;
        Ok(())
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
        let preprocess = self.detector.preprocess().clone();
        Judge { scale, thresholds, rule: self.rule, preprocess }
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
        let read = move |i: &usize| Read::new(&all[*i], &preprocessing);
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
        let read = Read::new(&image.into(), self.detector.preprocess());
        self.judge_all(&self.judge(), vec![read]).swap_remove(0)
    }

    /// One forward pass; one result an image.
    fn judge_all(&self, judge: &Judge, read: Vec<Read>) -> Vec<Result<Verdict, Failed>> {
        let mut pixels = Vec::new();
        let mut items = Vec::with_capacity(read.len());
        for Read { path, found } in read {
            let ready = self.detector.check_group(false).and_then(|()| match self.compared {
                true => Ok(()),
                false => self.detector.check_normals(0),
            });
            items.push((
                path,
                ready.and(found).map(|(image, input)| {
                    pixels.push(input);
                    image
                }),
            ));
        }
        let mut predictions = self.detector.detect(&pixels).into_iter().zip(&pixels);
        let verdict = |(path, image): (PathBuf, Result<RgbImage, Error>)| {
            let found = image.and_then(|image| {
                let (prediction, input) = predictions.next().expect("one prediction an image");
                self.verdict(judge, path.clone(), image, input, prediction)
            });
            found.map_err(|error| Failed { path, error })
        };
        items.into_iter().map(verdict).collect()
    }

    pub(crate) fn verdict(
        &self,
        judge: &Judge,
        path: PathBuf,
        image: RgbImage,
        input: &Array3<f32>,
        prediction: Prediction,
    ) -> Result<Verdict, Error> {
        let Judgement { score, label, regions } = judge.judge(&prediction, image.dimensions())?;
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
            preprocess: judge.preprocess.clone(),
        })
    }
}

/// An input after reading.
pub(crate) struct Read {
    pub(crate) path: PathBuf,
    /// The image and the model's input.
    pub(crate) found: Result<(RgbImage, Array3<f32>), Error>,
}

impl Read {
    fn new(input: &Input, preprocessing: &Preprocess) -> Self {
        let found = input.read().map_err(Error::from).map(|image| {
            let pixels = preprocess(&image, preprocessing);
            (image, pixels)
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
