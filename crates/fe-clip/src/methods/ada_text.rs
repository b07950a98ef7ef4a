//! The prompts of AdaCLIP, whose first words give way to rows that an image decides.

use std::collections::HashMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use clip_vit::{Clip, END_OF_TEXT, TextTower, Tokenizer};

use super::learned_text::{kept, placement};
use crate::adaclip::AdaClip;
use crate::tensors::normalize;
use crate::wording::{CutText, Wording, cut_texts};

/// A text tower and what its first block makes of the texts about each category: learned rows
/// begin before the second.
pub(super) struct AdaText {
    tower: TextTower,
    wording: Wording,
    device: Device,
    known: HashMap<String, Known>,
}

struct Known {
    /// After the first block, the normal side first: `[texts, tokens, width]`.
    tokens: Tensor<3>,
    /// Row of every text's end token in `[texts * tokens]`.
    ends: Vec<i64>,
    /// Texts of the normal side.
    normal: usize,
}

impl AdaText {
    pub(super) fn new(clip: &Clip, device: &Device) -> Self {
        let (tower, device) = (clip.text.clone(), device.clone());
        Self { tower, wording: Wording::adaclip(), device, known: HashMap::new() }
    }

    /// Remembers what does not change of the prompts about a category.
    pub(super) fn prepare(&mut self, category: &str) {
        if !self.known.contains_key(category) {
            let known = self.look_up(category);
            self.known.insert(category.to_string(), known);
        }
    }

    /// The texts about a category that the tower cuts.
    pub(super) fn cut(&self, category: &str) -> Vec<CutText> {
        let [positions, _] = self.tower.positional_embedding.dims();
        cut_texts(self.wording.about(&words(category)), positions)
    }

    /// Anomalous minus normal unit embedding for each image, `[batch, embed_dim, 1]`.
    ///
    /// # Shapes
    /// - images: embeddings of images of one category, `[batch, embed_dim]`, not normalised
    ///
    /// # Panics
    /// If the category was not [prepared](Self::prepare).
    pub(super) fn axes(&self, part: &AdaClip, images: &Tensor<2>, category: &str) -> Tensor<3> {
        let known = self.known.get(category).expect("axes: expected a known category");
        let (b, [texts, n, width]) = (images.dims()[0], known.tokens.dims());
        let of_all = |x: Tensor<4>| x.expand([b, texts, n, width]).reshape([b * texts, n, width]);
        let own = part.of_texts(images); // [b, prompts, width]
        let [_, count, _] = own.dims();
        let (place, others) = (placement(n, count, &self.device), kept(n, count, &self.device));
        let mut x = of_all(known.tokens.clone().unsqueeze());
        for (i, block) in self.tower.blocks.iter().enumerate().skip(1) {
            if let Some(learned) = part.text_rows.get(i - 1) {
                let rows = own.clone() + learned.val().unsqueeze();
                let rows = place.clone().unsqueeze::<3>().expand([b, n, count]).matmul(rows);
                x = x * others.clone() + of_all(rows.unsqueeze_dim(1));
            }
            x = block.forward(x);
        }
        let start = |image: usize| (image * texts * n) as i64;
        let ends = (0..b).flat_map(|i| known.ends.iter().map(move |end| start(i) + end)).collect();
        let ends = TensorData::new::<i64, _>(ends, [b * texts]);
        let ends = Tensor::<1, Int>::from_data(ends, &x.device());
        let x = x.reshape([b * texts * n, width]).select(0, ends);
        let x = normalize(self.tower.projection.forward(self.tower.ln_final.forward(x)));
        let [_, embed_dim] = x.dims();
        let x = x.reshape([b, texts, embed_dim]);
        let side = |from, count| normalize(x.clone().narrow(1, from, count).mean_dim(1));
        let normal = side(0, known.normal);
        (side(known.normal, texts - known.normal) - normal).transpose()
    }

    fn look_up(&self, category: &str) -> Known {
        let texts: Vec<String> = self.wording.about(&words(category)).collect();
        let [positions, _] = self.tower.positional_embedding.dims();
        let mut ids = Tokenizer::new().tokenize(&texts, positions);
        let end = |row: &Vec<u32>| row.iter().position(|id| *id == END_OF_TEXT);
        let ends: Vec<usize> = ids.iter().map(|row| end(row).expect("a text has an end")).collect();
        let n = 1 + ends.iter().max().expect("there are texts");
        ids.iter_mut().for_each(|row| row.truncate(n));
        let positions = self.tower.positional_embedding.val().narrow(0, 0, n).unsqueeze();
        let embedded = self.tower.embed(&ids, &self.device) + positions;
        let tokens = match self.tower.blocks.first() {
            Some(block) => block.forward(embedded),
            None => embedded,
        };
        let ends = ends.iter().enumerate().map(|(i, end)| (i * n + end) as i64).collect();
        Known { tokens, ends, normal: self.wording.normal() }
    }
}

/// A category in words.
fn words(category: &str) -> String {
    category.replace(['_', '-'], " ")
}
