//! The frequency adapters of FE-CLIP on Burn.
//!
//! - [`Ffe`], frequency feature extraction: transform non-overlapping windows of tokens, one
//!   linear layer and GELU on every coefficient, transform back.
//! - [`Lfs`], local frequency statistics: the mean of the coefficients of a window that slides
//!   over the tokens, then a convolution and GELU.
//! - [`ConvAdapter`], the ablation of the paper's Table 3: the convolution and GELU alone.
//!
//! Nothing here knows of CLIP. Tokens are `[batch, height, width, channels]`.
//!
//! ```
//! use adapters::{Ffe, FfeConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex();
//! let ffe = Ffe::new(&FfeConfig::default(), 8, &device);
//! let tokens = Tensor::<4>::random([1, 7, 7, 8], Distribution::Default, &device);
//! assert_eq!(ffe.forward(tokens).dims(), [1, 7, 7, 8]);
//! ```

mod activation;
mod conv;
mod ffe;
mod lfs;
mod pad;
mod transform;

pub use conv::{Conv, ConvAdapter};
pub use ffe::{Ffe, FfeConfig};
pub use lfs::{Lfs, LfsConfig, Statistic, literal_statistic};
pub use pad::Padding;
pub use transform::Transform;
