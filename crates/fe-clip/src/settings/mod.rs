//! The parts of `run.toml` that more than one module reads.

pub(crate) mod adaclip;
pub(crate) mod eval;
pub(crate) mod fe_clip;
pub(crate) mod group;
pub(crate) mod promptad;
pub(crate) mod prompts;
pub(crate) mod stage_ends;
pub(crate) mod switch;
pub(crate) mod tile;
pub(crate) mod train;
