//! Text embeddings of prompts whose first words are learned vectors.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Clip, END_OF_TEXT, START_OF_TEXT, TextTower, Tokenizer};

use crate::Error;
use crate::head::LearnedPrompts;
use crate::settings::prompts::Prompts;
use crate::tensors::normalize;
use crate::wording::{CATEGORY, CutText, cut_texts};

/// A prompt is `[start] [learned vectors] [words of the prompts] [end]`.
pub(super) struct LearnedText {
    tower: TextTower,
    prompts: Prompts,
    /// Learned vectors at the beginning of each prompt.
    context: usize,
    device: Device,
    known: HashMap<String, Known>,
}

/// What does not change of the prompts about a category.
struct Known {
    /// `[texts, tokens, width]`, zeros where learned vectors come.
    tokens: Tensor<3>,
    /// Place of the end token of each.
    ends: Vec<usize>,
    /// The first so many are about the normal side.
    normal: usize,
}

impl LearnedText {
    /// # Errors
    /// If the text tower has no room for words behind the vectors.
    pub(super) fn new(
        clip: &Clip,
        prompts: &Prompts,
        context: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let tower = clip.text.clone();
        let [positions, _] = tower.positional_embedding.dims();
        if context + 3 > positions {
            return Err(Error::Settings(format!(
                "model.context_tokens: the text tower takes {positions} tokens, with start, end and \
                 a word no more than {} vectors, got {context}",
                positions.saturating_sub(3)
            )));
        }
        let (prompts, device) = (prompts.clone(), device.clone());
        Ok(Self { tower, prompts, context, device, known: HashMap::new() })
    }

    /// Remembers what does not change of the prompts about a category.
    pub(super) fn prepare(&mut self, category: &str) {
        let key = self.key(category);
        if !self.known.contains_key(&key) {
            let known = self.look_up(&key);
            self.known.insert(key, known);
        }
    }

    /// The words about a category that the tower cuts.
    pub(super) fn cut(&self, category: &str) -> Vec<CutText> {
        let [positions, _] = self.tower.positional_embedding.dims();
        cut_texts(self.words(&self.key(category)), positions - self.context)
    }

    /// Anomalous minus normal unit embedding, `[embed_dim, 1]`.
    ///
    /// # Panics
    /// If the category was not [prepared](Self::prepare).
    pub(super) fn axis(&self, vectors: &LearnedPrompts, category: &str) -> Tensor<2> {
        let known = self.known.get(&self.key(category)).expect("axis: expected a known category");
        let [texts, n, _] = known.tokens.dims();
        let device = vectors.context[0].val().device();
        let place = |count| placement(n, count, &device);
        let contexts: Vec<Tensor<2>> =
            vectors.context.iter().map(|own| place(self.context).matmul(own.val())).collect();
        let of_text = |text| {
            let side = usize::from(text >= known.normal);
            contexts[side.min(contexts.len() - 1)].clone()
        };
        let tokens = known.tokens.clone() + Tensor::stack((0..texts).map(of_text).collect(), 0);
        let before = |block: usize, x: Tensor<3>| {
            let Some(deep) = block.checked_sub(1).and_then(|i| vectors.deep.get(i)) else {
                return x;
            };
            let deep = deep.val();
            let count = deep.dims()[0];
            x * kept(n, count, &device) + place(count).matmul(deep).unsqueeze::<3>()
        };
        let embeddings = normalize(self.tower.forward_embeddings(tokens, &known.ends, before));
        let side = |from, count| normalize(embeddings.clone().narrow(0, from, count).mean_dim(0));
        let (normal, anomalous) = (known.normal, texts - known.normal);
        (side(normal, anomalous) - side(0, normal)).transpose()
    }

    /// What prompts depend on: nothing where they do not name the category.
    fn key(&self, category: &str) -> String {
        let Prompts { normal, anomalous } = &self.prompts;
        let named = normal.iter().chain(anomalous).any(|words| words.contains(CATEGORY));
        if named { category.replace('_', " ") } else { String::new() }
    }

    /// The normal side's words, then the anomalous side's.
    fn words(&self, category: &str) -> impl Iterator<Item = String> {
        let Prompts { normal, anomalous } = &self.prompts;
        normal.iter().chain(anomalous).map(|words| words.replace(CATEGORY, category))
    }

    fn look_up(&self, category: &str) -> Known {
        let tokenizer = Tokenizer::new();
        let [positions, _] = self.tower.positional_embedding.dims();
        let framed = |words: String| {
            let mut ids = vec![START_OF_TEXT];
            ids.resize(1 + self.context, 0);
            ids.extend(tokenizer.encode(&words));
            ids.truncate(positions - 1);
            ids.push(END_OF_TEXT);
            ids
        };
        let mut ids: Vec<Vec<u32>> = self.words(category).map(framed).collect();
        let ends: Vec<usize> = ids.iter().map(|row| row.len() - 1).collect();
        let longest = 1 + ends.iter().max().expect("settings have prompts of both sides");
        ids.iter_mut().for_each(|row| row.resize(longest, 0));
        let tokens = self.tower.embed(&ids, &self.device);
        let tokens = tokens * kept(longest, self.context, &self.device);
        Known { tokens, ends, normal: self.prompts.normal.len() }
    }
}

/// Takes vectors to the places after the first of `n` tokens, `[n, count]`.
pub(super) fn placement(n: usize, count: usize, device: &Device) -> Tensor<2> {
    let values = (0..n * count).map(|i| f32::from(u8::from(i / count == 1 + i % count)));
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [n, count]), device)
}

/// 0 at those places and 1 at all others, `[1, n, 1]`.
pub(super) fn kept(n: usize, count: usize, device: &Device) -> Tensor<3> {
    let values = (0..n).map(|i| f32::from(u8::from(i == 0 || i > count)));
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [1, n, 1]), device)
}
