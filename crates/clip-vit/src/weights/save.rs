//! Weights into a directory that transformers' `CLIPModel.from_pretrained` reads.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::hf_config;
use super::layout::Layout;
use crate::config::ClipConfig;
use crate::{Clip, Error};

/// Number format of saved weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Half precision: half the size, eleven significant bits.
    F16,
    /// Single precision.
    F32,
}

/// Writes `config.json` and `model.safetensors` in Hugging Face layout; the directory is made if need be.
///
/// # Errors
/// [`Error::Io`], and [`Error::Safetensors`] if the weights cannot be serialised.
pub fn save_hf(
    clip: &Clip,
    config: &ClipConfig,
    directory: &Path,
    precision: Precision,
) -> Result<(), Error> {
    fs::create_dir_all(directory)
        .map_err(|source| Error::Io { path: directory.to_path_buf(), source })?;
    let mut collector = Collector { precision, path: Vec::new(), tensors: Vec::new() };
    clip.visit(&mut collector);
    let path = directory.join("model.safetensors");
    let invalid = |source| Error::Safetensors { path: path.clone(), source };
    let dtype = match precision {
        Precision::F16 => Dtype::F16,
        Precision::F32 => Dtype::F32,
    };
    let views = collector
        .tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(invalid)?;
    // transformers refuses a file that does not say that its conventions are PyTorch's.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let weights = safetensors::serialize(views, Some(metadata)).map_err(invalid)?;
    write(&path, &weights)?;
    let document = format!("{:#}\n", hf_config::document(config));
    write(&directory.join("config.json"), document.as_bytes())
}

/// Writes beside the target and renames, so that no reader sees half a file.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let part = path.with_extension("part");
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        Error::Io { path: path.to_path_buf(), source }
    })
}

/// Name, shape and bytes of every tensor in Hugging Face layout.
struct Collector {
    precision: Precision,
    path: Vec<String>,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().detach();
        let stored = Layout::HuggingFace.stored(&self.path.join("."), &value.shape());
        let value = if stored.transposed { value.transpose() } else { value };
        let values: Vec<f32> =
            value.into_data().convert::<f32>().try_to_vec().expect("the data was converted to f32");
        let n = values.len() / stored.names.len();
        for (name, values) in stored.names.into_iter().zip(values.chunks_exact(n)) {
            let bytes = match self.precision {
                Precision::F16 => {
                    values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
                }
                Precision::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            self.tensors.push((name, stored.shape.clone(), bytes));
        }
    }
}
