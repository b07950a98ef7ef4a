//! Where a parameter of the module is stored: the two families of tensor names.

use std::collections::HashSet;
use std::path::Path;

use super::tensors::Tensors;
use crate::Error;

/// A family of tensor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `vision_model.encoder.layers.0…`: transformers' `CLIPModel`.
    HuggingFace,
    /// `visual.transformer.resblocks.0…`: OpenAI's code and open_clip.
    OpenAi,
}

/// One parameter's place in a file.
pub(super) struct Stored {
    /// The tensors that it is made of, after one another along the first axis.
    pub(super) names: Vec<String>,
    /// The shape of each.
    pub(super) shape: Vec<usize>,
    /// Whether the two axes of the whole are exchanged (after axes 1 and up are taken for one).
    pub(super) transposed: bool,
}

/// Prefixes: the module's, Hugging Face's, OpenAI's.
const PREFIXES: [(&str, &str, &str); 14] = [
    ("vision.patch_embedding", "vision_model.embeddings.patch_embedding", "visual.conv1"),
    ("vision.class_embedding", "vision_model.embeddings.class_embedding", "visual.class_embedding"),
    (
        "vision.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
        "visual.positional_embedding",
    ),
    ("vision.ln_pre", "vision_model.pre_layrnorm", "visual.ln_pre"),
    ("vision.blocks", "vision_model.encoder.layers", "visual.transformer.resblocks"),
    ("vision.ln_post", "vision_model.post_layernorm", "visual.ln_post"),
    ("vision.projection.weight", "visual_projection.weight", "visual.proj"),
    // No CLIP's: what `save_hf` writes of a distilled tower.
    ("vision.token_heads", "vision_model.token_heads", "visual.token_heads"),
    ("text.token_embedding", "text_model.embeddings.token_embedding", "token_embedding"),
    (
        "text.positional_embedding",
        "text_model.embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ("text.blocks", "text_model.encoder.layers", "transformer.resblocks"),
    ("text.ln_final", "text_model.final_layer_norm", "ln_final"),
    ("text.projection.weight", "text_projection.weight", "text_projection"),
    ("logit_scale", "logit_scale", "logit_scale"),
];

/// Parts of a block: the module's, Hugging Face's, OpenAI's.
const PARTS: [(&str, &str, &str); 6] = [
    (".ln_1.", ".layer_norm1.", ".ln_1."),
    (".qkv.", ".self_attn.{}_proj.", ".attn.in_proj_"),
    (".out.", ".self_attn.out_proj.", ".attn.out_proj."),
    (".ln_2.", ".layer_norm2.", ".ln_2."),
    (".fc.", ".mlp.fc1.", ".mlp.c_fc."),
    (".proj.", ".mlp.fc2.", ".mlp.c_proj."),
];

impl Layout {
    /// Recognises the family by the patch embedding's name, and strips the prefix that all names share.
    pub(super) fn detect(tensors: &mut Tensors<'_>, path: &Path) -> Result<Self, Error> {
        tensors.rename(path, unwrapped)?;
        let sentinel = |layout: &Layout| layout.name("vision.patch_embedding.weight");
        let layouts = [Layout::HuggingFace, Layout::OpenAi];
        let found = layouts.into_iter().find_map(|layout| {
            let prefix = |name: &str| {
                let prefix = name.strip_suffix(sentinel(&layout).as_str())?;
                (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
            };
            // The whole model's names are shorter than those of a copy within it.
            Some((layout, tensors.names().filter_map(prefix).min_by_key(String::len)?))
        });
        let Some((layout, prefix)) = found else {
            let names = layouts.map(|layout| sentinel(&layout)).join(" nor ");
            let some: Vec<&str> = tensors.names().take(5).collect();
            let problem =
                format!("neither {names} among {} tensors: {}, …", tensors.len(), some.join(", "));
            return Err(Error::Weights { path: path.to_path_buf(), problems: vec![problem] });
        };
        tensors.rename(path, |name| {
            let name = name.strip_prefix(&prefix).unwrap_or(name);
            // open_clip's CustomTextCLIP keeps the text tower apart.
            let apart = name.strip_prefix("text.").filter(|_| layout == Layout::OpenAi);
            apart.unwrap_or(name).to_owned()
        })?;
        Ok(layout)
    }

    /// The stored name of a parameter, with `{}` for the letter of query, key or value.
    pub(super) fn name(self, path: &str) -> String {
        let pick = |hf: &'static str, openai: &'static str| match self {
            Layout::HuggingFace => hf,
            Layout::OpenAi => openai,
        };
        let mut name = path.replace(".gamma", ".weight").replace(".beta", ".bias");
        for (ours, hf, openai) in PREFIXES {
            if let Some(rest) = name.strip_prefix(ours) {
                name = pick(hf, openai).to_string() + rest;
                break;
            }
        }
        if path.contains(".blocks.") {
            for (ours, hf, openai) in PARTS {
                if name.contains(ours) {
                    name = name.replacen(ours, pick(hf, openai), 1);
                    break;
                }
            }
        }
        name
    }

    /// Where a parameter of a given shape is stored.
    pub(super) fn stored(self, path: &str, shape: &[usize]) -> Stored {
        let name = self.name(path);
        let names: Vec<String> = if name.contains("{}") {
            ["q", "k", "v"].map(|letter| name.replace("{}", letter)).to_vec()
        } else {
            vec![name]
        };
        let transposed = path.ends_with(".weight")
            && path != "text.token_embedding.weight"
            && !(self == Layout::OpenAi && path.ends_with(".projection.weight"));
        let mut shape = shape.to_vec();
        if transposed {
            shape.reverse();
        }
        shape[0] /= names.len();
        if path == "vision.patch_embedding.weight" {
            let side = (shape[1] / 3).isqrt();
            shape = vec![shape[0], 3, side, side];
        } else if path == "logit_scale" {
            shape = Vec::new();
        }
        Stored { names, shape, transposed }
    }

    /// One line for everything that is missing, unexpected, or of the wrong shape or type.
    pub(super) fn compare(
        self,
        parameters: &[(String, Vec<usize>)],
        tensors: &Tensors<'_>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expected = HashSet::new();
        for (path, shape) in parameters {
            let stored = self.stored(path, shape);
            for name in stored.names {
                let is_scalar = stored.shape.is_empty();
                match tensors.shape(&name) {
                    None => problems.push(format!("missing: {name} {:?}", stored.shape)),
                    Some(found) if found != stored.shape && !(is_scalar && found == [1]) => {
                        problems.push(format!(
                            "{name}: expected shape {:?}, got {found:?}",
                            stored.shape
                        ));
                    }
                    Some(_) => problems.extend(tensors.unreadable(&name)),
                }
                expected.insert(name);
            }
        }
        let is_unexpected = |name: &&str| !expected.contains(*name) && !is_ignored(name);
        problems.extend(
            tensors.names().filter(is_unexpected).map(|name| format!("unexpected: {name}")),
        );
        problems
    }
}

/// A name without the parts that DistributedDataParallel and torch.compile put into it, at any place.
fn unwrapped(name: &str) -> String {
    let parts = name.split('.').filter(|part| !["module", "_orig_mod"].contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// Buffers that some files carry along: position numbers, the causal mask, three scalars of OpenAI's archives.
fn is_ignored(name: &str) -> bool {
    name.ends_with(".position_ids")
        || name.ends_with("attn_mask")
        || ["input_resolution", "context_length", "vocab_size"].contains(&name)
}
