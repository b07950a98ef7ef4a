//! Image reading, preprocessing, data-set layouts and procedural images for anomaly detection.

mod error;
mod jpeg;
mod mask;
mod preprocess;
mod read;
mod resample;
pub mod synthetic;
mod tiff;

pub use error::Error;
pub use mask::read_mask;
pub use preprocess::{Placement, Preprocess, Resize, preprocess, resize_mask, resize_rgb};
pub use read::{Limits, decode_image, image_size, read_image};
