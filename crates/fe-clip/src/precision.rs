//! Number formats of tensors in files.

use half::{bf16, f16};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

/// Number format of tensors in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32.
    Full,
    /// float16, half the size.
    Half,
}

impl Precision {
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::Full => Dtype::F32,
            Self::Half => Dtype::F16,
        }
    }

    /// Bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Full => 4,
            Self::Half => 2,
        }
    }
}

pub(crate) fn encode(values: &[f32], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::Full => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Precision::Half => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
    }
}

/// Numbers of a format that is read; none of any other.
pub(crate) fn decode(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        Dtype::F32 => {
            Some(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
        Dtype::F16 => Some(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        _ => None,
    }
}
