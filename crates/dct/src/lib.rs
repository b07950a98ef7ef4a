//! Discrete cosine transforms of [`ndarray`] arrays: 1-D along any axis, 2-D, small blocks and
//! sliding windows, in `f32` and `f64`.
//!
//! ```
//! use dct::{Padding, Reduction, Sliding, block_dct_2d, block_idct_2d, sliding_reduce};
//! use ndarray::Array3;
//!
//! // 24 x 24 tokens of 64 channels
//! let tokens = Array3::from_shape_fn((24, 24, 64), |(i, j, c)| ((i * j + c) % 7) as f32);
//!
//! // 3x3 blocks, each transformed where it stands
//! let spectrum = block_dct_2d(tokens.view(), 3, Padding::None)?;
//! let back = block_idct_2d(spectrum.view(), 3)?;
//! approx::assert_abs_diff_eq!(back, tokens, epsilon = 1e-5);
//!
//! // the mean magnitude of the 3x3 spectrum around each token
//! let texture = sliding_reduce(tokens.view(), &Sliding::new(3), Reduction::AbsMean);
//! assert_eq!(texture.dim(), (24, 24, 64));
//! # Ok::<(), dct::RaggedBlocks>(())
//! ```
//!
//! # What to use
//!
//! | | |
//! | --- | --- |
//! | one array, one call | [`dct()`], [`idct`], [`dctn`], [`idctn`]; [`dct_2d`], [`idct_2d`] over a whole matrix |
//! | many arrays, no allocation | [`Plan`] with a [`Scratch`] of the caller |
//! | blocks (JPEG, tokens) | [`block_dct_2d`], [`block_idct_2d`], and both `_in_place` |
//! | a window around each position | [`sliding_dct_2d`], [`sliding_coefficients`] |
//! | the same, reduced on the way | [`sliding_reduce`], [`sliding_map`]; [`sliding_mean_kernel`] |
//! | the matrix | [`basis`], [`basis_of`], [`inverse_basis_of`], [`basis_2d`] |
//! | the Fourier counterparts | [`block_fft_2d`], [`block_ifft_2d`], [`sliding_fft_2d`] |
//!
//! # Conventions
//!
//! **Type.** [`DctType`] has the formulae. 1-D transforms take a type; everything two-dimensional
//! is type II forward and type III inverse.
//!
//! **Normalisation.** As `scipy.fft` has it, see [`Normalization`]. 1-D transforms take one;
//! everything two-dimensional is orthonormal: `X = C x C^T`, `x = C^T X C` with `C` the [`basis`],
//! so that energies agree (`sum X^2 = sum x^2`) and the coefficient (0, 0) of a `p x p` block is
//! `p` times its mean.
//!
//! **Order of frequencies.** Ascending, from 0. In two dimensions vertical first: `X[u, v]`, or
//! plane `u*q + v` where the coefficients of a window are laid out one after the other.
//!
//! **Axes.** `[H, W]`, `[H, W, C]` or `[B, H, W, C]`: rows, columns, channels; each channel on its
//! own. Views may have any strides, negative ones too; results are contiguous.
//!
//! **Borders.** [`Padding`] names what lies outside.
//!
//! **Errors.** Wrong shapes panic and name what was expected. Only block transforms of sides that do
//! not divide are an error value, [`RaggedBlocks`], because images come in all sizes. NaN and
//! infinities go through the arithmetic as they are; they stay within their row, block or window.
//!
//! **Accuracy.** Errors grow as the square root of the length at most: relative to the largest
//! coefficient a few 1e-16 (`f64`) or 1e-7 (`f32`). Fused multiply-add is never used, and results do
//! not depend on the number of threads; they do not depend on the vector width of the processor
//! except through the FFTs of `rustfft`.
//!
//! # Algorithms
//!
//! Rows up to 16 samples are products with an unrolled matrix. Longer ones, up to 62, or up to 256
//! where FFTs of the length are slow, are products with the matrix that use its symmetry to halve the
//! multiplications, four rows at a time. The rest goes through complex FFTs of `rustfft`: one of
//! length n/2 where n is even; where n is odd and has a factor p up to 31, about p/2 of length n/p, so
//! that real samples cost half of what complex ones would. A few lengths, and type IV of odd length,
//! are left to `rustdct`.
//! Blocks of eight channels or more are transformed in one pass, SIMD vectors running over channels;
//! with fewer channels the columns are transformed first, then the rows. Sides up to 8 are unrolled.
//! Where sliding windows are reduced to one value each, columns are transformed first, straight from
//! the image, then rows, a few columns at a time; where all coefficients are wanted, windows share the
//! horizontal transforms of each row, the last `q` of which are kept in a ring buffer. Either way the
//! cost is linear in the number of windows, and nothing is allocated per window.
//!
//! # Features
//!
//! `rayon`: block and sliding transforms share strips and bands of rows among threads. Off by
//! default.
//!
//! # Leaves out
//!
//! Discrete sine transforms, types V to VIII, the modified DCT, integer arithmetic, quantisation and
//! entropy coding, complex samples, and windows that are not square.

#![expect(clippy::needless_range_loop, reason = "vectors are indexed as the formulae are")]

mod array;
mod block;
mod columns;
mod definition;
mod direct;
mod fft;
mod filter;
mod float;
mod image;
mod kernels;
mod lines;
mod mean;
mod padding;
mod parallel;
mod pieces;
mod plan;
mod reduce;
mod simd;
mod sliding;
mod small;
mod steps;
mod three;
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
pub use window_fft::{Parts, block_fft_2d, block_ifft_2d, sliding_fft_2d};
