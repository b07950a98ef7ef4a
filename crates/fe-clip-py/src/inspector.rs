//! A model that judges images.

use std::ops::ControlFlow;
use std::path::PathBuf;

use fe_clip::{Calibration, Failed, ImageFile, Input, ModelChoice, open_device};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::{failed, raised};
use crate::images::input;
use crate::pictures::WAYS;
use crate::started;
use crate::verdict::{Kept, to_python};

/// A model with all that it takes to judge images. It holds no lock while it computes, and several
/// threads may use it at a time.
#[pyclass(frozen, module = "fe_clip._native")]
pub(crate) struct Inspector {
    inspector: fe_clip::Inspector,
    /// Threads of its own, where their number was given.
    pool: Option<ThreadPool>,
    settings: String,
    model: String,
}

#[pymethods]
impl Inspector {
    /// Loads a model. Normal images are pairs as for `inspect`; with a calibration they must be
    /// files.
    ///
    /// # Errors
    /// Of the library; `ValueError` for a number of threads that is 0.
    #[new]
    fn new(
        py: Python<'_>,
        model: Option<String>,
        adapters: Option<PathBuf>,
        config: Option<PathBuf>,
        normals: Option<Vec<Bound<'_, PyAny>>>,
        calibration: Option<PathBuf>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        started::enter()?;
        let choice = ModelChoice { model, adapters, config, ..ModelChoice::default() };
        let files = match (&normals, &calibration) {
            (Some(normals), Some(_)) => Some(files(normals)?),
            _ => None,
        };
        let normals = normals.unwrap_or_default();
        let normals = normals.iter().map(input).collect::<PyResult<Vec<Input>>>()?;
        let pool = threads.map(pool).transpose()?;
        py.detach(|| {
            let load = || -> Result<_, fe_clip::Error> {
                let device = open_device("flex")?;
                let assembled = choice.assemble(&device)?;
                let (settings, model) =
                    (assembled.run.to_toml(), assembled.run.model.backbone.clone());
                let inspector = if let Some(calibration) = &calibration {
                    let files = files.map(|files| files.into_iter().map(ImageFile::new).collect());
                    let found = Calibration::read(calibration)?;
                    assembled.calibrated(found, calibration, files.transpose()?, None, None)?
                } else if normals.is_empty() {
                    let inspector = assembled.inspector()?;
                    inspector.detector().check_normals(0)?;
                    inspector
                } else {
                    assembled.inspector()?.normals(normals)?
                };
                let threads = rayon::current_num_threads();
                Ok((inspector.threads(threads), settings, model))
            };
            let (inspector, settings, model) = match &pool {
                Some(pool) => pool.install(load),
                None => load(),
            }
            .map_err(raised)?;
            Ok(Self { inspector, pool, settings, model })
        })
    }

    /// Judges images, each a pair of a name and a file's bytes, pixels, or `None` for the file of
    /// that name. One answer an image: a tuple, or an exception; the first exception is raised if
    /// `strict`.
    ///
    /// # Errors
    /// As above; what a signal's handler raises.
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        images: Vec<Bound<'py, PyAny>>,
        strict: bool,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        started::enter()?;
        let images = images.iter().map(input).collect::<PyResult<Vec<Input>>>()?;
        let found = py.detach(|| {
            self.install(|| {
                // One image needs no threads that read ahead.
                let mut images = images;
                if images.len() == 1
                    && let Some(image) = images.pop()
                {
                    return Ok(vec![self.inspector.inspect_one(image).map(Kept::from)]);
                }
                let verdicts = self.inspector.inspect(images).map(|found| found.map(Kept::from));
                collect(verdicts, strict)
            })
        })?;
        answers(found, strict, py)
    }

    /// Judges images against each other. The answers of `inspect`; pairs of names of images that
    /// were taken for one; names of images that seem to show something else.
    ///
    /// # Errors
    /// As `inspect`; if the method scores every image by itself or there are too few.
    #[expect(clippy::type_complexity, reason = "three lists")]
    fn group<'py>(
        &self,
        py: Python<'py>,
        images: Vec<Bound<'py, PyAny>>,
        strict: bool,
    ) -> PyResult<(Vec<Bound<'py, PyAny>>, Vec<[PathBuf; 2]>, Vec<PathBuf>)> {
        started::enter()?;
        let images = images.iter().map(input).collect::<PyResult<Vec<Input>>>()?;
        let (found, duplicates, odd) = py.detach(|| {
            self.install(|| {
                let mut interrupted = None;
                let group = self.inspector.inspect_group(images, |_| match signalled() {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        interrupted = Some(error);
                        ControlFlow::Break(())
                    }
                });
                if let Some(error) = interrupted {
                    return Err(error);
                }
                let Some(group) = group.map_err(raised)? else {
                    return Ok((Vec::new(), Vec::new(), Vec::new()));
                };
                let duplicates = group.duplicates().map(|pair| pair.map(Into::into)).collect();
                let odd = group.odd().map(Into::into).collect();
                let verdicts = self.inspector.group_verdicts(group);
                let found = collect(verdicts.map(|found| found.map(Kept::from)), strict)?;
                Ok((found, duplicates, odd))
            })
        })?;
        Ok((answers(found, strict, py)?, duplicates, odd))
    }

    /// Side of the model's input, and of its maps, in pixels.
    #[getter]
    fn image_size(&self) -> usize {
        self.inspector.detector().preprocess().height
    }

    /// How an image becomes a square: the value of `resize` in `run.toml`.
    #[getter]
    fn resize(&self) -> &'static str {
        let way = self.inspector.detector().preprocess().resize;
        WAYS.into_iter().find(|(known, _)| *known == way).expect("every way has a name").1
    }

    /// From which score and which value of the map on something is anomalous.
    #[getter]
    fn thresholds(&self) -> Option<(f64, f32)> {
        self.inspector.judge().thresholds.map(|t| (t.image, t.pixel))
    }

    /// The settings in use, as a `run.toml`.
    #[getter]
    fn settings(&self) -> &str {
        &self.settings
    }

    /// The backbone in use.
    #[getter]
    fn model(&self) -> &str {
        &self.model
    }
}

impl Inspector {
    /// Computes on its own threads, or on those of the process.
    fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

fn pool(threads: usize) -> PyResult<ThreadPool> {
    if threads == 0 {
        return Err(PyValueError::new_err("threads: expected at least 1, got 0"));
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| PyValueError::new_err(format!("starting {threads} threads: {e}")))
}

/// The files that normal images are.
fn files(normals: &[Bound<'_, PyAny>]) -> PyResult<Vec<PathBuf>> {
    let file = |given: &Bound<'_, PyAny>| {
        let (path, content): (PathBuf, Bound<'_, PyAny>) = given.extract()?;
        if content.is_none() {
            return Ok(path);
        }
        let text = "a calibration knows its normal images by their files: give paths";
        Err(PyValueError::new_err(text))
    };
    normals.iter().map(file).collect()
}

/// Whether a signal has arrived whose handler raises.
fn signalled() -> PyResult<()> {
    Python::attach(|py| py.check_signals())
}

/// All verdicts, or those up to the first that failed.
fn collect(
    verdicts: impl Iterator<Item = Result<Kept, Failed>>,
    strict: bool,
) -> PyResult<Vec<Result<Kept, Failed>>> {
    let mut found = Vec::new();
    for verdict in verdicts {
        let stop = strict && verdict.is_err();
        found.push(verdict);
        if stop {
            break;
        }
        signalled()?;
    }
    Ok(found)
}

fn answers(
    found: Vec<Result<Kept, Failed>>,
    strict: bool,
    py: Python<'_>,
) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let answer = |found: Result<Kept, Failed>| match found {
        Err(error) if strict => Err(failed(error)),
        found => to_python(found, py),
    };
    found.into_iter().map(answer).collect()
}
