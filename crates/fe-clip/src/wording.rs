//! Normal and anomalous in words, and the direction between them in the embedding.

use std::collections::HashMap;
use std::fmt;

use burn::tensor::{Device, Tensor};
use clip_vit::{Clip, TextTower, Tokenizer};

use crate::settings::prompts::Prompts;
use crate::tensors::normalize;

/// Stands for the category in a prompt.
pub(crate) const CATEGORY: &str = "{}";

/// What is said of a category that nobody named.
pub(crate) const UNNAMED: &str = "object";

const NORMAL_STATES: [&str; 7] = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
];

/// How several prompts of a side become one embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Averaging {
    /// Unit embeddings, their mean, of unit length again.
    Normalized,
    /// The embeddings as they are, their mean, then of unit length.
    Raw,
}

/// Two sides of prompts, with `{}` for the category or without.
#[derive(Debug, Clone)]
pub(crate) struct Wording {
    normal: Vec<String>,
    anomalous: Vec<String>,
    averaging: Averaging,
}

impl Wording {
    /// The user's prompts.
    pub(crate) fn of(prompts: &Prompts) -> Self {
        let Prompts { normal, anomalous } = prompts.clone();
        Self { normal, anomalous, averaging: Averaging::Normalized }
    }

    /// WinCLIP's ensemble as its re-implementations have it: 147 and 84 prompts.
    pub(crate) fn winclip() -> Self {
        Self::of_winclip(&WINCLIP_TEMPLATES)
    }

    fn of_winclip(templates: &[&str]) -> Self {
        let anomalous = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"];
        Self {
            normal: compose(&NORMAL_STATES, templates),
            anomalous: compose(&anomalous, templates),
            averaging: Averaging::Raw,
        }
    }

    /// InCTRL's: WinCLIP's with all templates of its paper, 154 and 88 prompts.
    pub(crate) fn inctrl() -> Self {
        let Self { normal, anomalous, .. } = Self::of_winclip(&INCTRL_TEMPLATES);
        Self { normal, anomalous, averaging: Averaging::Normalized }
    }

    /// APRIL-GAN's ensemble: 245 and 175 prompts.
    pub(crate) fn april_gan() -> Self {
        Self::of_april_gan(&APRIL_GAN_TEMPLATES)
    }

    fn of_april_gan(templates: &[&str]) -> Self {
        let anomalous =
            ["damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"];
        Self {
            normal: compose(&NORMAL_STATES, templates),
            anomalous: compose(&anomalous, templates),
            averaging: Averaging::Normalized,
        }
    }

    /// AdaCLIP's: APRIL-GAN's states in four templates, 28 and 20 prompts.
    pub(crate) fn adaclip() -> Self {
        Self::of_april_gan(&ADACLIP_TEMPLATES)
    }

    /// Prompts of the normal side.
    pub(crate) fn normal(&self) -> usize {
        self.normal.len()
    }

    /// All that is said of a category, the normal side first.
    pub(crate) fn about(&self, category: &str) -> impl Iterator<Item = String> {
        let category = category.replace('_', " ");
        let said = self.normal.iter().chain(&self.anomalous);
        said.map(move |text| text.replace(CATEGORY, &category))
    }

    fn names_category(&self) -> bool {
        self.normal.iter().chain(&self.anomalous).any(|prompt| prompt.contains(CATEGORY))
    }
}

/// A text with more tokens than a text tower takes: what comes after is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutText {
    /// The text.
    pub text: String,
    /// Its tokens, start and end among them.
    pub tokens: usize,
    /// How many the tower takes.
    pub taken: usize,
}

impl fmt::Display for CutText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, tokens, taken } = self;
        let start: String = text.chars().take(60).collect();
        let dots = if start.len() < text.len() { "…" } else { "" };
        write!(
            f,
            "the text \"{start}{dots}\" has {tokens} tokens, the model takes {taken}: the rest is \
             left out"
        )
    }
}

/// The texts that a tower of so many positions cuts.
pub(crate) fn cut_texts(texts: impl IntoIterator<Item = String>, taken: usize) -> Vec<CutText> {
    let mut tokenizer = None;
    let mut cut = Vec::new();
    for text in texts {
        // A token is one byte at least, and cleaning lengthens no plain ASCII.
        if text.is_ascii() && !text.contains('&') && text.len() + 2 <= taken {
            continue;
        }
        let tokenizer = tokenizer.get_or_insert_with(Tokenizer::new);
        let tokens = tokenizer.encode(&text).len() + 2;
        if tokens > taken {
            cut.push(CutText { text, tokens, taken });
        }
    }
    cut
}

/// Every template around every state.
fn compose(states: &[&str], templates: &[&str]) -> Vec<String> {
    let around = |state: &str, template: &&str| template.replace(CATEGORY, state);
    states.iter().flat_map(|state| templates.iter().map(|t| around(state, t))).collect()
}

/// Unit text embeddings of a wording, by category.
pub(crate) struct TextAxes {
    wording: Wording,
    tower: TextTower,
    device: Device,
    /// Anomalous minus normal, `[embed_dim, 1]`.
    known: HashMap<String, Tensor<2>>,
}

impl TextAxes {
    pub(crate) fn new(clip: &Clip, wording: Wording, device: &Device) -> Self {
        let (tower, device) = (clip.text.clone(), device.clone());
        Self { wording, tower, device, known: HashMap::new() }
    }

    /// The difference of the two unit embeddings for each category, `[categories, embed_dim, 1]`;
    /// one row for all of them where the prompts do not name the category.
    ///
    /// # Panics
    /// If there is no category.
    pub(crate) fn of(&mut self, categories: &[&str]) -> Tensor<3> {
        if !self.wording.names_category() {
            return self.axis("").unsqueeze_dim(0);
        }
        let axes = categories.iter().map(|name| self.axis(&name.replace('_', " "))).collect();
        Tensor::stack(axes, 0)
    }

    /// The texts about a category that the tower cuts.
    pub(crate) fn cut(&self, category: &str) -> Vec<CutText> {
        let [context, _] = self.tower.positional_embedding.dims();
        cut_texts(self.wording.about(category), context)
    }

    fn axis(&mut self, category: &str) -> Tensor<2> {
        if let Some(axis) = self.known.get(category) {
            return axis.clone();
        }
        let [normal, anomalous] =
            [&self.wording.normal, &self.wording.anomalous].map(|side| self.embed(side, category));
        let axis = (anomalous - normal).transpose(); // [e, 1]
        self.known.insert(category.to_string(), axis.clone());
        axis
    }

    fn embed(&self, side: &[String], category: &str) -> Tensor<2> {
        let texts: Vec<String> = side.iter().map(|t| t.replace(CATEGORY, category)).collect();
        let [context, _] = self.tower.positional_embedding.dims();
        let embeddings =
            self.tower.forward(&Tokenizer::new().tokenize(&texts, context), &self.device);
        let embeddings = match self.wording.averaging {
            Averaging::Normalized => normalize(embeddings),
            Averaging::Raw => embeddings,
        };
        normalize(embeddings.mean_dim(0)) // [1, e]
    }
}

/// Source: WinCLIP, appendix, as both public re-implementations have it: one form is there
/// twice, and "a cropped photo of a" is missing.
const WINCLIP_TEMPLATES: [&str; 21] = [
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of a {}.",
    "a dark photo of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for anomaly detection.",
    "a photo of the {} for anomaly detection.",
];

/// Source: WinCLIP, appendix.
const INCTRL_TEMPLATES: [&str; 22] = [
    "a cropped photo of the {}.",
    "a cropped photo of a {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of the {}.",
    "a dark photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for anomaly detection.",
    "a photo of a {} for anomaly detection.",
];

/// Source: AdaCLIP, `method/adaclip.py`; as long before the category as its learned rows.
const ADACLIP_TEMPLATES: [&str; 4] = [
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
];

/// Source: APRIL-GAN, `prompt_ensemble.py`.
const APRIL_GAN_TEMPLATES: [&str; 35] = [
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of my {}.",
    "a photo of one {}.",
    "a photo of a cool {}.",
    "a photo of the cool {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a good photo of a {}.",
    "a good photo of the {}.",
    "a bad photo of a {}.",
    "a bad photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of a {}.",
    "a dark photo of the {}.",
    "a blurry photo of a {}.",
    "a blurry photo of the {}.",
    "a cropped photo of a {}.",
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a low resolution photo of a {}.",
    "a low resolution photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a black and white photo of a {}.",
    "a black and white photo of the {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ensembles_have_their_published_sizes() {
        let sizes = |w: &Wording| (w.normal.len(), w.anomalous.len());
        assert_eq!(sizes(&Wording::winclip()), (147, 84));
        assert_eq!(sizes(&Wording::inctrl()), (154, 88));
        assert_eq!(sizes(&Wording::april_gan()), (245, 175));
        assert_eq!(sizes(&Wording::adaclip()), (28, 20));
        let normal = Wording::winclip().normal;
        assert!(normal.contains(&"a photo of a {} without flaw for visual inspection.".into()));
        assert!(!Wording::of(&Prompts::default()).names_category());
    }

    #[test]
    fn a_text_that_is_cut_is_told_with_its_tokens() {
        let wording = Wording::of(&Prompts {
            normal: vec!["a photo of a {}".into()],
            anomalous: vec!["broken ".repeat(76), "a ".repeat(75)],
        });
        let cut = |category: &str| cut_texts(wording.about(category), 77);
        let part = cut("part");
        assert_eq!(part.len(), 1);
        assert_eq!((part[0].tokens, part[0].taken), (78, 77));
        assert!(part[0].to_string().contains("has 78 tokens, the model takes 77"), "{}", part[0]);
        // The category counts.
        assert_eq!(cut(&"metal_".repeat(80))[0].tokens, 2 + 4 + 80);
    }
}
