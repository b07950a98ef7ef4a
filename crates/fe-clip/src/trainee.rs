//! What training asks of a model.

use burn::tensor::Tensor;

use crate::head::Head;
use crate::loss::{LossForm, LossTerms};
use crate::model::FeClip;
use crate::wording::CutText;

/// A model whose head is trained; the rest of it is frozen.
pub trait Trainee: Send + Sync {
    /// What no training can change of images, computed once and kept.
    ///
    /// # Shapes
    /// - images: `[batch, 3, size, size]`
    /// - output: `[batch, rows, channels]`, see [`prefix_shape`](Self::prefix_shape)
    fn prefix(&self, images: Tensor<4>) -> Tensor<3>;

    /// Rows and channels of an image's prefix.
    fn prefix_shape(&self) -> [usize; 2];

    /// Says what the next images show, one category an image.
    fn describe(&mut self, categories: &[&str]);

    /// Says which step comes next, for what training draws at random; before the first, nothing is
    /// drawn.
    fn draw(&mut self, _seed: u64, _turn: u64) {}

    /// The texts about a category that have more tokens than the text tower takes.
    fn cut_texts(&self, category: &str) -> Vec<CutText>;

    /// The trained part.
    fn head(&self) -> &Head;

    /// Replaces the trained part.
    fn set_head(&mut self, head: Head);

    /// The adapters act, or the text is compared, after these layers, counted from 1.
    fn stage_ends(&self) -> Vec<usize>;

    /// What divides cosine differences.
    fn temperature(&self) -> f64;

    /// The loss of a batch from its prefix, and its terms. Where `train.references` says so, the
    /// prefixes of the images' normal images follow, those of the first image first.
    ///
    /// # Panics
    /// If the shapes disagree.
    fn loss(&self, form: &LossForm, prefix: Tensor<3>, truth: &Truth<'_>)
    -> (Tensor<1>, LossTerms);
}

/// What is known of the images of a batch.
pub struct Truth<'a> {
    /// 1 or 0 an image.
    pub anomalous: &'a [f32],
    /// 1 or 0 a pixel, `[batch, size, size]` row-major; without them maps are not learned from.
    pub masks: Option<&'a [f32]>,
    /// Side of the images in pixels.
    pub size: usize,
}

impl Trainee for FeClip {
    fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        FeClip::prefix(self, images)
    }

    fn prefix_shape(&self) -> [usize; 2] {
        FeClip::prefix_shape(self)
    }

    fn describe(&mut self, categories: &[&str]) {
        FeClip::describe(self, categories);
    }

    fn cut_texts(&self, category: &str) -> Vec<CutText> {
        FeClip::cut_texts(self, category)
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn set_head(&mut self, head: Head) {
        self.head = head;
    }

    fn stage_ends(&self) -> Vec<usize> {
        FeClip::stage_ends(self).to_vec()
    }

    fn temperature(&self) -> f64 {
        FeClip::temperature(self)
    }

    fn loss(
        &self,
        form: &LossForm,
        prefix: Tensor<3>,
        truth: &Truth<'_>,
    ) -> (Tensor<1>, LossTerms) {
        let stages = self.stages(prefix);
        let Truth { anomalous, masks, size } = *truth;
        form.loss(&stages, FeClip::temperature(self), anomalous, masks, size)
    }
}
