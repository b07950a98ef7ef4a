//! The tensors of a PyTorch file that holds no CLIP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tensors::Tensors;
use super::{archive, map, not_finite};
use crate::Error;

/// A PyTorch state dict, read as strictly as a CLIP's: [`take`](Self::take) or [`skip`](Self::skip) what is
/// expected, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct StateDict {
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    /// Or what is wrong with its type.
    values: Result<Vec<f32>, String>,
}

impl StateDict {
    /// Reads a file that `torch.save` wrote. No pickle is executed.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Archive`] if it holds more than tensors.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let map = map(path)?;
        let mut file = Tensors::default();
        archive::add(&mut file, path, &map)?;
        let stored = |name: &str| {
            let shape = file.shape(name).unwrap_or_default().to_vec();
            let values = match file.unreadable(name) {
                Some(problem) => Err(problem),
                None => {
                    let values = file.values(name).into_owned();
                    match not_finite(&values) {
                        Some(what) => Err(format!("{name}: holds {what}")),
                        None => Ok(values),
                    }
                }
            };
            (name.to_string(), Stored { shape, values })
        };
        let tensors = file.names().map(stored).collect();
        Ok(Self { path: path.to_path_buf(), tensors, problems: Vec::new() })
    }

    /// Names and shapes of the tensors.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.tensors.iter().map(|(name, stored)| (name.clone(), stored.shape.clone())).collect()
    }

    /// Values of a tensor, the last axis fastest. Zeros where it is missing, has another shape, is no float or not
    /// finite:
    /// [`finish`](Self::finish) tells.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let problem = match self.tensors.remove(name) {
            None => format!("missing: {name}"),
            Some(stored) if stored.shape != shape => {
                format!("{name}: expected shape {shape:?}, got {:?}", stored.shape)
            }
            Some(Stored { values: Ok(values), .. }) => return values,
            Some(Stored { values: Err(problem), .. }) => problem,
        };
        self.problems.push(problem);
        vec![0.0; shape.iter().product()]
    }

    /// Skips tensors that may be there and are not needed: those whose name ends in `part`.
    pub fn skip(&mut self, part: &str) {
        self.tensors.retain(|name, _| !name.ends_with(part));
    }

    /// Checks that all was as expected.
    ///
    /// # Errors
    /// [`Error::Weights`] lists what was missing, of another shape or type, not finite, or is left over.
    pub fn finish(mut self) -> Result<(), Error> {
        self.problems.extend(self.tensors.keys().map(|name| format!("unexpected: {name}")));
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Error::Weights { path: self.path, problems: self.problems })
    }
}
