//! How the embedded default, `tiny`, is made.
//!
//! [`distil`] trains the image tower to predict the features of a [`teacher`] that has seen real photographs; [`pretrain`] trains a
//! CLIP from procedural images and captions alone.

pub mod distil;
mod pictures;
pub mod pretrain;
mod side_by_side;
pub mod teacher;
