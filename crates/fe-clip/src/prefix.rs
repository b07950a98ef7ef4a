//! Training images prepared once: the frozen prefix's output, the mask and the label.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use data::{Limits, Preprocess, Sample, preprocess, read_image};
use ndarray::Array2;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde_json::json;

use crate::Error;
use crate::cache::{Cache, Found, sha256};
use crate::masks::read_training_mask;
use crate::mosaic::Mosaics;
use crate::precision::{Precision, decode, encode};
use crate::settings::train::{Supervision, TrainConfig};
use crate::tensors::{batch, floats};
use crate::trainee::Trainee;

/// Streams of random numbers that choose normal images.
const STREAMS: u64 = 1 << 61;

/// Images that are prepared between two reports of progress.
const CHUNK: usize = 8;

/// Where the frozen prefix's output is kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In memory, for this run.
    Memory,
    /// In a folder, where later runs find it.
    Disk {
        /// The folder; several runs, backbones and preprocessings may share it.
        folder: PathBuf,
        /// sha256 of the backbone's weights.
        backbone: String,
    },
}

/// How training images are prepared.
pub struct Preparation<'a> {
    /// The model; its prefix is frozen.
    pub model: &'a dyn Trainee,
    /// What happens to an image first.
    pub preprocessing: &'a Preprocess,
    /// What is known of the images, how activations are kept, and mosaics.
    pub train: &'a TrainConfig,
    /// Where the activations are kept.
    pub storage: Storage,
    /// Where they are computed.
    pub device: &'a Device,
}

/// Everything that training needs of its images. But for mosaics the activations before the
/// first adapter are constants, so they are kept instead of the images.
pub struct Prefixes {
    items: Vec<Item>,
    shape: [usize; 2],
    size: usize,
    precision: Precision,
    supervision: Supervision,
    cache: Option<Cache>,
    mosaics: Option<Mosaics>,
    /// Normal images that go with every image, and the seed that chooses them.
    references: (usize, u64),
    reused: usize,
    damaged: usize,
}

struct Item {
    name: PathBuf,
    category: String,
    tokens: Tokens,
    /// A bit a pixel, row by row; none of a normal image.
    mask: Option<Vec<u8>>,
    anomalous: bool,
    found: Provenance,
}

/// Where an image's activations came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provenance {
    Computed,
    Reused,
    /// Computed, because what was on disk was of no use.
    Replaced,
}

enum Tokens {
    Memory(Vec<u8>),
    /// In the cache, under the hash of the image.
    Disk(String),
}

/// A batch as flat values.
pub(crate) struct Batch {
    pub(crate) tokens: Vec<f32>,
    /// None where training knows labels alone.
    pub(crate) masks: Option<Vec<f32>>,
    pub(crate) anomalous: Vec<f32>,
}

impl Preparation<'_> {
    /// Bytes that the activations of so many images take.
    pub fn bytes(&self, images: usize) -> u64 {
        let [tokens, width] = self.model.prefix_shape();
        (images * tokens * width * self.train.prefix_precision.bytes()) as u64
    }

    /// Reads images and masks and runs the model's frozen prefix on them, each image on its own
    /// so that its numbers do not depend on its neighbours; `progress` is given the number of
    /// images done.
    ///
    /// # Errors
    /// If there is no sample, an image or mask cannot be read, an anomalous image has no mask
    /// although masks are wanted, or the cache cannot be read or written.
    pub fn run(
        &self,
        samples: &[Sample],
        mut progress: impl FnMut(usize),
    ) -> Result<Prefixes, Error> {
        if samples.is_empty() {
            return Err(Error::Settings("train.datasets: no image to train on".into()));
        }
        let cache = self.open_cache()?;
        let mut items = Vec::with_capacity(samples.len());
        for chunk in samples.chunks(CHUNK) {
            let prepared = chunk.par_iter().map(|sample| self.prepare(sample, cache.as_ref()));
            items.extend(prepared.collect::<Result<Vec<_>, _>>()?);
            progress(items.len());
        }
        let count = |found| items.iter().filter(|item| item.found == found).count();
        Ok(Prefixes {
            shape: self.model.prefix_shape(),
            size: self.preprocessing.height,
            precision: self.train.prefix_precision,
            supervision: self.train.supervision,
            cache,
            mosaics: Mosaics::new(self.train, samples, self.preprocessing, self.device),
            references: (self.train.references, self.train.seed),
            reused: count(Provenance::Reused),
            damaged: count(Provenance::Replaced),
            items,
        })
    }

    fn open_cache(&self) -> Result<Option<Cache>, Error> {
        let Storage::Disk { folder, backbone } = &self.storage else { return Ok(None) };
        // The answer to one image tells everything else that would change the numbers: the
        // activation, the layers before the first adapter, the kernels and the device.
        let Preprocess { height, width, .. } = *self.preprocessing;
        let ramp = (0..3 * height * width).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        let ramp = TensorData::new::<f32, _>(ramp, [1, 3, height, width]);
        let answer = self.model.prefix(Tensor::from_data(ramp, self.device));
        let identity = json!({
            "backbone": backbone,
            "preprocessing": self.preprocessing,
            "precision": self.train.prefix_precision,
            "answer": sha256(&encode(&floats(answer), Precision::Full)),
        });
        let shape = self.model.prefix_shape();
        Cache::open(folder, &identity.to_string(), shape, self.train.prefix_precision).map(Some)
    }

    fn prepare(&self, sample: &Sample, cache: Option<&Cache>) -> Result<Item, Error> {
        let (tokens, found) = match cache {
            None => (Tokens::Memory(self.compute(&sample.image)?), Provenance::Computed),
            Some(cache) => self.look_up(&sample.image, cache)?,
        };
        Ok(Item {
            name: sample.image.clone(),
            category: sample.category.clone(),
            tokens,
            mask: read_training_mask(sample, self.train.supervision, self.preprocessing)?
                .map(|mask| pack(&mask)),
            anomalous: sample.defect.is_some(),
            found,
        })
    }

    fn look_up(&self, image: &Path, cache: &Cache) -> Result<(Tokens, Provenance), Error> {
        let file = fs::read(image).map_err(|e| Error::io(image, e))?;
        let hash = sha256(&file);
        let provenance = match cache.find(&hash)? {
            Found::Numbers(_) => return Ok((Tokens::Disk(hash), Provenance::Reused)),
            Found::Nothing => Provenance::Computed,
            Found::Damaged => Provenance::Replaced,
        };
        cache.put(&hash, &self.compute(image)?)?;
        Ok((Tokens::Disk(hash), provenance))
    }

    fn compute(&self, image: &Path) -> Result<Vec<u8>, Error> {
        let image = read_image(image, &Limits::default())?;
        let images = [preprocess(&image, self.preprocessing)];
        let prefix = self.model.prefix(batch(&images, self.device));
        Ok(encode(&floats(prefix), self.train.prefix_precision))
    }
}

impl Prefixes {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no image; never true of a computed set.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Images whose activations were found on disk.
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// Images for which there was a file on disk that could not be used: damaged or foreign.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    pub(crate) fn name(&self, i: usize) -> &Path {
        &self.items[i].name
    }

    pub(crate) fn category(&self, i: usize) -> &str {
        &self.items[i].category
    }

    pub(crate) fn is_anomalous(&self, i: usize) -> bool {
        self.items[i].anomalous
    }

    /// Tokens and channels of an image's activations.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The images of a part of an epoch; `place` is that of the first one in the epoch's order.
    pub(crate) fn batch(
        &self,
        indices: &[usize],
        epoch: usize,
        place: usize,
        model: &dyn Trainee,
    ) -> Result<Batch, Error> {
        let drawn = indices.iter().enumerate().map(|(k, &i)| match &self.mosaics {
            Some(mosaics) => {
                let tiles = mosaics.draw(epoch, place + k, i);
                tiles.map(|tiles| mosaics.make(tiles, model)).transpose()
            }
            None => Ok(None),
        });
        let drawn = drawn.collect::<Result<Vec<_>, Error>>()?;
        let tokens = indices.par_iter().zip(&drawn).map(|(&i, mosaic)| match mosaic {
            Some(mosaic) => Ok(mosaic.tokens.clone()),
            None => self.tokens(&self.items[i]),
        });
        let mut tokens = tokens.collect::<Result<Vec<_>, _>>()?.concat();
        for i in self.draw_references(indices, epoch, place)? {
            tokens.extend(self.tokens(&self.items[i])?);
        }
        let (mut masks, mut anomalous) = (Vec::new(), Vec::new());
        for (&i, mosaic) in indices.iter().zip(&drawn) {
            let item = &self.items[i];
            let label = mosaic.as_ref().map_or(item.anomalous, |mosaic| mosaic.anomalous);
            anomalous.push(f32::from(u8::from(label)));
            match (mosaic, self.supervision) {
                (_, Supervision::Labels) => {}
                (Some(mosaic), _) => masks.extend_from_slice(&mosaic.mask),
                (None, _) => masks.extend(self.pixels(item)),
            }
        }
        let masks = (self.supervision == Supervision::Masks).then_some(masks);
        Ok(Batch { tokens, masks, anomalous })
    }

    /// Other normal images of each image's category, the same again where there are too few.
    fn draw_references(
        &self,
        indices: &[usize],
        epoch: usize,
        place: usize,
    ) -> Result<Vec<usize>, Error> {
        let (count, seed) = self.references;
        let mut drawn = Vec::with_capacity(count * indices.len());
        if count == 0 {
            return Ok(drawn);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAMS | ((epoch as u64) << 32) | place as u64);
        for &i in indices {
            let category = &self.items[i].category;
            let alike = self.items.iter().enumerate().filter(|(other, item)| {
                *other != i && !item.anomalous && item.category == *category
            });
            let mut alike: Vec<usize> = alike.map(|(other, _)| other).collect();
            if alike.is_empty() {
                return Err(Error::Settings(format!(
                    "train.references: {} has no other normal image of its category, {category}",
                    self.items[i].name.display()
                )));
            }
            alike.shuffle(&mut rng);
            drawn.extend(alike.iter().copied().cycle().take(count));
        }
        Ok(drawn)
    }

    fn pixels(&self, item: &Item) -> impl Iterator<Item = f32> {
        let bit = move |i: usize| item.mask.as_ref().map_or(0, |bits| (bits[i / 8] >> (i % 8)) & 1);
        (0..self.size * self.size).map(move |i| f32::from(bit(i)))
    }

    fn tokens(&self, item: &Item) -> Result<Vec<f32>, Error> {
        let number = |bytes: &[u8]| {
            decode(bytes, self.precision.dtype()).expect("a kept format is one that is read")
        };
        match (&item.tokens, &self.cache) {
            (Tokens::Memory(bytes), _) => Ok(number(bytes)),
            (Tokens::Disk(hash), Some(cache)) => Ok(number(&cache.get(hash)?)),
            (Tokens::Disk(_), None) => unreachable!("only a cache makes entries on disk"),
        }
    }
}

/// A bit a pixel, row by row, the first pixel in the lowest bit.
fn pack(mask: &Array2<bool>) -> Vec<u8> {
    let mut bits = vec![0; mask.len().div_ceil(8)];
    for (i, on) in mask.iter().enumerate() {
        bits[i / 8] |= u8::from(*on) << (i % 8);
    }
    bits
}
