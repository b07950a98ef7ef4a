//! Discrete cosine transforms of arrays: 1-D, 2-D, small blocks and sliding windows.

mod block;
mod definition;
mod float;
mod padding;
mod sliding;
mod two_d;

pub use block::{RaggedBlocks, block_dct_2d, block_idct_2d};
pub use definition::{DctType, Normalization, basis, basis_2d, basis_of, inverse_basis_of};
pub use float::Float;
pub use padding::Padding;
pub use sliding::{sliding_dct_2d, sliding_mean_kernel};
pub use two_d::{dct_2d, idct_2d};
