//! Images scored against each other, without labels and without references: MuSc.
//!
//! What most images of a group have somewhere is normal; a token that few others are near is not.
//!
//! Source: Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with
//! Mutual Scoring of the Unlabeled Images, ICLR 2024.

mod images;
mod maps;
mod mutual;
mod neighbourhood;
mod plan;
mod rescore;
mod store;

pub use images::{Group, GroupLimits, GroupTokens};
pub use maps::{GroupMaps, SMALLEST_GROUP};
pub use plan::GroupCost;
pub use rescore::{relative, rescored};
