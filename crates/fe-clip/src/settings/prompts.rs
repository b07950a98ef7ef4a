//! `[prompts]`.

use serde::{Deserialize, Serialize};

/// `[prompts]`: what normal and anomalous mean in words; several are averaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Prompts of the normal state.
    pub normal: Vec<String>,
    /// Prompts of the anomalous state.
    pub anomalous: Vec<String>,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            normal: vec!["A photo of a normal object".into()],
            anomalous: vec!["A photo of a damaged object".into()],
        }
    }
}
