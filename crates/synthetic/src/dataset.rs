//! Synthetic data sets on disk, in the layout of MVTec AD.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dice::mix;
use crate::{DefectKind, Request, Scene, categories, render};

/// File at the root of a written data set that says what it is.
const MANIFEST: &str = "synthetic.json";

/// What [`write_dataset`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Seed of the whole set.
    pub seed: u64,
    /// Side of the images in pixels, 16 to 4096.
    pub size: u32,
    /// Images in `train/good` of each category.
    pub train_normal: usize,
    /// Images in `test/good` of each category.
    pub test_normal: usize,
    /// Images in each `test/<defect>` of each category.
    pub test_per_defect: usize,
    /// Indices into [`categories`].
    pub categories: Vec<usize>,
    /// Kinds of defects; those that cannot occur on a category are left out there.
    pub defects: Vec<DefectKind>,
}

impl Default for WriteOptions {
    /// Every category and kind at 512 pixels: 20 and 10 normal images, 2 of each defect.
    fn default() -> Self {
        Self {
            seed: 0,
            size: 512,
            train_normal: 20,
            test_normal: 10,
            test_per_defect: 2,
            categories: (0..categories().len()).collect(),
            defects: DefectKind::ALL.to_vec(),
        }
    }
}

/// Why a data set was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of its range.
    #[error("synthetic data set: {0}")]
    Option(String),
    /// The folder holds something else.
    #[error("{}: not empty, and not this data set; choose another folder or empty it", .0.display())]
    Occupied(PathBuf),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An image could not be encoded.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: image::ImageError,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_path_buf(), source }
}

/// The identity of a data set: two sets with equal manifests have equal files.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Manifest {
    generator: u32,
    seed: u64,
    size: u32,
    train_normal: usize,
    test_normal: usize,
    test_per_defect: usize,
    categories: Vec<String>,
    defects: Vec<String>,
}

/// Number of the drawing code: raised whenever it draws other pixels for a seed.
const GENERATOR: u32 = 2;

struct Job {
    request: Request,
    image: PathBuf,
    mask: Option<PathBuf>,
}

fn jobs(out: &Path, options: &WriteOptions) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &category in &options.categories {
        let kind = &categories()[category];
        let root = out.join(kind.name);
        let own = mix(options.seed, category as u64);
        let mut add = |folder: &str, salt: u64, index: usize, defect: Option<DefectKind>| {
            let scene_seed = mix(mix(own, salt), index as u64);
            let split = if salt == 1 { "train" } else { "test" };
            jobs.push(Job {
                request: Request {
                    category,
                    size: options.size,
                    scene_seed,
                    defect: defect.map(|kind| (kind, mix(scene_seed, 7))),
                },
                image: root.join(split).join(folder).join(format!("{index:03}.png")),
                mask: defect.map(|_| {
                    root.join("ground_truth").join(folder).join(format!("{index:03}_mask.png"))
                }),
            });
        };
        (0..options.train_normal).for_each(|i| add("good", 1, i, None));
        (0..options.test_normal).for_each(|i| add("good", 2, i, None));
        for &defect in options.defects.iter().filter(|&&defect| kind.possible(defect) == defect) {
            (0..options.test_per_defect)
                .for_each(|i| add(defect.name(), 100 + defect as u64, i, Some(defect)));
        }
    }
    jobs
}

/// Writes through a temporary file in the same folder, then renames it.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> Result<(), image::ImageError>,
) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let mut file = BufWriter::new(fs::File::create(&partial).map_err(io_error(&partial))?);
    write(&mut file).map_err(|source| Error::Image { path: path.to_path_buf(), source })?;
    file.into_inner().map_err(|e| io_error(&partial)(e.into_error()))?;
    fs::rename(&partial, path).map_err(io_error(path))
}

fn write_png(path: &Path, bytes: &[u8], size: u32, color: ExtendedColorType) -> Result<(), Error> {
    write_atomically(path, |file| {
        PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Up)
            .write_image(bytes, size, size, color)
    })
}

fn write_scene(job: &Job, scene: &Scene) -> Result<(), Error> {
    let size = job.request.size;
    // The mask first: an image that is there has its mask.
    if let Some(path) = &job.mask {
        let bytes: Vec<u8> = scene.mask.iter().map(|&m| if m { 255 } else { 0 }).collect();
        write_png(path, &bytes, size, ExtendedColorType::L8)?;
    }
    if scene.grey {
        let bytes: Vec<u8> =
            scene.image.as_raw().as_chunks().0.iter().map(|&[c, _, _]| c).collect();
        write_png(&job.image, &bytes, size, ExtendedColorType::L8)
    } else {
        write_png(&job.image, scene.image.as_raw(), size, ExtendedColorType::Rgb8)
    }
}

/// Writes a data set: `<category>/train/good/000.png`, `test/good`, `test/<defect>/000.png` and
/// `ground_truth/<defect>/000_mask.png` (255 where anomalous).
///
/// Images are drawn in parallel; `progress` is told how many of how many are done. Every file is
/// written whole or not at all, so an interrupted call is continued by the same call again.
///
/// # Errors
/// [`Error::Occupied`] if `out` holds anything but a data set of the same options; an error that
/// names the file where one could not be written.
pub fn write_dataset(
    out: &Path,
    options: &WriteOptions,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<(), Error> {
    if !(16..=4096).contains(&options.size) {
        return Err(Error::Option(format!("size {} is not in 16..=4096", options.size)));
    }
    if let Some(index) = options.categories.iter().find(|&&index| index >= categories().len()) {
        return Err(Error::Option(format!(
            "no category {index}, there are {}",
            categories().len()
        )));
    }
    claim(out, options)?;
    let jobs = jobs(out, options);
    let mut folders: Vec<&Path> = jobs
        .iter()
        .flat_map(|job| [Some(&job.image), job.mask.as_ref()])
        .flatten()
        .filter_map(|p| p.parent())
        .collect();
    folders.dedup();
    for folder in folders {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    let done = AtomicUsize::new(0);
    jobs.par_iter().try_for_each(|job| {
        if !job.image.exists() {
            write_scene(job, &render(&job.request))?;
        }
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        Ok(())
    })
}

/// Marks the folder as this data set's, or checks that it is.
fn claim(out: &Path, options: &WriteOptions) -> Result<(), Error> {
    let manifest = Manifest {
        generator: GENERATOR,
        seed: options.seed,
        size: options.size,
        train_normal: options.train_normal,
        test_normal: options.test_normal,
        test_per_defect: options.test_per_defect,
        categories: options.categories.iter().map(|&c| categories()[c].name.to_string()).collect(),
        defects: options.defects.iter().map(|d| d.name().to_string()).collect(),
    };
    fs::create_dir_all(out).map_err(io_error(out))?;
    let path = out.join(MANIFEST);
    if fs::read_dir(out).map_err(io_error(out))?.next().is_some() {
        let same =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
        return if same.is_some_and(|found| found == manifest) {
            Ok(())
        } else {
            Err(Error::Occupied(out.into()))
        };
    }
    write_atomically(&path, |file| {
        serde_json::to_writer_pretty(file, &manifest)
            .map_err(|e| image::ImageError::IoError(e.into()))
    })
}
