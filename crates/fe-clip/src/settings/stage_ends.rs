//! `model.stage_ends`.

use serde::{Deserialize, Serialize};

/// After which layers of the image tower the adapters act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a list of layers or \"last4\"")]
pub enum StageEnds {
    /// These layers, counted from 1.
    Layers(Vec<usize>),
    /// Layers that have a name.
    Preset(StagePreset),
}

/// Stage ends that follow the backbone's depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StagePreset {
    /// The last four layers.
    Last4,
}

impl StageEnds {
    /// The layers of a tower of `depth` layers.
    ///
    /// # Errors
    /// If the tower is too shallow for them.
    pub(crate) fn layers(&self, depth: usize) -> Result<Vec<usize>, String> {
        let ends: Vec<usize> = match self {
            Self::Layers(ends) => {
                if ends.last().is_some_and(|last| *last > depth) {
                    return Err(format!("{ends:?} goes beyond the backbone's {depth} layers"));
                }
                return Ok(ends.clone());
            }
            Self::Preset(StagePreset::Last4) => {
                (0..4).map(|n| (depth + n).saturating_sub(3)).collect()
            }
        };
        if ends[0] == 0 || ends.windows(2).any(|w| w[0] >= w[1]) {
            return Err(format!("a backbone of {depth} layers is too shallow for this preset"));
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_follow_the_depth() {
        let layers = |preset, depth| StageEnds::Preset(preset).layers(depth);
        assert_eq!(layers(StagePreset::Last4, 24), Ok(vec![21, 22, 23, 24]));
        assert_eq!(layers(StagePreset::Last4, 4), Ok(vec![1, 2, 3, 4]));
        assert!(layers(StagePreset::Last4, 3).is_err());
    }
}
