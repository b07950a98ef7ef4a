//! Constants of a graph, whose numbers are looked up when they are written.

use half::f16;

use super::proto::{self, TensorProto};
use crate::Error;
use crate::precision::{Precision, encode};

/// A constant of the graph.
pub(super) struct Initializer<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    /// Made when they are written, so that weights are not in memory twice.
    Floats(Precision, Box<dyn Fn() -> Vec<f32> + 'a>),
    Integers(Vec<i64>),
}

impl<'a> Initializer<'a> {
    /// Numbers of a shape, row by row.
    pub(super) fn floats(
        name: String,
        shape: Vec<usize>,
        precision: Precision,
        numbers: impl Fn() -> Vec<f32> + 'a,
    ) -> Self {
        Self { name, shape, numbers: Numbers::Floats(precision, Box::new(numbers)) }
    }

    /// Integers of a shape, row by row.
    pub(super) fn integers(name: String, shape: Vec<usize>, numbers: Vec<i64>) -> Self {
        Self { name, shape, numbers: Numbers::Integers(numbers) }
    }

    /// Length of [`bytes`](Self::bytes).
    pub(super) fn len(&self) -> u64 {
        let each = match &self.numbers {
            Numbers::Floats(precision, _) => precision.bytes(),
            Numbers::Integers(_) => size_of::<i64>(),
        };
        (self.shape.iter().product::<usize>() * each) as u64
    }

    /// Whether it is one of the weights, which may lie outside the model; a runtime needs
    /// integers, which are shapes and places, before it opens other files.
    pub(super) fn is_weight(&self) -> bool {
        matches!(self.numbers, Numbers::Floats(..))
    }

    /// The message without the numbers.
    pub(super) fn head(&self) -> TensorProto {
        TensorProto {
            dims: self.shape.iter().map(|side| *side as i64).collect(),
            data_type: match &self.numbers {
                Numbers::Floats(Precision::Full, _) => proto::FLOAT,
                Numbers::Floats(Precision::Half, _) => proto::FLOAT16,
                Numbers::Integers(_) => proto::INT64,
            },
            name: self.name.clone(),
            ..TensorProto::default()
        }
    }

    /// The numbers, little-endian.
    ///
    /// # Errors
    /// If one is too large for half precision.
    ///
    /// # Panics
    /// If there are fewer or more than the shape says.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, Error> {
        let bytes = match &self.numbers {
            Numbers::Floats(precision, numbers) => {
                let numbers = numbers();
                let too_large = |x: &&f32| x.is_finite() && f16::from_f32(**x).is_infinite();
                if *precision == Precision::Half
                    && let Some(x) = numbers.iter().find(too_large)
                {
                    let name = &self.name;
                    let reason = format!("export: {name} holds {x}, too large for half precision");
                    return Err(Error::Settings(reason));
                }
                encode(&numbers, *precision)
            }
            Numbers::Integers(numbers) => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        };
        let (name, found, wanted) = (&self.name, bytes.len() as u64, self.len());
        assert!(found == wanted, "{name}: expected {wanted} bytes, got {found}");
        Ok(bytes)
    }
}
