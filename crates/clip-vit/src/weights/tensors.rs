//! Named tensors in memory that someone else owns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::refuse_impostor;
use crate::Error;

/// The tensors of one or more files by name.
#[derive(Default)]
pub(super) struct Tensors<'a> {
    by_name: BTreeMap<String, View<'a>>,
}

/// A tensor's bytes, little-endian, from its first element on.
pub(super) struct View<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// In elements; none if the elements follow one another.
    pub(super) strides: Option<Vec<usize>>,
}

impl<'a> Tensors<'a> {
    /// Adds the contents of a safetensors file. The `safetensors` crate checks sizes, offsets and overlaps.
    pub(super) fn add_safetensors(&mut self, path: &Path, bytes: &'a [u8]) -> Result<(), Error> {
        refuse_impostor(bytes, path)?;
        let file = SafeTensors::deserialize(bytes)
            .map_err(|source| Error::Safetensors { path: path.to_path_buf(), source })?;
        for (name, tensor) in file.tensors() {
            let view = View {
                bytes: tensor.data(),
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                strides: None,
            };
            self.add(path, name, view)?;
        }
        Ok(())
    }

    /// Adds a tensor. The view's bytes must hold every element of its shape.
    pub(super) fn add(&mut self, path: &Path, name: String, view: View<'a>) -> Result<(), Error> {
        match self.by_name.insert(name.clone(), view) {
            None => Ok(()),
            Some(_) => {
                let problems = vec![format!("there twice: {name}")];
                Err(Error::Weights { path: path.to_path_buf(), problems })
            }
        }
    }

    /// Gives every tensor another name.
    pub(super) fn rename(
        &mut self,
        path: &Path,
        rename: impl Fn(&str) -> String,
    ) -> Result<(), Error> {
        for (name, view) in std::mem::take(&mut self.by_name) {
            self.add(path, rename(&name), view)?;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.by_name.get(name).map(|view| view.shape.as_slice())
    }

    /// A message if the tensor's type is no float type that we read.
    pub(super) fn unreadable(&self, name: &str) -> Option<String> {
        let dtype = self.by_name.get(name)?.dtype;
        let is_float = matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        (!is_float).then(|| format!("{name}: expected type F32, F16 or BF16, got {dtype:?}"))
    }

    /// A tensor's elements, the last axis fastest; not copied where the file has them in that form.
    ///
    /// # Panics
    /// If the tensor is missing or no float (see [`Self::unreadable`]).
    pub(super) fn values(&self, name: &str) -> Cow<'_, [f32]> {
        let view = &self.by_name[name];
        let n: usize = view.shape.iter().product();
        let size = view.dtype.bitsize() / 8;
        let Some(strides) = &view.strides else {
            let bytes = &view.bytes[..n * size];
            return match bytemuck::try_cast_slice(bytes) {
                Ok(values) if view.dtype == Dtype::F32 && cfg!(target_endian = "little") => {
                    Cow::Borrowed(values)
                }
                _ => Cow::Owned(decode(bytes, view.dtype)),
            };
        };
        let elements = decode(&view.bytes[..view.bytes.len() / size * size], view.dtype);
        let mut values = Vec::with_capacity(n);
        let mut index = vec![0; view.shape.len()];
        while values.len() < n {
            values.push(
                elements[index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>()],
            );
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < view.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Cow::Owned(values)
    }
}

/// Elements as they lie.
fn decode(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    let words = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match dtype {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect(),
        Dtype::F16 => {
            let halves: Vec<f16> = words().map(f16::from_bits).collect();
            halves.to_f32_vec()
        }
        Dtype::BF16 => words().map(|word| bf16::from_bits(word).to_f32()).collect(),
        other => panic!("values: expected F32, F16 or BF16, got {other:?}"),
    }
}
