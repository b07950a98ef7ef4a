//! The one thread that owns the model: what waits together is run together.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::anyhow;
use data::Preprocess;
use fe_clip::group::GroupLimits;
use fe_clip::{Detector, Judge, Memory, Prediction, RegionRule, RunConfig, ScoreScale, Thresholds};
use ndarray::{Array2, Array3};
use tokio::sync::{mpsc, oneshot};

use super::banks::{BankId, Banks};
use super::limits::BATCH;
use super::meters::Meters;
use crate::model::ModelArgs;

/// A preprocessed image that waits for the model.
pub(super) struct Job {
    pub(super) pixels: Array3<f32>,
    /// What of it is not looked at, at the model's size.
    pub(super) ignored: Option<Array2<bool>>,
    pub(super) normals: Option<Normals>,
    /// Where the prediction goes; dropped without one if the model fails.
    pub(super) answer: oneshot::Sender<Result<Prediction, NotKept>>,
}

/// Images that wait to be compared with each other.
pub(super) struct GroupJob {
    pub(super) images: Vec<Array3<f32>>,
    /// As of [`Job`].
    pub(super) answer: oneshot::Sender<Result<Grouped, fe_clip::Error>>,
}

/// What is asked of the model.
pub(super) enum Work {
    Image(Job),
    Group(GroupJob),
}

/// What images that were compared with each other are.
pub(super) struct Grouped {
    /// Of every image.
    pub(super) predictions: Vec<Result<Prediction, fe_clip::Error>>,
    /// Pairs of images that were taken for one.
    pub(super) duplicates: Vec<[usize; 2]>,
    /// Images that seem to show something else.
    pub(super) odd: Vec<usize>,
}

/// The normal images were forgotten between a request's arrival and its turn.
#[derive(Debug)]
pub(super) struct NotKept;

/// Normal images that a prediction is made against.
pub(super) struct Normals {
    pub(super) id: BankId,
    pub(super) count: usize,
    /// Preprocessed; none where they are remembered already.
    pub(super) images: Vec<Array3<f32>>,
}

/// What the other threads know about the model.
pub(super) struct Loaded {
    pub(super) run: RunConfig,
    pub(super) preprocess: Preprocess,
    /// From its raw scores to those in [0, 1], without normal images and with some.
    pub(super) scales: [ScoreScale; 2],
    /// Why it refuses an image without normal images, if it does.
    pub(super) alone: Option<String>,
    /// Why it refuses normal images, if it does.
    pub(super) compared: Option<String>,
    /// Why it does not compare images with each other, if it does not.
    pub(super) grouped: Option<String>,
}

impl Loaded {
    /// What turns predictions into answers, of images that are compared with normal ones or with
    /// each other, or of others.
    pub(super) fn judge(&self, thresholds: Option<Thresholds>, compared: bool) -> Judge {
        Judge {
            scale: self.scales[usize::from(compared)],
            thresholds,
            rule: RegionRule::default(),
            preprocess: self.preprocess.clone(),
            zones: None,
        }
    }
}

/// Starts the thread. It loads the model, says so, and works until all senders of jobs are gone.
pub(super) fn start(
    model: ModelArgs,
    jobs: mpsc::Receiver<Work>,
    banks: Arc<Banks>,
    meters: Arc<Meters>,
    loaded: oneshot::Sender<anyhow::Result<Loaded>>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("model".into()).spawn(move || {
        let (detector, said) = match model.detector() {
            Ok((_, run)) if run.model.tile.is_some() => {
                (None, Err(anyhow!("model.tile: serve scores images as a whole")))
            }
            Ok((detector, run)) => {
                let preprocess = detector.preprocess().clone();
                let refusal = |normals| {
                    let checked = detector.check_group(false);
                    checked
                        .and_then(|()| detector.check_normals(normals))
                        .err()
                        .map(|e| e.to_string())
                };
                let (alone, compared) = (refusal(0), refusal(1));
                let grouped = detector.check_group(true).err().map(|e| e.to_string());
                let scales = [false, true].map(|compared| detector.score_scale(compared));
                (Some(detector), Ok(Loaded { run, preprocess, scales, alone, compared, grouped }))
            }
            Err(error) => (None, Err(error)),
        };
        // Nobody listens if the server is being stopped already.
        let _ = loaded.send(said);
        if let Some(detector) = detector {
            Worker { detector, banks, meters }.work(jobs);
        }
    })
}

struct Worker {
    detector: Detector,
    banks: Arc<Banks>,
    meters: Arc<Meters>,
}

impl Worker {
    fn work(&mut self, mut work: mpsc::Receiver<Work>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while work.blocking_recv_many(&mut waiting, BATCH) > 0 {
            let (mut jobs, mut groups) = (Vec::new(), Vec::new());
            for work in waiting.drain(..) {
                match work {
                    Work::Image(job) => jobs.push(job),
                    Work::Group(group) => groups.push(group),
                }
            }
            for (id, jobs) in by_normals(jobs) {
                self.guarded(|worker| worker.run(jobs), id);
            }
            for group in groups {
                self.guarded(|worker| worker.compare(group), None);
            }
        }
    }

    /// A fault of the model costs some requests their answers, not the server its model.
    fn guarded(&mut self, work: impl FnOnce(&mut Self), id: Option<BankId>) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.meters.model_failures.inc();
            self.detector.exchange_memory(Memory::default());
            id.inspect(|id| self.banks.forget(*id));
        }
    }

    /// Compares the images of a group with each other.
    fn compare(&mut self, job: GroupJob) {
        let GroupJob { images, answer } = job;
        let start = Instant::now();
        let found = self.grouped(&images, || answer.is_closed());
        self.meters.batch(images.len(), start.elapsed());
        if let Some(found) = found.transpose() {
            // A client that gave up meanwhile needs no answer.
            let _ = answer.send(found);
        }
    }

    /// Nothing if nobody waits any more.
    fn grouped(
        &self,
        images: &[Array3<f32>],
        given_up: impl Fn() -> bool,
    ) -> Result<Option<Grouped>, fe_clip::Error> {
        let mut group = self.detector.group(GroupLimits::default())?;
        // Of every image its place in the group; of every place its image.
        let (mut places, mut members) = (Vec::with_capacity(images.len()), Vec::new());
        for images in images.chunks(BATCH) {
            if given_up() {
                return Ok(None);
            }
            for added in self.detector.add_to_group(&mut group, images) {
                let place = members.len();
                if added.is_ok() {
                    members.push(places.len());
                }
                places.push(added.map(|()| place));
            }
        }
        let progress =
            |_, _| if given_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let Some(scores) = self.detector.score_group(group, progress)? else { return Ok(None) };
        let predict = |place: Result<usize, _>| Ok(self.detector.group_prediction(&scores, place?));
        Ok(Some(Grouped {
            predictions: places.into_iter().map(predict).collect(),
            duplicates: scores.duplicates().iter().map(|pair| pair.map(|i| members[i])).collect(),
            odd: scores.odd().iter().map(|i| members[*i]).collect(),
        }))
    }

    /// Predicts for jobs with the same normal images.
    fn run(&mut self, mut jobs: Vec<Job>) {
        jobs.retain(|job| !job.answer.is_closed());
        if jobs.is_empty() {
            return;
        }
        // Of those that bring the images along one is enough.
        let normals = jobs.iter_mut().filter_map(|job| job.normals.take());
        let remembered = normals.max_by_key(|n| n.images.len()).map(|n| self.remember(n));
        let (mut images, mut ignored, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for Job { pixels, ignored: not_seen, answer, .. } in jobs {
            images.push(pixels);
            ignored.push(not_seen);
            answers.push(answer);
        }
        let kept = match remembered.transpose() {
            Ok(kept) => kept,
            Err(NotKept) => {
                answers.into_iter().for_each(|answer| _ = answer.send(Err(NotKept)));
                return;
            }
        };
        let start = Instant::now();
        let predictions = self.detector.detect_without(&images, &ignored);
        self.meters.batch(images.len(), start.elapsed());
        let memory = self.detector.exchange_memory(Memory::default());
        if let Some((id, count)) = kept {
            self.banks.keep(id, count, memory);
        }
        for (answer, prediction) in answers.into_iter().zip(predictions) {
            // A client that gave up meanwhile needs no answer.
            let _ = answer.send(Ok(prediction));
        }
    }

    /// Makes the detector remember normal images; returns their name and number.
    fn remember(&mut self, normals: Normals) -> Result<(BankId, usize), NotKept> {
        let Normals { id, count, images } = normals;
        match self.banks.take(id) {
            Some(memory) => _ = self.detector.exchange_memory(memory),
            None if images.is_empty() => return Err(NotKept),
            None => self.detector.remember(&images),
        }
        Ok((id, count))
    }
}

/// Jobs with the same normal images together, in the order of their first.
fn by_normals(jobs: Vec<Job>) -> Vec<(Option<BankId>, Vec<Job>)> {
    let mut groups: Vec<(Option<BankId>, Vec<Job>)> = Vec::new();
    for job in jobs {
        let id = job.normals.as_ref().map(|normals| normals.id);
        match groups.iter_mut().find(|(of, _)| *of == id) {
            Some((_, group)) => group.push(job),
            None => groups.push((id, vec![job])),
        }
    }
    groups
}
