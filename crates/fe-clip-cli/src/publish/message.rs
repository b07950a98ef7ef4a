//! A result on its way.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::lines::Line;

/// A result as targets are given it, and as it waits on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// Known by this however often it is sent; no other result of any run has it.
    pub(super) id: String,
    /// Which result of the run it is, counted from 1.
    pub(super) count: u64,
    /// In [0, 1]; absent where there is none.
    pub(super) score: Option<f64>,
    /// Whether it is anything but a normal image.
    pub(super) reject: bool,
    /// As a line of JSON, without its end, with the id in front.
    pub(super) json: String,
}

/// A line as it is sent.
#[derive(Serialize)]
struct Sent<'a> {
    id: &'a str,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

impl Message {
    pub(super) fn new(line: &Line<'_>, run: &Run, count: u64) -> anyhow::Result<Self> {
        let id = format!("{}-{count}", run.0);
        let json = serde_json::to_string(&Sent { id: &id, line }).context("encoding a result")?;
        let (score, reject) = match line {
            Line::Found(found) => (Some(found.score), found.label == Some("anomalous")),
            Line::Failed { .. } => (None, true),
        };
        Ok(Self { id, count, score, reject, json })
    }
}

/// What tells the results of a run from those of every other.
pub(super) struct Run(String);

impl Run {
    pub(super) fn new() -> Self {
        Self(format!("{:016x}", random()))
    }
}

/// A number that nobody can guess: the system seeds what hashes tables with.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_image_is_rejected_and_has_no_score() {
        let line = Line::Failed { path: "a.png", error: "a.png: damaged", moment: None };
        let message = Message::new(&line, &Run("5e".into()), 7).unwrap();
        let json = r#"{"id":"5e-7","path":"a.png","error":"a.png: damaged"}"#.to_owned();
        let id = "5e-7".to_owned();
        assert_eq!(message, Message { id, count: 7, score: None, reject: true, json });
        assert_ne!(Run::new().0, Run::new().0);
    }
}
