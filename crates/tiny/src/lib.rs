//! How the embedded default, `tiny`, is made.

pub mod pretrain;
