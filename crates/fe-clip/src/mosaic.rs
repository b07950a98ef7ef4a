//! Mosaics of four training images of one category in place of some images.
//!
//! Source: APRIL-GAN, arXiv 2305.17382, section 3.1 of its training on MVTec AD.

use burn::tensor::Device;
use data::{Limits, Preprocess, Sample, preprocess, read_image};
use ndarray::{Array2, Array3, s};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Error;
use crate::masks::read_training_mask;
use crate::settings::train::{Supervision, TrainConfig};
use crate::tensors::{batch, floats};
use crate::trainee::Trainee;

/// Random streams below this one shuffle the images.
const STREAMS: u64 = 1 << 63;

/// How often images are replaced, and by what.
pub(crate) struct Mosaics {
    probability: f64,
    seed: u64,
    samples: Vec<Sample>,
    supervision: Supervision,
    preprocessing: Preprocess,
    device: Device,
}

/// A training image that was put together.
pub(crate) struct Mosaic {
    /// Output of the frozen prefix.
    pub(crate) tokens: Vec<f32>,
    /// 1 where anomalous, row by row; empty where training knows labels alone.
    pub(crate) mask: Vec<f32>,
    pub(crate) anomalous: bool,
}

impl Mosaics {
    pub(crate) fn new(
        train: &TrainConfig,
        samples: &[Sample],
        preprocessing: &Preprocess,
        device: &Device,
    ) -> Option<Self> {
        (train.mosaic > 0.0).then(|| Self {
            probability: train.mosaic,
            seed: train.seed,
            samples: samples.to_vec(),
            supervision: train.supervision,
            preprocessing: preprocessing.clone(),
            device: device.clone(),
        })
    }

    /// The images that take the place of one, if any do; depends on seed, epoch and place alone,
    /// so that a resumed run draws the same.
    pub(crate) fn draw(&self, epoch: usize, place: usize, image: usize) -> Option<[usize; 4]> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAMS | ((epoch as u64) << 32) | place as u64);
        if !rng.random_bool(self.probability) {
            return None;
        }
        let category = &self.samples[image].category;
        let alike: Vec<usize> =
            (0..self.samples.len()).filter(|&i| self.samples[i].category == *category).collect();
        Some(std::array::from_fn(|_| *alike.choose(&mut rng).unwrap_or(&image)))
    }

    /// Puts four images together, row by row, and runs the frozen prefix on the whole.
    ///
    /// # Errors
    /// If an image or a mask cannot be read.
    pub(crate) fn make(&self, tiles: [usize; 4], model: &dyn Trainee) -> Result<Mosaic, Error> {
        let Preprocess { height, width, .. } = self.preprocessing;
        let mut image = Array3::zeros((3, height, width));
        let mut mask = Array2::from_elem((height, width), false);
        let (rows, columns) = (halves(height), halves(width));
        for (n, tile) in tiles.into_iter().enumerate() {
            let (row, column) = (rows[n / 2], columns[n % 2]);
            let sample = &self.samples[tile];
            let part = Preprocess {
                height: row.1 - row.0,
                width: column.1 - column.0,
                ..self.preprocessing.clone()
            };
            let pixels = preprocess(&read_image(&sample.image, &Limits::default())?, &part);
            image.slice_mut(s![.., row.0..row.1, column.0..column.1]).assign(&pixels);
            if let Some(found) = read_training_mask(sample, self.supervision, &part)? {
                mask.slice_mut(s![row.0..row.1, column.0..column.1]).assign(&found);
            }
        }
        let labels = self.supervision == Supervision::Labels;
        let mask = mask.iter().filter(|_| !labels).map(|&on| f32::from(u8::from(on))).collect();
        Ok(Mosaic {
            tokens: floats(model.prefix(batch(&[image], &self.device))),
            mask,
            anomalous: tiles.iter().any(|&tile| self.samples[tile].defect.is_some()),
        })
    }
}

/// From where to where the two halves of a side reach.
fn halves(side: usize) -> [(usize, usize); 2] {
    [(0, side / 2), (side / 2, side)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_places_is_replaced_by_images_of_the_same_category() {
        let sample = |category: &str| Sample {
            category: category.into(),
            image: "image.png".into(),
            split: data::Split::Test,
            defect: None,
        };
        let samples: Vec<Sample> = (0..10).map(|i| sample(["a", "b"][i % 2])).collect();
        let train = TrainConfig { mosaic: 0.25, ..TrainConfig::default() };
        let preprocessing = Preprocess::clip(6, data::Resize::Squash);
        let device = Device::flex();
        let mosaics = Mosaics::new(&train, &samples, &preprocessing, &device).unwrap();
        let drawn: Vec<_> = (0..400).filter_map(|place| mosaics.draw(1, place, 3)).collect();
        assert!((70..130).contains(&drawn.len()), "{}", drawn.len());
        assert!(drawn.iter().flatten().all(|&i| samples[i].category == "b"));
        assert!(drawn.iter().any(|tiles| *tiles != drawn[0]));
        let again: Vec<_> = (0..400).filter_map(|place| mosaics.draw(1, place, 3)).collect();
        assert_eq!(drawn, again);
        let train = TrainConfig::default();
        assert!(Mosaics::new(&train, &samples, &preprocessing, &device).is_none());
    }

    #[test]
    fn halves_cover_odd_sides() {
        assert_eq!(halves(7), [(0, 3), (3, 7)]);
    }
}
