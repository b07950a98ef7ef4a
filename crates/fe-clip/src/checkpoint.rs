//! Adapter checkpoints: one safetensors file with the head and how it was made.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use adapters::Conv;
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{SafeTensors, TensorView};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::files::{hex, read_limited, write_atomic};
use crate::foreign::{self, Foreign, own_name};
use crate::head::{Head, LearnedPrompts, OwnPart};
use crate::precision::{Precision, decode, encode};
use crate::run::ModelConfig;
use crate::settings::prompts::Prompts;
use crate::tensors::floats;

const FORMAT: &str = "fe-clip-adapters";
const VERSION: &str = "1";
const LOGIT_SCALE: &str = "logit_scale";
const CONTEXT: &str = "prompts.context";
const DEEP: &str = "prompts.deep";
const LOGIT_SCALES: &str = "logit_scales";
/// Bytes that a checkpoint may have: ten times the adapters of the paper's backbone.
const LIMIT: u64 = 2 << 30;

/// What a checkpoint says about itself.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The `[model]` table it was trained with; absent in foreign checkpoints.
    pub config: Option<ModelConfig>,
    /// sha256 of the backbone's weight file.
    pub backbone: Option<String>,
    /// The prompts it was trained with.
    pub prompts: Option<Prompts>,
    /// How it was trained, as JSON.
    pub training: Option<serde_json::Value>,
}

/// An adapter checkpoint in memory, not yet fitted to a model.
pub struct Checkpoint {
    /// What it says about itself.
    pub origin: Origin,
    sha256: String,
    name: String,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    /// The backbone's embedding of the start of a text, where the file holds it.
    pub(crate) start_of_text: Option<Vec<f32>>,
}

impl Checkpoint {
    /// Reads a checkpoint file: ours, the public PyTorch re-implementation's, or one that the
    /// authors of AnomalyCLIP, AdaCLIP, APRIL-GAN, VCP-CLIP and InCTRL published (`.pth`).
    ///
    /// # Errors
    /// If it cannot be read, is of another format, or its metadata is not understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_limited(path, LIMIT)?;
        if !path.extension().is_some_and(|ending| ending == "pth" || ending == "pt") {
            return Self::from_bytes(&bytes, path);
        }
        let Foreign { tensors, start_of_text } = foreign::read(path)?;
        let sha256 = hex(Sha256::new_with_prefix(&bytes));
        let name = path.display().to_string();
        Ok(Self { origin: Origin::default(), sha256, name, tensors, start_of_text })
    }

    /// The same from memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn from_bytes(bytes: &[u8], name: &Path) -> Result<Self, Error> {
        let invalid = |reason: String| Error::invalid(name, reason);
        if let Some(what) = clip_vit::impostor(bytes) {
            return Err(invalid(what.into()));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| invalid(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| invalid(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let origin = origin(&metadata).map_err(invalid)?;
        let mut tensors = HashMap::new();
        for (key, view) in file.iter() {
            let values = decode(view.data(), view.dtype()).ok_or_else(|| {
                Error::invalid(name, format!("{key}: {:?} is not read", view.dtype()))
            })?;
            if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                return Err(invalid(format!("{key}: holds {bad}")));
            }
            let key = if metadata.contains_key("format") { key.into() } else { own_name(key) };
            tensors.insert(key, (view.shape().to_vec(), values));
        }
        let sha256 = hex(Sha256::new_with_prefix(bytes));
        let name = name.display().to_string();
        Ok(Self { origin, sha256, name, tensors, start_of_text: None })
    }

    /// sha256 of the checkpoint file, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Keys and shapes of the tensors, sorted by key.
    pub fn shapes(&self) -> BTreeMap<&str, &[usize]> {
        self.tensors.iter().map(|(key, (shape, _))| (key.as_str(), shape.as_slice())).collect()
    }

    /// The head that the checkpoint holds: a new one, as
    /// [`Method::new_head`](crate::Method::new_head) makes it, with its weights replaced by the
    /// checkpoint's.
    ///
    /// # Errors
    /// If keys are missing or unexpected or shapes differ: all of them in one message.
    pub fn head(mut self, mut head: Head, device: &Device) -> Result<Head, Error> {
        let mut problems = Vec::new();
        for part in parts(&mut head) {
            let weight = self.take(&part.weight_key(), part.weight_shape(), &mut problems);
            let bias = match part.bias_key() {
                Some(key) => self.take(&key, vec![part.outputs()], &mut problems).map(Some),
                None => Some(None),
            };
            if let (Some(weight), Some(bias)) = (weight, bias) {
                part.set(weight, bias, device);
            }
        }
        if let Some(scale) = &mut head.logit_scale
            && let Some(value) = self.take(LOGIT_SCALE, vec![1], &mut problems)
        {
            *scale = Param::from_tensor(Tensor::from_data(TensorData::new(value, [1]), device));
        }
        for (key, vectors) in head.prompts.iter_mut().flat_map(prompts) {
            let shape = vectors.shape();
            if let Some(values) = self.take(&key, shape.to_vec(), &mut problems) {
                let values = TensorData::new(values, shape);
                *vectors = Param::from_tensor(Tensor::from_data(values, device));
            }
        }
        for (key, scale) in logit_scales(&mut head) {
            if let Some(value) = self.take(&key, vec![1], &mut problems) {
                *scale = Param::from_tensor(Tensor::from_data(TensorData::new(value, [1]), device));
            }
        }
        head.own = head.own.take().map(|own| {
            let source = |key: &str, shape: &[usize]| self.take(key, shape.to_vec(), &mut problems);
            own.replaced(device, source)
        });
        problems.extend(self.tensors.keys().map(|key| format!("unexpected {key}")));
        if problems.is_empty() {
            return Ok(head);
        }
        problems.sort();
        let reason = format!("not adapters for this model: {}", problems.join(", "));
        Err(Error::invalid(Path::new(&self.name), reason))
    }

    fn take(
        &mut self,
        key: &str,
        expected: Vec<usize>,
        problems: &mut Vec<String>,
    ) -> Option<Vec<f32>> {
        match self.tensors.remove(key) {
            None => problems.push(format!("missing {key}")),
            Some((shape, _)) if shape != expected => {
                problems.push(format!("{key} has shape {shape:?}, expected {expected:?}"));
            }
            Some((_, values)) => return Some(values),
        }
        None
    }
}

/// Writes a head with its origin.
///
/// # Errors
/// If the file cannot be written.
pub fn save(path: &Path, head: &Head, origin: &Origin, precision: Precision) -> Result<(), Error> {
    let mut head = head.clone();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for part in parts(&mut head) {
        let (weight, bias) = part.get();
        tensors.insert(part.weight_key(), (part.weight_shape(), encode(&weight, precision)));
        if let (Some(key), Some(bias)) = (part.bias_key(), bias) {
            tensors.insert(key, (vec![part.outputs()], encode(&bias, precision)));
        }
    }
    if let Some(scale) = &head.logit_scale {
        let value = encode(&floats(scale.val().inner()), precision);
        tensors.insert(LOGIT_SCALE.into(), (vec![1], value));
    }
    for (key, vectors) in head.prompts.iter_mut().flat_map(prompts) {
        let values = encode(&floats(vectors.val().inner()), precision);
        tensors.insert(key, (vectors.shape().to_vec(), values));
    }
    for (key, scale) in logit_scales(&mut head) {
        tensors.insert(key, (vec![1], encode(&floats(scale.val().inner()), precision)));
    }
    for (key, shape, values) in head.own.iter().flat_map(OwnPart::tensors) {
        tensors.insert(key, (shape, encode(&values, precision)));
    }
    let dtype = precision.dtype();
    let mut views = Vec::new();
    for (key, (shape, bytes)) in &tensors {
        let view =
            TensorView::new(dtype, shape.clone(), bytes).map_err(|e| Error::invalid(path, e))?;
        views.push((key.as_str(), view));
    }
    let mut metadata = HashMap::from([
        ("format".to_string(), FORMAT.to_string()),
        ("version".to_string(), VERSION.to_string()),
    ]);
    let entries = [
        ("config", origin.config.as_ref().map(|c| json!(c).to_string())),
        ("backbone", origin.backbone.clone()),
        ("prompts", origin.prompts.as_ref().map(|p| json!(p).to_string())),
        ("training", origin.training.as_ref().map(ToString::to_string)),
    ];
    for (key, text) in entries {
        metadata.extend(text.map(|text| (key.to_string(), text)));
    }
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| Error::invalid(path, e))?;
    write_atomic(path, &ordered(bytes).map_err(|e| Error::invalid(path, e))?)
}

/// The same safetensors file with the keys of its header in order: the library writes metadata
/// in the order of a hash map, and equal adapters shall be equal bytes.
fn ordered(bytes: Vec<u8>) -> Result<Vec<u8>, serde_json::Error> {
    let length = bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)) as usize;
    let header: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&bytes[8..8 + length])?;
    let mut text = serde_json::to_string(&header)?;
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out.extend(&bytes[8 + length..]);
    Ok(out)
}

fn origin(metadata: &HashMap<String, String>) -> Result<Origin, String> {
    match (metadata.get("format").map(String::as_str), metadata.get("version").map(String::as_str))
    {
        (None, _) => return Ok(Origin::default()), // the public PyTorch re-implementation's
        (Some(FORMAT), Some(VERSION)) => {}
        (format, version) => {
            return Err(format!(
                "expected format {FORMAT} version {VERSION}, got {} version {}",
                format.unwrap_or("none"),
                version.unwrap_or("none")
            ));
        }
    }
    fn parse<T: serde::de::DeserializeOwned>(
        metadata: &HashMap<String, String>,
        key: &str,
    ) -> Result<Option<T>, String> {
        let Some(text) = metadata.get(key) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|e| format!("metadata {key}: {e}"))
    }
    Ok(Origin {
        config: parse(metadata, "config")?,
        backbone: metadata.get("backbone").cloned(),
        prompts: parse(metadata, "prompts")?,
        training: parse(metadata, "training")?,
    })
}

/// A matrix of the head and how it is stored.
struct Part<'a> {
    key: String,
    weight: &'a mut Param<Tensor<2>>,
    bias: Option<&'a mut Param<Tensor<1>>>,
    form: Form,
}

/// What a matrix `[inputs, outputs]` stands for.
#[derive(Clone, Copy)]
enum Form {
    Linear,
    /// A convolution with a square kernel of this side.
    Conv(usize),
}

fn parts(head: &mut Head) -> Vec<Part<'_>> {
    fn linear(key: String, layer: &mut Linear, form: Form) -> Part<'_> {
        Part { key, weight: &mut layer.weight, bias: layer.bias.as_mut(), form }
    }
    fn conv(key: String, conv: &mut Conv) -> Part<'_> {
        let form = Form::Conv(conv.kernel());
        linear(key, &mut conv.linear, form)
    }
    let mut parts = Vec::new();
    for (n, stage) in head.stages.iter_mut().enumerate() {
        if let Some(ffe) = &mut stage.ffe {
            parts.push(linear(format!("stages.{n}.ffe.linear"), &mut ffe.linear, Form::Linear));
        }
        if let Some(lfs) = &mut stage.lfs {
            parts.push(conv(format!("stages.{n}.lfs.conv"), &mut lfs.conv));
        }
        if let Some(adapter) = &mut stage.conv {
            parts.push(conv(format!("stages.{n}.conv.conv"), &mut adapter.conv));
        }
    }
    let shared = head.patch_projection.len() == 1;
    for (n, layer) in head.patch_projection.iter_mut().enumerate() {
        let key = if shared { "patch_projection".into() } else { format!("patch_projection.{n}") };
        parts.push(linear(key, layer, Form::Linear));
    }
    parts
}

/// Learned vectors and the keys under which they are stored, `[tokens, width]` each.
fn prompts(prompts: &mut LearnedPrompts) -> Vec<(String, &mut Param<Tensor<2>>)> {
    let shared = prompts.context.len() == 1;
    let context = prompts.context.iter_mut().enumerate().map(|(n, vectors)| {
        let key = if shared { CONTEXT.into() } else { format!("{CONTEXT}.{n}") };
        (key, vectors)
    });
    let deep = prompts.deep.iter_mut().enumerate();
    context.chain(deep.map(|(n, vectors)| (format!("{DEEP}.{n}"), vectors))).collect()
}

/// Learned temperatures and the keys under which they are stored.
fn logit_scales(head: &mut Head) -> impl Iterator<Item = (String, &mut Param<Tensor<1>>)> {
    let scales = head.logit_scales.iter_mut().enumerate();
    scales.map(|(n, scale)| (format!("{LOGIT_SCALES}.{n}"), scale))
}

impl Part<'_> {
    fn weight_key(&self) -> String {
        format!("{}.weight", self.key)
    }

    /// None where the layer has no bias.
    fn bias_key(&self) -> Option<String> {
        self.bias.is_some().then(|| format!("{}.bias", self.key))
    }

    fn outputs(&self) -> usize {
        self.weight.shape()[1]
    }

    /// PyTorch's shape of the weight.
    fn weight_shape(&self) -> Vec<usize> {
        let shape = self.weight.shape();
        match self.form {
            Form::Linear => vec![shape[1], shape[0]],
            Form::Conv(k) => vec![shape[1], shape[0] / (k * k), k, k],
        }
    }

    /// Calls `f(index in PyTorch's order, index in ours)` for every element of the weight.
    fn each_index(&self, mut f: impl FnMut(usize, usize)) {
        let shape = self.weight.shape();
        let (inputs, outputs) = (shape[0], shape[1]);
        let taps = match self.form {
            Form::Linear => 1,
            Form::Conv(k) => k * k,
        };
        let channels = inputs / taps;
        let mut theirs = 0;
        for o in 0..outputs {
            for i in 0..channels {
                for tap in 0..taps {
                    f(theirs, (tap * channels + i) * outputs + o);
                    theirs += 1;
                }
            }
        }
    }

    fn get(&self) -> (Vec<f32>, Option<Vec<f32>>) {
        let ours = floats(self.weight.val().inner());
        let mut weight = vec![0.0; ours.len()];
        self.each_index(|theirs, own| weight[theirs] = ours[own]);
        (weight, self.bias.as_ref().map(|bias| floats(bias.val().inner())))
    }

    fn set(mut self, weight: Vec<f32>, bias: Option<Vec<f32>>, device: &Device) {
        let shape = self.weight.shape();
        let mut ours = vec![0.0; weight.len()];
        self.each_index(|theirs, own| ours[own] = weight[theirs]);
        let ours = TensorData::new(ours, [shape[0], shape[1]]);
        *self.weight = Param::from_tensor(Tensor::from_data(ours, device));
        if let (Some(own), Some(bias)) = (&mut self.bias, bias) {
            let bias = TensorData::new(bias, [shape[1]]);
            **own = Param::from_tensor(Tensor::from_data(bias, device));
        }
    }
}
