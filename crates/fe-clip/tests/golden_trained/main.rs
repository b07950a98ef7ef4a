//! Methods that are trained against PyTorch transcriptions (`golden_methods`).
#![allow(clippy::unwrap_used)]

mod adaclip;
mod golden;
mod inctrl;
mod promptad;
mod prompted;
mod vcp;
