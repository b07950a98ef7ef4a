//! Discrete cosine transforms of arrays: 1-D, 2-D, small blocks and sliding windows.

mod array;
mod block;
mod columns;
mod definition;
mod direct;
mod fft;
mod float;
mod image;
mod lines;
mod padding;
mod parallel;
mod plan;
mod reduce;
mod simd;
mod sliding;
mod small;
mod steps;
mod two_d;
mod window_fft;

pub use array::{dct, dctn, idct, idctn};
pub use block::{
    RaggedBlocks, block_dct_2d, block_dct_2d_in_place, block_idct_2d, block_idct_2d_in_place,
};
pub use definition::{DctType, Normalization, basis, basis_2d, basis_of, inverse_basis_of};
pub use float::Float;
pub use image::ImageDim;
pub use padding::Padding;
pub use plan::{Plan, Scratch};
pub use reduce::{Reduction, sliding_map, sliding_reduce};
pub use sliding::{Sliding, sliding_coefficients, sliding_dct_2d, sliding_mean_kernel};
pub use two_d::{dct_2d, idct_2d};
pub use window_fft::{block_fft_2d, block_ifft_2d, sliding_fft_2d};
