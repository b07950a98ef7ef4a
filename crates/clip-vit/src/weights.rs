//! Weights from files, in every layout in which people have them, and back into one.
//!
//! Files are memory maps; each tensor is converted to `f32` on its way to the device.
//! A linear layer, stored as `[out, in]`, becomes `[in, out]` in memory: seen through a transposed view it would be
//! copied in every forward pass. For the CPU's kernels a block's layers become panels of it.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use crate::block::BlockPanels;
use crate::config::{Activation, ClipConfig};
use crate::cpu;
use crate::hub::sha256;
use crate::panels::{COLUMNS, Packed, Panels};
use crate::transpose::transpose;
use crate::{Arithmetic, Clip, Error, TokenHead};

mod archive;
pub(crate) mod folder;
mod hf_config;
mod impostor;
mod infer;
mod layout;
mod open_clip_config;
mod pickle;
mod save;
mod state_dict;
mod tensors;

pub use impostor::impostor;
use layout::Layout;
pub use save::{Precision, save_hf};
pub use state_dict::StateDict;
use tensors::Tensors;

/// A CLIP read from files.
#[derive(Debug)]
pub struct Pretrained {
    /// The model.
    pub clip: Clip,
    /// Its architecture.
    pub config: ClipConfig,
    /// The files that its weights came from: one, or the shards in order.
    pub weight_files: Vec<PathBuf>,
}

impl Pretrained {
    /// Lower-case hexadecimal sha256 of the weight file (of all shards after one another).
    /// Reads the whole file: seconds for a large model.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn sha256(&self) -> Result<String, Error> {
        sha256(&self.weight_files)
    }
}

/// Loads a CLIP from a directory in the layout of Hugging Face (`config.json` with `model.safetensors` or
/// `pytorch_model.bin`, or the shards of either) or of open_clip (`open_clip_config.json` with
/// `open_clip_model.safetensors` or `open_clip_pytorch_model.bin`), or from a single file `*.safetensors`, `*.pt` or
/// `*.bin` with the tensor names of Hugging Face, open_clip or OpenAI, an OpenAI TorchScript archive among them.
/// What training code puts before the names (`module.`, `_orig_mod.`, `model.`, `state_dict.`, `text.`, …) is taken off.
///
/// The architecture of a single file is read off its shapes. Shapes do not determine the number of heads,
/// `width / 64` except for the widths at which open_clip's H, g and G differ, and the activation:
/// `activation`, or quick GELU. A directory's configuration has both.
///
/// No pickle is executed: the reader knows tensors and containers, and refuses anything else.
///
/// # Errors
/// Each names the file and the cause; [`Error::Weights`] lists every tensor that is missing, unexpected, of the wrong
/// shape or type, or holds NaN or infinity. An `activation` other than the one in a directory's configuration is an
/// error, too.
pub fn load(
    path: &Path,
    activation: Option<Activation>,
    device: &Device,
) -> Result<Pretrained, Error> {
    load_in(path, activation, Arithmetic::Float32, device)
}

/// As [`load`], with the image tower's products in other numbers than float32. Its weights are only kept in these:
/// whoever looks at them sees them rounded.
///
/// # Errors
/// As [`load`]; [`Error::Arithmetic`] where the device or the model's widths do not allow it.
pub fn load_in(
    path: &Path,
    activation: Option<Activation>,
    arithmetic: Arithmetic,
    device: &Device,
) -> Result<Pretrained, Error> {
    let (config_file, weight_files) = if path.is_dir() {
        let (config, weights) = folder::files(path)?;
        (Some(config), weights)
    } else {
        (None, vec![path.to_path_buf()])
    };
    let config = config_file.as_deref().map(read_config).transpose()?;
    if let (Some(config), Some(file), Some(activation)) = (&config, &config_file, activation) {
        config.require(activation, file)?;
    }
    let maps = weight_files.iter().map(|file| map(file)).collect::<Result<Vec<_>, _>>()?;
    let mut tensors = Tensors::default();
    for (file, map) in weight_files.iter().zip(&maps) {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => tensors.add_safetensors(file, map)?,
            Some("pt" | "bin") => archive::add(&mut tensors, file, map)?,
            _ => return Err(Error::NoModel { path: path.to_path_buf() }),
        }
    }
    let layout = Layout::detect(&mut tensors, path)?;
    let config = match config {
        Some(config) => config,
        None => infer::config(&tensors, layout, activation.unwrap_or(Activation::QuickGelu), path)?,
    };
    let files = Files { tensors: &tensors, maps: &maps, layout, path };
    let clip = assemble(&config, &files, arithmetic, device)?;
    Ok(Pretrained { clip, config, weight_files })
}

/// Loads a CLIP from the contents of a `config.json` and of a safetensors file, both in Hugging Face layout.
///
/// # Errors
/// As [`load`]; `name` stands for the path.
pub fn load_bytes(
    name: &str,
    config_json: &[u8],
    weights: &[u8],
    device: &Device,
) -> Result<(Clip, ClipConfig), Error> {
    load_bytes_in(name, config_json, weights, Arithmetic::Float32, device)
}

/// As [`load_bytes`], with the image tower's products in other numbers than float32.
///
/// # Errors
/// As [`load_in`].
pub fn load_bytes_in(
    name: &str,
    config_json: &[u8],
    weights: &[u8],
    arithmetic: Arithmetic,
    device: &Device,
) -> Result<(Clip, ClipConfig), Error> {
    let path = Path::new(name);
    let config = hf_config::parse(config_json, path)?;
    let mut tensors = Tensors::default();
    tensors.add_safetensors(path, weights)?;
    let layout = Layout::detect(&mut tensors, path)?;
    let files = Files { tensors: &tensors, maps: &[], layout, path };
    let clip = assemble(&config, &files, arithmetic, device)?;
    Ok((clip, config))
}

fn read_config(path: &Path) -> Result<ClipConfig, Error> {
    match path.file_name() {
        Some(name) if name == folder::OPEN_CLIP_CONFIG => open_clip_config::read(path),
        _ => hf_config::read(path),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    parse_json(&bytes, path)
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, Error> {
    refuse_impostor(bytes, path)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text)
        .map_err(|e| Error::Config { path: path.to_path_buf(), problem: e.to_string() })
}

fn refuse_impostor(bytes: &[u8], path: &Path) -> Result<(), Error> {
    match impostor(bytes) {
        Some(what) => Err(Error::Impostor { path: path.to_path_buf(), what }),
        None => Ok(()),
    }
}

fn map(path: &Path) -> Result<Mmap, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read-only and private to the loading of one file. As with every memory map, another
    // process that truncates the file meanwhile ends this one.
    #[allow(unsafe_code)]
    unsafe { Mmap::map(&file) }.map_err(io)
}

/// Gives back the memory of what has been read, so that a model is not in memory twice.
#[cfg(unix)]
#[allow(unsafe_code)]
fn release(map: &Mmap) {
    // SAFETY: the map is a file's and read-only: pages that are dropped are read again when they are looked at.
    // Advice that is not taken costs memory only.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

#[cfg(not(unix))]
fn release(_: &Mmap) {}

/// What a model is assembled from.
struct Files<'a> {
    tensors: &'a Tensors<'a>,
    maps: &'a [Mmap],
    layout: Layout,
    path: &'a Path,
}

/// Refuses numbers that the image tower's products cannot be computed in.
fn check(arithmetic: Arithmetic, config: &ClipConfig, device: &Device) -> Result<(), Error> {
    let refuse = |problem| Error::Arithmetic { arithmetic, problem };
    if arithmetic == Arithmetic::Float32 {
        return Ok(());
    }
    if !cpu::reads_panels(device, arithmetic) {
        return Err(refuse("only the CPU backend flex computes in it".into()));
    }
    let (width, mlp) = (config.vision.width, config.vision.mlp_width);
    if [width, mlp].iter().all(|width| width.is_multiple_of(COLUMNS)) {
        return Ok(());
    }
    let problem = format!(
        "expected widths that are multiples of {COLUMNS}, the image tower's are {width} and {mlp}"
    );
    Err(refuse(problem))
}

fn assemble(
    config: &ClipConfig,
    files: &Files<'_>,
    arithmetic: Arithmetic,
    device: &Device,
) -> Result<Clip, Error> {
    let Files { tensors, maps, layout, path } = *files;
    cpu::check_instructions()?;
    check(arithmetic, config, device)?;
    // A block has a dozen tensors: a configuration with more layers than tensors is wrong and would only cost memory.
    let layers = config.vision.layers.max(config.text.layers);
    if layers > tensors.len() {
        let problem = format!("{layers} layers, but only {} tensors in the weights", tensors.len());
        return Err(Error::Config { path: path.to_path_buf(), problem });
    }
    // Burn initialises a parameter when it is first looked at: these never are.
    let mut clip = Clip::new(config, device);
    clip.vision.token_heads = token_heads(config, files, device);
    let problems = layout.compare(&parameters(&clip), tensors);
    if !problems.is_empty() {
        return Err(Error::Weights { path: path.to_path_buf(), problems });
    }
    let mut panels = HashMap::new();
    let mut problems = Vec::new();
    let mut filler = Filler {
        tensors,
        maps,
        layout,
        arithmetic,
        device,
        path: Vec::new(),
        panels: &mut panels,
        problems: &mut problems,
    };
    let mut clip = clip.map(&mut filler);
    if !problems.is_empty() {
        return Err(Error::Weights { path: path.to_path_buf(), problems });
    }
    for (tower, blocks) in [("vision", &mut clip.vision.blocks), ("text", &mut clip.text.blocks)] {
        for (i, block) in blocks.iter_mut().enumerate() {
            let mut of = |layer| {
                panels.remove(&format!("{tower}.blocks.{i}.{layer}.weight")).unwrap_or_default()
            };
            block.panels =
                BlockPanels { qkv: of("qkv"), out: of("out"), fc: of("fc"), proj: of("proj") };
        }
    }
    Ok(clip)
}

/// The heads of the image tower that the files have, as wide as they are there.
fn token_heads(config: &ClipConfig, files: &Files<'_>, device: &Device) -> Vec<Option<TokenHead>> {
    let head = |layer| {
        let name = files.layout.name(&format!("vision.token_heads.{layer}.linear.weight"));
        let [features @ 1..=usize::MAX, _] = files.tensors.shape(&name)? else { return None };
        Some(TokenHead::new(config.vision.width, *features, device))
    };
    let heads: Vec<_> = (0..config.vision.layers).map(head).collect();
    if heads.iter().any(Option::is_some) { heads } else { Vec::new() }
}

/// Path and shape of every parameter of the module.
fn parameters(clip: &Clip) -> Vec<(String, Vec<usize>)> {
    let mut lister = Lister::default();
    clip.visit(&mut lister);
    lister.parameters
}

#[derive(Default)]
struct Lister {
    path: Vec<String>,
    parameters: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.parameters.push((self.path.join("."), param.lazy_shape().to_vec()));
    }
}

/// Which of NaN and infinity some values hold.
fn not_finite(values: &[f32]) -> Option<&'static str> {
    let is_finite = |part: &[f32]| part.iter().fold(true, |all, x| all & x.is_finite());
    if values.par_chunks(1 << 16).all(is_finite) {
        return None;
    }
    Some(if values.iter().any(|x| x.is_nan()) { "NaN" } else { "infinity" })
}

struct Filler<'a> {
    tensors: &'a Tensors<'a>,
    maps: &'a [Mmap],
    layout: Layout,
    /// Of the image tower.
    arithmetic: Arithmetic,
    device: &'a Device,
    path: Vec<String>,
    /// What the kernels of the CPU read in place of some parameters, by their path.
    panels: &'a mut HashMap<String, Panels>,
    /// A line for each tensor that holds NaN or infinity.
    problems: &'a mut Vec<String>,
}

impl ModuleMapper for Filler<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let path = self.path.join(".");
        let stored = self.layout.stored(&path, &shape);
        let parts: Vec<_> = stored.names.iter().map(|name| self.tensors.values(name)).collect();
        for (name, part) in stored.names.iter().zip(&parts) {
            self.problems.extend(not_finite(part).map(|what| format!("{name}: holds {what}")));
        }
        let own = path.starts_with("vision.");
        let arithmetic = if own { self.arithmetic } else { Arithmetic::Float32 };
        if path.contains(".blocks.")
            && stored.transposed
            && cpu::reads_panels(self.device, arithmetic)
            && let Some(packed) = Packed::of_columns(&parts, shape[0], arithmetic)
        {
            drop(parts);
            self.maps.iter().for_each(release);
            let (param, panels) = Panels::parameter(packed, shape, self.device);
            self.panels.insert(path, panels);
            return param;
        }
        let values = if stored.transposed { transpose(&parts, shape[0]) } else { parts.concat() };
        drop(parts);
        self.maps.iter().for_each(release);
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}
