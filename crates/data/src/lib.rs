//! Image reading, preprocessing and data-set layouts for anomaly detection.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use data::{Layout, Limits, Preprocess, Resize, preprocess, read_image, scan};
//!
//! # fn main() -> Result<(), data::Error> {
//! let scan = scan(Layout::MvtecAd, Path::new("mvtec"))?;
//! let clip = Preprocess::clip(518, Resize::Squash);
//! for sample in &scan.samples {
//!     let image = read_image(&sample.image, &Limits::default())?;
//!     let pixels = preprocess(&image, &clip); // [3, 518, 518]
//!     println!("{} {} {}", sample.category, sample.defect.is_some(), pixels.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Conventions
//! Images are 8-bit RGB, upright. Arrays are `[channels, height, width]` or `[height, width]`; sizes in pairs are
//! `(width, height)`. Masks are `true` where a pixel is anomalous.
//!
//! # Leaves out
//! Colour profiles (as Pillow and the reference implementations do), GIF, HEIC, raw camera formats, volumes; of DICOM, lookup tables, JPEG 2000 and JPEG-LS.

mod bmp;
mod catalogue;
mod colour;
mod crops;
mod cutout;
mod dicom;
mod error;
mod find;
mod guard;
mod inspect;
mod jpeg;
mod layouts;
mod mask;
mod metadata;
pub mod path_text;
mod png;
mod prefetch;
mod preprocess;
mod read;
mod resample;
mod sample;
mod tiff;

pub use catalogue::{Dataset, Fetch, Images, datasets};
pub use crops::{Collection, Corpus, Crops, Shows, Source};
pub use cutout::read_cutout;
pub use error::Error;
pub use find::{find_images, is_image_below};
pub use inspect::inspect;
pub use layouts::{Counts, Layout, Scan, UnknownLayout, scan};
pub use mask::{decode_mask, read_mask, read_mask_of};
pub use prefetch::{Prefetch, prefetch};
pub use preprocess::{Placement, Preprocess, Resize, preprocess, resize_mask, resize_rgb};
pub use read::{Limits, decode_image, image_size, read_image};
pub use sample::{Defect, Problem, Sample, Split};
