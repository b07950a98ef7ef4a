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

/// Reads a file of AnomalyCLIP's, AdaCLIP's, APRIL-GAN's, VCP-CLIP's or InCTRL's code; tensors of
/// any other keep their names.
///
/// # Errors
/// If it cannot be read or holds more than tensors, or numbers that are not finite.
pub(crate) fn read(path: &Path) -> Result<Foreign, Error> {
    let mut file = StateDict::open(path)?;
    // Ids of the texts "X X X object.": integers.
    file.skip("tokenized_prompts_pos");
    file.skip("tokenized_prompts_neg");
    let names: Vec<String> = file.shapes().into_keys().collect();
    let inctrl = names.iter().any(|name| name.starts_with("diff_head."));
    for name in names {
        // Counts of batches, and the backbone in InCTRL's files.
        if name.ends_with(".num_batches_tracked") || inctrl && is_clip(&name) {
            file.skip(&name);
        }
    }
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
                found.tensors.insert(key, (matrix(shape), values));
            }
        }
    }
    file.finish()?;
    Ok(found)
}

/// Whether a tensor belongs to the CLIP that InCTRL's files hold.
fn is_clip(name: &str) -> bool {
    let parts = ["visual.", "transformer.", "token_embedding.", "ln_final."];
    let alone = ["positional_embedding", "text_projection", "logit_scale", "attn_mask"];
    parts.iter().any(|part| name.starts_with(part)) || alone.contains(&name)
}

/// A shape without axes of one as far as it has more than two, the first first; a single number has
/// one axis.
fn matrix(mut shape: Vec<usize>) -> Vec<usize> {
    while shape.len() > 2
        && let Some(one) = shape.iter().position(|n| *n == 1)
    {
        shape.remove(one);
    }
    if shape.is_empty() { vec![1] } else { shape }
}

/// Our key for one of the public PyTorch re-implementation.
pub(crate) fn own_name(key: &str) -> String {
    if let Some(rest) = key.strip_prefix("fc_patch.") {
        return format!("patch_projection.{rest}");
    }
    let mut words = key.split('.');
    match (words.next(), words.next(), words.next(), words.next(), words.next(), words.next()) {
        (Some("ffe"), Some(n), Some("mlp"), Some("0"), Some(leaf), None) => {
            format!("stages.{n}.ffe.linear.{leaf}")
        }
        (Some("lfs"), Some(n), Some("conv"), Some("0"), Some(leaf), None) => {
            format!("stages.{n}.lfs.conv.{leaf}")
        }
        _ => key.to_string(),
    }
}

/// What a tensor is to us.
enum Meaning {
    /// The one of this key, but for axes of one.
    Same(String),
    /// Vectors before a block of the text tower.
    Deep(String),
    StartOfText,
    /// Of no use.
    Nothing,
}

impl Meaning {
    /// Source: AnomalyCLIP `prompt_ensemble.py`, AdaCLIP `method/adaclip.py`, APRIL-GAN `train.py`,
    /// VCP-CLIP `train.py`, InCTRL `open_clip/model.py`.
    fn of(name: &str) -> Self {
        if let Some(rest) = name.strip_prefix("trainable_linearlayer.fc.") {
            return Self::Same(format!("patch_projection.{rest}"));
        }
        if let Some(meaning) = name.strip_prefix("clip_model.").and_then(Self::of_adaclip) {
            return meaning;
        }
        let Some(name) = name.strip_prefix("prompt_learner.") else {
            let meaning = Self::of_vcp(name).or_else(|| Self::of_inctrl(name));
            return meaning.unwrap_or(Self::Same(name.into()));
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

    /// A tensor of AdaCLIP's.
    fn of_adaclip(name: &str) -> Option<Self> {
        let (part, rest) = name.split_once('.')?;
        let key = match (part, rest.split_once('.')?) {
            ("visual_prompter", ("static_prompts", n)) => format!("adaclip.image_rows.{n}"),
            // Prompts of the text tower begin with its second block.
            ("text_prompter", ("static_prompts", "0")) => return Some(Self::Nothing),
            ("text_prompter", ("static_prompts", n)) => {
                format!("adaclip.text_rows.{}", n.parse::<usize>().ok()?.checked_sub(1)?)
            }
            ("patch_token_layer", ("head", rest)) => format!("patch_projection.{rest}"),
            ("cls_token_layer", ("head", rest)) => {
                format!("adaclip.class_projection.{}", rest.strip_prefix("0.")?)
            }
            ("dynamic_visual_prompt_generator", ("head", rest)) => {
                format!("adaclip.image_prompts.{rest}")
            }
            ("dynamic_text_prompt_generator", ("head", rest)) => {
                format!("adaclip.text_prompts.{rest}")
            }
            _ => return None,
        };
        Some(Self::Same(key))
    }

    /// A tensor of VCP-CLIP's beside the linear layers, which are named as APRIL-GAN's.
    fn of_vcp(name: &str) -> Option<Self> {
        let key = match name {
            "New_Lan_Embed.prompt_temp" => "logit_scales.0",
            "Zero_try.prompt_temp_l1" => "logit_scales.1",
            "New_Lan_Embed.prompt_query" => "vcp.query",
            "New_Lan_Embed.prompt_linear1.fc.weight" => "vcp.category.weight",
            "New_Lan_Embed.prompt_linear1.fc.bias" => "vcp.category.bias",
            "prompt_embeddings" => "vcp.first",
            "deep_prompt_embeddings" => "vcp.deep",
            // No forward pass uses it.
            "prompt_text_projection" => return Some(Self::Nothing),
            _ => {
                let (layer, leaf) = name.rsplit_once('.')?;
                let layer = match layer {
                    "prompt_proj" => "prompt_projection",
                    "prompt_norm" => "prompt_norm",
                    "Zero_try.q_proj_pre" => "text_query",
                    "Zero_try.k_proj_pre_1" => "patch_key",
                    "Zero_try.v_proj_pre_1" => "patch_value",
                    "Zero_try.proj_post_t" => "out",
                    _ => return None,
                };
                return Some(Self::Same(format!("vcp.{layer}.{leaf}")));
            }
        };
        Some(Self::Same(key.into()))
    }

    /// A tensor of InCTRL's beside the backbone.
    fn of_inctrl(name: &str) -> Option<Self> {
        match name {
            "adapter.fc.0.weight" => return Some(Self::Same("inctrl.down.weight".into())),
            "adapter.fc.2.weight" => return Some(Self::Same("inctrl.up.weight".into())),
            _ => {}
        }
        let mut words = name.splitn(3, '.');
        let head = match words.next()? {
            "diff_head" => "patch_head",
            "diff_head_ref" => "image_head",
            _ => return None,
        };
        let layer = match words.next()? {
            "projection1" => "first",
            "projection2" => "second",
            "projection3" => "last",
            "bn2" => "first_norm",
            "bn3" => "second_norm",
            // No forward pass uses it.
            "bn1" => return Some(Self::Nothing),
            _ => return None,
        };
        Some(Self::Same(format!("inctrl.{head}.{layer}.{}", words.next()?)))
    }
}
