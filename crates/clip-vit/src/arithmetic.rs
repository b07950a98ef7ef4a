//! What the image tower's matrix products are computed in.

use serde::{Deserialize, Serialize};

use crate::cpu;

/// Numbers of the matrix products in the blocks of the image tower, on the CPU backend.
///
/// Norms, softmax, residuals and all sums are float32 in each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// float32.
    #[default]
    Float32,
    /// Weights and what they are multiplied by are rounded to bfloat16: half the memory.
    Bfloat16,
    /// Weights and what they are multiplied by are rounded to eight bits, with a scale for every 128 of a column or a
    /// row: a quarter of the memory.
    Int8,
}

impl Arithmetic {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
        }
    }

    /// Whether this machine has instructions for such products. Without them the results are as good, and need as
    /// little memory, but take the time of float32 or more.
    pub fn is_native(self) -> bool {
        match self {
            Self::Float32 => true,
            Self::Bfloat16 => cpu::PairProducts::try_new().is_some(),
            Self::Int8 => cpu::ByteProducts::best().is_native(),
        }
    }
}
