//! Trained parts as their authors' code saved them with PyTorch.

use std::collections::HashMap;
use std::path::Path;

use clip_vit::StateDict;
use half::f16;

use crate::Error;

/// Under our keys.
pub(crate) struct Foreign {
    pub(crate) tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    /// The backbone's embedding of the start of a text, where the file holds it.
    pub(crate) start_of_text: Option<Vec<f32>>,
}

/// Reads a file of AnomalyCLIP's or APRIL-GAN's code; tensors of any other keep their names.
///
/// # Errors
/// If it cannot be read or holds more than tensors, or numbers that are not finite.
pub(crate) fn read(path: &Path) -> Result<Foreign, Error> {
    let mut file = StateDict::open(path)?;
    // Ids of the texts "X X X object.": integers.
    file.skip("tokenized_prompts_pos");
    file.skip("tokenized_prompts_neg");
    let mut found = Foreign { tensors: HashMap::new(), start_of_text: None };
    for (name, shape) in file.shapes() {
        let values = file.take(&name, &shape);
        match Meaning::of(&name) {
            Meaning::Nothing => {}
            Meaning::StartOfText => found.start_of_text = Some(values),
            Meaning::Deep(key) => {
                // Its authors' code rounds them before use.
                let rounded = values.iter().map(|x| f16::from_f32(*x).to_f32());
                found.tensors.insert(key, (shape, rounded.collect()));
            }
            Meaning::Same(key) => {
                let batches = shape.len().saturating_sub(2);
                let single = shape[..batches].iter().all(|n| *n == 1);
                let shape = if single { shape[batches..].to_vec() } else { shape };
                found.tensors.insert(key, (shape, values));
            }
        }
    }
    file.finish()?;
    Ok(found)
}

/// What a tensor is to us.
enum Meaning {
    /// The one of this key, but for leading axes of one.
    Same(String),
    /// Vectors before a block of the text tower.
    Deep(String),
    StartOfText,
    /// Of no use.
    Nothing,
}

impl Meaning {
    /// Source: AnomalyCLIP `prompt_ensemble.py`, APRIL-GAN `train.py`.
    fn of(name: &str) -> Self {
        if let Some(rest) = name.strip_prefix("trainable_linearlayer.fc.") {
            return Self::Same(format!("patch_projection.{rest}"));
        }
        let Some(name) = name.strip_prefix("prompt_learner.") else {
            return Self::Same(name.into());
        };
        if let Some(n) = name.strip_prefix("compound_prompts_text.") {
            return Self::Deep(format!("prompts.deep.{n}"));
        }
        match name {
            "ctx_pos" => Self::Same("prompts.context.0".into()),
            "ctx_neg" => Self::Same("prompts.context.1".into()),
            "token_prefix_pos" | "token_prefix_neg" => Self::StartOfText,
            // The embedded words, which the backbone has, and layers that no forward pass uses.
            "token_suffix_pos" | "token_suffix_neg" => Self::Nothing,
            _ if name.starts_with("compound_prompt_projections.") => Self::Nothing,
            _ => Self::Same(format!("prompt_learner.{name}")),
        }
    }
}
