//! Prompts of PromptAD, whose vectors are fitted to a few normal images.

use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Clip, END_OF_TEXT, START_OF_TEXT, TextTower, Tokenizer};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::settings::promptad::{PromptAdConfig, Task};
use crate::tensors::{floats, normalize};
use crate::wording::{CutText, cut_texts};

/// What a category's defects are, whatever the category.
const PHRASES: [&str; 8] = [
    "damaged {}",
    "flawed {}",
    "abnormal {}",
    "imperfect {}",
    "blemished {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
];
/// Weight of the distance between the phrases' mean and that of learned words.
const APART: f64 = 1e-3;
/// Where the learning rate ends.
const LAST_RATE: f64 = 1e-5;

/// Learned vectors in prompts, in the space of the text tower's embedded tokens.
#[derive(Module, Debug)]
pub struct PromptVectors {
    /// First words of all prompts, those of the first normal prompt first, `[rows, width]`.
    pub normal: Param<Tensor<2>>,
    /// Words for what is abnormal, `[rows, width]`.
    pub abnormal: Param<Tensor<2>>,
}

/// The prompts about a category: normal ones, and abnormal ones with phrases or learned words.
pub struct PromptFit {
    tower: TextTower,
    task: Task,
    /// Zeros where learned vectors come, `[texts, tokens, width]`.
    words: Tensor<3>,
    /// Take rows of learned vectors to their places, `[texts * tokens, rows]`.
    places: [Tensor<2>; 2],
    ends: Vec<usize>,
    /// How many prompts are normal, and how many have phrases.
    counts: [usize; 2],
    /// Factor of cosines.
    scale: f64,
    rate: f64,
    steps: usize,
}

/// One prompt as the parts that it is made of.
struct Prompt {
    /// Which normal prompt begins it.
    normal: usize,
    /// Which learned word follows.
    abnormal: Option<usize>,
    words: String,
}

impl PromptFit {
    /// The prompts about a category, cut where they have more tokens than the text tower takes.
    pub(super) fn new(
        clip: &Clip,
        config: &PromptAdConfig,
        category: &str,
        task: Task,
        device: &Device,
    ) -> Self {
        let (tower, tokenizer) = (clip.text.clone(), Tokenizer::new());
        let [positions, _] = tower.positional_embedding.dims();
        let prompts = prompts(config, category, task);
        let [context, own] = [config.context_tokens, config.abnormal_tokens];
        let mut ids: Vec<Vec<u32>> = Vec::new();
        for prompt in &prompts {
            let mut row = vec![START_OF_TEXT];
            row.resize(1 + context + prompt.abnormal.map_or(0, |_| own), 0);
            row.extend(tokenizer.encode(&prompt.words));
            row.truncate(positions - 1);
            row.push(END_OF_TEXT);
            ids.push(row);
        }
        let ends: Vec<usize> = ids.iter().map(|row| row.len() - 1).collect();
        let n = 1 + ends.iter().max().expect("there are normal prompts");
        ids.iter_mut().for_each(|row| row.resize(n, END_OF_TEXT));
        let texts = prompts.len();
        let rows = [config.normal_prompts(task) * context, config.abnormal_prompts * own];
        let mut places = rows.map(|rows| vec![0f32; texts * n * rows]);
        let mut kept = vec![1f32; texts * n];
        let mut place = |kind: usize, token: usize, row: usize| {
            places[kind][token * rows[kind] + row] = 1.0;
            kept[token] = 0.0;
        };
        for (text, prompt) in prompts.iter().enumerate() {
            (0..context).for_each(|i| place(0, text * n + 1 + i, prompt.normal * context + i));
            for i in 0..prompt.abnormal.map_or(0, |_| own) {
                let row = prompt.abnormal.unwrap_or(0) * own + i;
                place(1, text * n + 1 + context + i, row);
            }
        }
        let kept = Tensor::<3>::from_data(TensorData::new(kept, [texts, n, 1]), device);
        let mut places = places.into_iter().zip(rows).map(|(values, rows)| {
            Tensor::<2>::from_data(TensorData::new(values, [texts * n, rows]), device)
        });
        let mut next = || places.next().expect("there are places of both kinds");
        let normal = config.normal_prompts(task);
        let learned = normal * config.abnormal_prompts;
        Self {
            words: tower.embed(&ids, device) * kept,
            tower,
            task,
            places: [next(), next()],
            ends,
            counts: [normal, texts - normal - learned],
            scale: f64::from(floats(clip.logit_scale.val())[0]),
            rate: config.fit_rate,
            steps: config.fit_steps,
        }
    }

    /// Vectors from a normal distribution with deviation 0.02.
    pub(super) fn first(&self, rng: &mut ChaCha8Rng) -> PromptVectors {
        let [_, _, width] = self.words.dims();
        let mut draw = |places: &Tensor<2>| {
            let [_, rows] = places.dims();
            let values: Vec<f32> = (0..rows * width).map(|_| 0.02 * normal(rng)).collect();
            let values = TensorData::new(values, [rows, width]);
            Param::from_tensor(Tensor::from_data(values, &self.words.device()))
        };
        PromptVectors { normal: draw(&self.places[0]), abnormal: draw(&self.places[1]) }
    }

    /// Embeddings of all prompts, `[texts, embed_dim]`, not normalised.
    fn embeddings(&self, vectors: &PromptVectors) -> Tensor<2> {
        let [normal, abnormal] = [&vectors.normal, &vectors.abnormal].map(Param::val);
        let [of_normal, of_abnormal] = self.places.clone();
        let learned = of_normal.matmul(normal) + of_abnormal.matmul(abnormal);
        let tokens = learned.reshape(self.words.dims()) + self.words.clone();
        self.tower.forward_embeddings(tokens, &self.ends, |_, x| x)
    }

    /// Unit embeddings of both sides, normal first, `[2, embed_dim]`.
    pub(super) fn sides(&self, vectors: &PromptVectors) -> Tensor<2> {
        let embeddings = self.embeddings(vectors);
        let ([texts, _], normal) = (embeddings.dims(), self.counts[0]);
        let side = |from, count| normalize(embeddings.clone().narrow(0, from, count).mean_dim(0));
        Tensor::cat(vec![side(0, normal), side(normal, texts - normal)], 0)
    }

    /// The loss of unit embeddings of normal images, of one class token or of all patches each.
    ///
    /// # Shapes
    /// - features: `[images, tokens, embed_dim]`
    pub fn loss(&self, vectors: &PromptVectors, features: Tensor<3>) -> Tensor<1> {
        let embeddings = self.embeddings(vectors);
        let ([texts, _], [normal, phrased]) = (embeddings.dims(), self.counts);
        let part = |x: &Tensor<2>, from, count| x.clone().narrow(0, from, count);
        let side = |from, count| normalize(part(&embeddings, from, count).mean_dim(0));
        let (w_normal, w_abnormal) = (side(0, normal), side(normal, texts - normal));
        let each = normalize(part(&embeddings, normal, texts - normal));
        let against = Tensor::cat(vec![w_normal.clone(), each.clone()], 0).transpose();
        let logits = features.clone().matmul(against.unsqueeze()) * self.scale;
        let entropy = log_softmax(logits, 2).narrow(2, 0, 1).mean().neg();
        // Of patches their code sums over tokens and not over channels.
        let axis = match self.task {
            Task::Image => 2,
            Task::Pixel => 1,
        };
        let far = |w: Tensor<2>| (features.clone() - w.unsqueeze()).square().sum_dim(axis);
        let triplet = relu(far(w_normal) - far(w_abnormal)).mean();
        let mean = |from, count| part(&each, from, count).mean_dim(0);
        let learned = texts - normal - phrased;
        let apart = (mean(0, phrased) - mean(phrased, learned)).square().sum();
        entropy + triplet + apart * APART
    }

    /// Fits vectors to normal images, and tells the loss before every step; all images are in every
    /// step.
    ///
    /// # Shapes
    /// - features: as in [`loss`](Self::loss)
    pub fn fit(&self, first: PromptVectors, features: Tensor<3>) -> (PromptVectors, Vec<f32>) {
        let device = self.words.device().autodiff();
        let (mut vectors, features) = (first.fork(&device).train(), Tensor::from_inner(features));
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let decay = WeightDecayConfig { penalty: 5e-4 };
        let mut optimizer: ModuleOptimizer =
            SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(decay)).init();
        let mut losses = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let loss = self.loss(&vectors, features.clone());
            losses.push(floats(loss.clone().inner())[0]);
            let mut gradients = loss.backward();
            let gradients = GradientsParams::from_module(&mut gradients, &vectors);
            let part = std::f64::consts::PI * step as f64 / self.steps as f64;
            let rate = LAST_RATE + (self.rate - LAST_RATE) * (1.0 + part.cos()) / 2.0;
            vectors = optimizer.step(rate, vectors, gradients);
        }
        (vectors.valid(), losses)
    }
}

/// Every normal prompt; every phrase behind each of their beginnings; every learned word.
fn prompts(config: &PromptAdConfig, category: &str, task: Task) -> Vec<Prompt> {
    let name = said(category);
    let normal = config.normal_prompts(task);
    let mut prompts: Vec<Prompt> = (0..normal)
        .map(|normal| Prompt { normal, abnormal: None, words: format!("{name}.") })
        .collect();
    let own = config.defects.get(category).into_iter().flatten().map(String::as_str);
    for phrase in PHRASES.into_iter().chain(own) {
        for normal in 0..normal {
            let words = format!("{}.", phrase.replace("{}", &name).trim());
            prompts.push(Prompt { normal, abnormal: None, words });
        }
    }
    for pair in 0..normal * config.abnormal_prompts {
        let (normal, abnormal) = (pair % normal, Some(pair % config.abnormal_prompts));
        prompts.push(Prompt { normal, abnormal, words: format!("{name}.") });
    }
    prompts
}

/// The words about a category that a tower of so many positions cuts.
pub(super) fn cut(config: &PromptAdConfig, category: &str, positions: usize) -> Vec<CutText> {
    let words = prompts(config, category, Task::Pixel).into_iter().map(|prompt| prompt.words);
    cut_texts(words, positions - config.context_tokens - config.abnormal_tokens)
}

/// What a category of the published data sets is called.
fn said(category: &str) -> String {
    match category.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "pcb" => "printed circuit board".into(),
        "macaroni" => "macaroni".into(),
        "chewinggum" => "chewing gum".into(),
        _ => category.replace('_', " "),
    }
}

/// A number from the normal distribution, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, turn): (f64, f64) = (rng.random(), rng.random());
    ((-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_category_has_its_phrases_and_pairs() {
        let defects = [("pcb1".to_string(), vec!["{} with bent ".to_string()])];
        let config =
            PromptAdConfig { defects: defects.into_iter().collect(), ..PromptAdConfig::default() };
        let found = prompts(&config, "pcb1", Task::Image);
        assert_eq!(found.len(), 3 + 9 * 3 + 12);
        assert_eq!(found[0].words, "printed circuit board.");
        assert_eq!(found[29].words, "printed circuit board with bent.");
        let pair = |prompt: &Prompt| (prompt.normal, prompt.abnormal);
        assert_eq!(pair(&found[30 + 7]), (1, Some(3)));
        assert_eq!(prompts(&config, "metal_nut", Task::Pixel).len(), 1 + 8 + 4);
        assert_eq!(said("metal_nut"), "metal nut");
        assert_eq!(said("pcb"), "printed circuit board");
    }

    #[test]
    fn numbers_are_of_a_normal_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<f32> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = drawn.iter().sum::<f32>() / 2e4;
        let within = drawn.iter().filter(|x| x.abs() < 1.0).count() as f32 / 2e4;
        assert!(mean.abs() < 0.03 && (within - 0.6827).abs() < 0.01, "{mean} {within}");
    }
}
