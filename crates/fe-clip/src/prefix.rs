//! Training images prepared once: the frozen prefix's output, the mask and the label.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use data::{Limits, Preprocess, Sample, preprocess, read_image, read_mask, resize_mask};
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use crate::Error;
use crate::detect::{batch, floats};
use crate::model::FeClip;

/// Images of a forward pass while preparing.
const BATCH: usize = 8;

/// Everything that training needs of its images. Without augmentation the activations before
/// the first adapter are constants, so they are kept instead of the images.
pub struct Prefixes {
    items: Vec<Item>,
    tokens: usize,
    width: usize,
    size: usize,
}

struct Item {
    name: PathBuf,
    category: String,
    prefix: Vec<f32>,
    mask: Array2<bool>,
    anomalous: bool,
}

/// A batch as flat values.
pub(crate) struct Batch {
    pub(crate) tokens: Vec<f32>,
    pub(crate) masks: Vec<f32>,
    pub(crate) anomalous: Vec<f32>,
}

impl Prefixes {
    /// Reads images and masks and runs the model's frozen prefix on them; `progress` is given
    /// the number of images done.
    ///
    /// # Errors
    /// If there is no sample, an image or mask cannot be read, or an anomalous image has no mask.
    pub fn compute(
        model: &FeClip,
        samples: &[Sample],
        preprocessing: &Preprocess,
        device: &Device,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, Error> {
        if samples.is_empty() {
            return Err(Error::Settings("train.datasets: no image to train on".into()));
        }
        let mut items = Vec::with_capacity(samples.len());
        let (mut tokens, mut width) = (0, 0);
        for chunk in samples.chunks(BATCH) {
            let read: Vec<(Array3<f32>, Array2<bool>)> = chunk
                .par_iter()
                .map(|sample| read_sample(sample, preprocessing))
                .collect::<Result<_, _>>()?;
            let (images, masks): (Vec<_>, Vec<_>) = read.into_iter().unzip();
            let prefix = model.prefix(batch(&images, device));
            let [_, n, d] = prefix.dims();
            (tokens, width) = (n, d);
            let values = floats(prefix);
            for ((sample, mask), values) in chunk.iter().zip(masks).zip(values.chunks(n * d)) {
                items.push(Item {
                    name: sample.image.clone(),
                    category: sample.category.clone(),
                    prefix: values.to_vec(),
                    mask,
                    anomalous: sample.defect.is_some(),
                });
            }
            progress(items.len());
        }
        Ok(Self { items, tokens, width, size: preprocessing.height })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no image; never true of a computed set.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn name(&self, i: usize) -> &Path {
        &self.items[i].name
    }

    pub(crate) fn category(&self, i: usize) -> &str {
        &self.items[i].category
    }

    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        let mut batch = Batch { tokens: Vec::new(), masks: Vec::new(), anomalous: Vec::new() };
        for item in indices.iter().map(|&i| &self.items[i]) {
            batch.tokens.extend_from_slice(&item.prefix);
            batch.masks.extend(item.mask.iter().map(|&on| f32::from(u8::from(on))));
            batch.anomalous.push(f32::from(u8::from(item.anomalous)));
        }
        Ok(batch)
    }
}

fn read_sample(
    sample: &Sample,
    preprocessing: &Preprocess,
) -> Result<(Array3<f32>, Array2<bool>), Error> {
    let limits = Limits::default();
    let image = read_image(&sample.image, &limits)?;
    let mask = match &sample.defect {
        None => Array2::default((preprocessing.height, preprocessing.width)),
        Some(defect) => {
            let path = defect.mask.as_ref().ok_or_else(|| {
                Error::invalid(&sample.image, "an anomalous training image needs a mask")
            })?;
            let mask = read_mask(path, &limits)?;
            let (height, width) = mask.dim();
            if (width as u32, height as u32) != image.dimensions() {
                return Err(Error::invalid(
                    path,
                    format!(
                        "the mask is {width}x{height}, its image {}x{}",
                        image.width(),
                        image.height()
                    ),
                ));
            }
            resize_mask(mask.view(), preprocessing)
        }
    };
    Ok((preprocess(&image, preprocessing), mask))
}
