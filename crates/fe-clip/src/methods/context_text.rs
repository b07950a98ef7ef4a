//! The two prompts of VCP-CLIP, whose category is what an image shows.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clip_vit::{Clip, END_OF_TEXT, START_OF_TEXT, TextTower, Tokenizer};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::Error;
use crate::tensors::normalize;
use crate::vcp::{CATEGORY_ROWS, Vcp};

/// What comes before the category, normal and anomalous.
const WORDS: [&str; 2] = ["a photo of a good", "a photo of a damaged"];

/// A prompt is `[start] [a learned row] [words] [two rows of the category] [end]`; the learned row
/// is another before every block of the tower.
pub(super) struct ContextText {
    tower: TextTower,
    /// Embedded words with positions, zeros where the category comes: `[2, tokens, width]`.
    tokens: Tensor<3>,
    /// Takes the category's rows to their places: `[2, tokens, 2]`.
    places: Tensor<3>,
    /// Place of the end token of each.
    ends: [usize; 2],
}

/// Which numbers of learned rows count in a training step: every one with this probability.
pub(super) struct Dropout {
    pub(super) rate: f64,
    pub(super) rng: ChaCha8Rng,
}

impl ContextText {
    /// # Errors
    /// If the text tower has no room for the prompts.
    pub(super) fn new(clip: &Clip, device: &Device) -> Result<Self, Error> {
        let tower = clip.text.clone();
        let ([positions, _], tokenizer) = (tower.positional_embedding.dims(), Tokenizer::new());
        let framed = WORDS.map(|words| {
            let mut ids = vec![START_OF_TEXT];
            ids.extend(tokenizer.encode(words));
            let category = ids.len();
            ids.resize(category + CATEGORY_ROWS, 0);
            ids.push(END_OF_TEXT);
            (ids, category)
        });
        let ends = [0, 1].map(|side| framed[side].0.len() - 1);
        let n = 1 + ends[0].max(ends[1]);
        if n > positions {
            return Err(Error::Settings(format!(
                "method vcp-clip: its prompts have {n} tokens, the backbone's text tower takes \
                 {positions}"
            )));
        }
        let ids = [0, 1].map(|side| {
            let mut ids = framed[side].0.clone();
            ids.resize(n, END_OF_TEXT);
            ids
        });
        let mut places = vec![0f32; 2 * n * CATEGORY_ROWS];
        let mut words = vec![1f32; 2 * n];
        for (side, (_, category)) in framed.iter().enumerate() {
            for row in 0..CATEGORY_ROWS {
                places[(side * n + category + row) * CATEGORY_ROWS + row] = 1.0;
                words[side * n + category + row] = 0.0;
            }
        }
        let words = Tensor::<3>::from_data(TensorData::new(words, [2, n, 1]), device);
        let places = TensorData::new(places, [2, n, CATEGORY_ROWS]);
        let positions = tower.positional_embedding.val().narrow(0, 0, n).unsqueeze();
        let tokens = tower.embed(&ids, device) * words + positions;
        Ok(Self { tower, tokens, places: Tensor::from_data(places, device), ends })
    }

    /// Unit embeddings of the normal and the anomalous prompt about each image,
    /// `[batch, 2, embed_dim]`.
    ///
    /// # Shapes
    /// - images: their embeddings, `[batch, embed_dim]`, not normalised
    pub(super) fn embeddings(
        &self,
        part: &Vcp,
        images: Tensor<2>,
        dropout: Option<&Dropout>,
    ) -> Tensor<3> {
        let ([b, _], [_, n, width]) = (images.dims(), self.tokens.dims());
        let rows = part.category_rows(self.to_text_width(images)); // [b, 2, width]
        let category = rows.unsqueeze_dim::<4>(1).expand([b, 2, CATEGORY_ROWS, width]);
        let placed = self.places.clone().unsqueeze::<4>().expand([b, 2, n, CATEGORY_ROWS]);
        let tokens = placed.matmul(category) + self.tokens.clone().unsqueeze();
        let texts = 2 * b;
        let tokens = tokens.reshape([texts, n, width]);
        let learned = self.learned(part, texts, dropout); // [blocks, texts, width]
        let row = |block| learned.clone().narrow(0, block, 1).swap_dims(0, 1);
        let (start, rest) = (tokens.clone().narrow(1, 0, 1), tokens.narrow(1, 1, n - 1));
        let mut x = Tensor::cat(vec![start, row(0), rest], 1);
        for (i, block) in self.tower.blocks.iter().enumerate() {
            if i > 0 {
                let (start, rest) = (x.clone().narrow(1, 0, 1), x.narrow(1, 2, n - 1));
                x = Tensor::cat(vec![start, row(i), rest], 1);
            }
            x = block.forward(x);
        }
        let ends = (0..texts).map(|i| (i * (n + 1) + 1 + self.ends[i % 2]) as i64).collect();
        let ends = TensorData::new::<i64, _>(ends, [texts]);
        let ends = Tensor::<1, Int>::from_data(ends, &x.device());
        // Norms are of single rows, so the others can be left out before them.
        let x = x.reshape([texts * (n + 1), width]).select(0, ends);
        let x = self.tower.ln_final.forward(part.prompt_norm.forward(x));
        let embeddings = normalize(self.tower.projection.forward(x));
        let [_, embed_dim] = embeddings.dims();
        embeddings.reshape([b, 2, embed_dim])
    }

    /// Learned rows before every block, for every text: `[blocks, texts, width]`.
    fn learned(&self, part: &Vcp, texts: usize, dropout: Option<&Dropout>) -> Tensor<3> {
        let rows = part.rows();
        let [blocks, width] = rows.dims();
        let rows = rows.unsqueeze_dim::<3>(1).expand([blocks, texts, width]);
        let Some(Dropout { rate, rng }) = dropout.filter(|dropout| dropout.rate > 0.0) else {
            return rows;
        };
        let (mut rng, kept) = (rng.clone(), 1.0 / (1.0 - rate) as f32);
        let mut draw = || if rng.random_bool(*rate) { 0.0 } else { kept };
        let mask: Vec<f32> = (0..blocks * texts * width).map(|_| draw()).collect();
        let mask = TensorData::new(mask, [blocks, texts, width]);
        rows.clone() * Tensor::from_data(mask, &rows.device())
    }

    /// The authors' backbone has texts as wide as the embedding; others are taken there by the
    /// transpose of the texts' own projection.
    fn to_text_width(&self, images: Tensor<2>) -> Tensor<2> {
        let projection = self.tower.projection.weight.val();
        let [width, embed_dim] = projection.dims();
        if width == embed_dim { images } else { images.matmul(projection.transpose()) }
    }
}
