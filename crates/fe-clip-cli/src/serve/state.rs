//! What all requests share.

use std::sync::{Arc, OnceLock};

use fe_clip::Thresholds;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::banks::Banks;
use super::guard::Door;
use super::limits::{FULL_BODIES, Limits};
use super::live::Watched;
use super::meters::Meters;
use super::page::Page;
use super::problem::Problem;
use super::request::SHARE;
use super::worker::{Loaded, Work};

/// From when on something is anomalous where a request says nothing.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    /// By the flag.
    pub(super) asked: Option<f64>,
    /// Shipped with the model, for requests without normal images: those move all scores.
    pub(super) shipped: Option<Thresholds>,
}

impl Levels {
    /// For a request without normal images that names no threshold.
    pub(super) fn default(&self) -> Option<Thresholds> {
        self.of(None, false)
    }

    /// For a request with the threshold that it names, compared with normal images or not.
    pub(super) fn of(&self, named: Option<f64>, compared: bool) -> Option<Thresholds> {
        let shipped = self.shipped.filter(|_| !compared);
        named.or(self.asked).map(Thresholds::both).or(shipped)
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) limits: Limits,
    pub(super) levels: Levels,
    pub(super) door: Door,
    pub(super) page: Page,
    /// What is told of the camera, if there is one.
    pub(super) camera: Option<Watched>,
    pub(super) openapi: String,
    pub(super) meters: Arc<Meters>,
    pub(super) banks: Arc<Banks>,
    /// Free units of memory for bodies.
    pub(super) memory: Arc<Semaphore>,
    /// Free places for requests.
    places: Arc<Semaphore>,
    /// Free processors for decoding and drawing.
    processors: Arc<Semaphore>,
    loaded: OnceLock<Arc<Loaded>>,
    work: mpsc::Sender<Work>,
}

impl Server {
    pub(super) fn new(
        limits: Limits,
        levels: Levels,
        door: Door,
        camera: Option<Watched>,
        meters: Arc<Meters>,
        banks: Arc<Banks>,
        work: mpsc::Sender<Work>,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            page: Page::new(levels.default().map(|level| level.image)),
            openapi: super::routes::openapi(),
            memory: Arc::new(Semaphore::new((limits.body * FULL_BODIES).div_ceil(SHARE))),
            places: Arc::new(Semaphore::new(limits.queue)),
            processors: Arc::new(Semaphore::new(processors)),
            loaded: OnceLock::new(),
            limits,
            levels,
            door,
            camera,
            meters,
            banks,
            work,
        }
    }

    /// From now on requests are answered.
    pub(super) fn ready(&self, loaded: Loaded) {
        if self.loaded.set(Arc::new(loaded)).is_ok() {
            self.meters.ready.set(1);
        }
    }

    /// The model, once it is there.
    pub(super) fn loaded(&self) -> Result<Arc<Loaded>, Problem> {
        self.loaded.get().cloned().ok_or_else(|| Problem::unavailable("the model is being loaded"))
    }

    /// A place among the requests that are worked on.
    pub(super) fn place(&self) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Problem::busy())?;
        self.meters.waiting.inc();
        Ok(Place { meters: Arc::clone(&self.meters), _permit: permit })
    }

    /// Hands work to the model.
    pub(super) fn send(&self, work: Work) -> Result<(), Problem> {
        self.work.try_send(work).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::busy(),
            mpsc::error::TrySendError::Closed(_) => Problem::unavailable("the model is gone"),
        })
    }

    /// Runs heavy work on a thread of its own, no more at once than there are processors. Work
    /// whose client has gone is still done to its end, and counted.
    pub(super) async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let processor =
            Arc::clone(&self.processors).acquire_owned().await.map_err(|_| Problem::internal())?;
        let server = Arc::clone(self);
        let work = move || {
            let done = work(&server);
            drop(processor);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())
    }
}

/// A request's place, free again when dropped.
pub(super) struct Place {
    meters: Arc<Meters>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.meters.waiting.dec();
    }
}
