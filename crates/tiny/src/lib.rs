//! How the embedded default, `tiny`, is made.
//!
//! [`distil`] teaches the image tower what a [`teacher`] of real photographs sees; [`pretrain`] trains a
//! CLIP from procedural images and captions alone.

pub mod distil;
mod pictures;
pub mod pretrain;
mod side_by_side;
pub mod teacher;
