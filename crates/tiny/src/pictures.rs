//! Where training pictures come from: a corpus of photographs and the categories that are drawn.

use data::Crops;
use fe_clip::Error;
use image::RgbImage;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Photographs and categories without those that are held out.
#[derive(Debug)]
pub(crate) struct Pictures {
    photographs: Option<Crops>,
    crops: Vec<usize>,
    categories: Vec<usize>,
}

impl Pictures {
    pub(crate) fn new(photographs: Option<Crops>) -> Self {
        let crops = photographs
            .iter()
            .flat_map(|crops| (0..crops.len()).filter(|&i| !crops.source(i).held_out));
        let crops = crops.collect();
        let all = synthetic::categories();
        let categories =
            (0..all.len()).filter(|&i| !synthetic::HELD_OUT.contains(&all[i].name)).collect();
        Self { photographs, crops, categories }
    }

    /// The corpus, with what it holds out.
    pub(crate) fn photographs(&self) -> Option<&Crops> {
        self.photographs.as_ref()
    }

    /// Indices of the categories.
    pub(crate) fn categories(&self) -> &[usize] {
        &self.categories
    }

    pub(crate) fn category(&self, rng: &mut impl Rng) -> usize {
        *self.categories.choose(rng).expect("there are categories for training")
    }

    /// A crop and its index in the corpus; `None` without photographs.
    ///
    /// # Errors
    /// If the crop cannot be read.
    pub(crate) fn crop(&self, rng: &mut ChaCha8Rng) -> Result<Option<(RgbImage, usize)>, Error> {
        let (Some(crops), Some(&index)) = (&self.photographs, self.crops.choose(rng)) else {
            return Ok(None);
        };
        Ok(Some((crops.get(index)?, index)))
    }
}
