//! The text tower.

use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::block::Block;
use crate::config::TextConfig;

/// CLIP's text transformer.
///
/// Source: openai/CLIP `clip/model.py`, `CLIP.encode_text`.
#[derive(Module, Debug)]
pub struct TextTower {
    /// Embedding of the vocabulary, `[vocabulary, width]`.
    pub token_embedding: Embedding,
    /// Positions, `[context_length, width]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// The transformer blocks, causal, in order.
    pub blocks: Vec<Block>,
    /// Norm of all positions after the last block.
    pub ln_final: LayerNorm,
    /// Projection into the common embedding, `[width, embed_dim]`, without bias.
    pub projection: Linear,
}

impl TextTower {
    /// A tower with randomly initialised weights, as OpenAI's code draws them.
    pub fn new(config: &TextConfig, embed_dim: usize, device: &Device) -> Self {
        let TextConfig { width, layers, heads, mlp_width, vocabulary, context_length, activation } =
            *config;
        let normal = |std: f64| Initializer::Normal { mean: 0.0, std };
        Self {
            token_embedding: EmbeddingConfig::new(vocabulary, width)
                .with_initializer(normal(0.02))
                .init(device),
            positional_embedding: normal(0.01).init([context_length, width], device),
            blocks: (0..layers)
                .map(|_| Block::new(width, heads, mlp_width, true, activation, device))
                .collect(),
            ln_final: LayerNormConfig::new(width).init(device),
            projection: LinearConfig::new(width, embed_dim)
                .with_bias(false)
                .with_initializer(normal((width as f64).powf(-0.5)))
                .init(device),
        }
    }

    /// CLIP's text embedding, read at each text's end token; not normalised.
    ///
    /// The end token is the *first* maximum of a row, so rows padded with 0 and rows padded
    /// with the end token give the same result. Columns after the last end token of the batch
    /// are never computed: no earlier position can see them.
    ///
    /// # Shapes
    /// - ids: one row a text, each framed and padded to one length of at most `context_length`
    /// - output: `[texts, embed_dim]`
    ///
    /// # Panics
    /// If `ids` is empty, its rows differ in length, or they are longer than the context.
    pub fn forward(&self, ids: &[Vec<u32>], device: &Device) -> Tensor<2> {
        let ends: Vec<usize> = ids.iter().map(|row| end_position(row)).collect();
        let length = 1 + ends.iter().max().expect("text tower: expected at least one text");
        let [context, _] = self.positional_embedding.dims();
        assert!(length <= context, "text tower: expected at most {context} tokens, got {length}");
        let rows: Vec<&[u32]> = ids.iter().map(|row| &row[..length]).collect();
        self.forward_embeddings(self.embed(&rows, device), &ends, |_, x| x)
    }

    /// Rows of the vocabulary's embedding, without positions.
    ///
    /// # Shapes
    /// - ids: one row a text, all of one length
    /// - output: `[texts, tokens, width]`
    ///
    /// # Panics
    /// If `ids` is empty or its rows differ in length.
    pub fn embed(&self, ids: &[impl AsRef<[u32]>], device: &Device) -> Tensor<3> {
        let flat: Vec<i64> =
            ids.iter().flat_map(|row| row.as_ref().iter().map(|&id| id as i64)).collect();
        let shape = [ids.len(), flat.len() / ids.len()];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(flat, shape), device);
        self.token_embedding.forward(ids)
    }

    /// The same as [`forward`](Self::forward) from embedded tokens, some of which may have been
    /// learned; `before` is given each block's number, from 0, and its input, and answers what
    /// takes its place.
    ///
    /// # Shapes
    /// - tokens: `[texts, tokens, width]`, without positions; at most `context_length` tokens
    /// - ends: of every text the place of its end token
    /// - output: `[texts, embed_dim]`, not normalised
    ///
    /// # Panics
    /// If the texts are longer than the context.
    pub fn forward_embeddings(
        &self,
        tokens: Tensor<3>,
        ends: &[usize],
        before: impl Fn(usize, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<2> {
        let ([b, n, width], device) = (tokens.dims(), tokens.device());
        let positions = self.positional_embedding.val().narrow(0, 0, n).unsqueeze();
        let blocks = self.blocks.iter().enumerate();
        let x = blocks.fold(tokens + positions, |x, (i, block)| block.forward(before(i, x)));
        let rows: Vec<i64> = ends.iter().enumerate().map(|(i, end)| (i * n + end) as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [b]), &device);
        let x = x.reshape([b * n, width]).select(0, rows); // [b, width]
        self.projection.forward(self.ln_final.forward(x))
    }
}

fn end_position(row: &[u32]) -> usize {
    let mut best = 0;
    for (i, id) in row.iter().enumerate() {
        if *id > row[best] {
            best = i;
        }
    }
    best
}
