//! `[model.group]`.

use serde::{Deserialize, Serialize};

/// `[model.group]`: how the images of a group are scored against each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// Stages whose tokens are compared, from 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Vec<usize>>,
    /// Sides of the neighbourhoods over which tokens are averaged; odd.
    pub neighbourhoods: Vec<usize>,
    /// Share of the other images that counts for a token: those with the nearest tokens.
    pub share: f64,
    /// Other images that each one is compared with; 0 = all. Default: all up to 200 images, 32 of
    /// more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<usize>,
    /// Chooses the references.
    pub seed: u64,
    /// Whether image scores are averaged over images with similar class tokens, and over how many.
    pub rescore: Rescore,
    /// Two images whose tokens are nearer than this on average, in [0, 2], are one image: they are
    /// not compared. 0 = off.
    pub duplicates: f64,
    /// Weight of the group's map and score beside those of a method that has its own.
    pub weight: f64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            stages: None,
            neighbourhoods: vec![1, 3, 5],
            share: 0.3,
            references: None,
            seed: 0,
            rescore: Rescore::Switch(true),
            duplicates: 0.0,
            weight: 0.5,
        }
    }
}

/// Numbers of images with the most similar class tokens, each image itself among them; the means
/// over each number are averaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of numbers")]
pub enum Rescore {
    /// 1, 2 and 3; or not at all.
    Switch(bool),
    /// These.
    Images(Vec<usize>),
}

impl Rescore {
    /// The numbers; none if it is off.
    pub fn images(&self) -> &[usize] {
        match self {
            Self::Switch(true) => &[1, 2, 3],
            Self::Switch(false) => &[],
            Self::Images(images) => images,
        }
    }
}

/// Images up to which all are compared with all where the settings say nothing.
const ALL_UP_TO: usize = 200;
/// Images that each is compared with above that.
const USUAL_REFERENCES: usize = 32;

impl GroupConfig {
    /// How many others each of so many images is compared with.
    pub fn others(&self, images: usize) -> usize {
        let all = images.saturating_sub(1);
        match self.references {
            None if images > ALL_UP_TO => USUAL_REFERENCES,
            None | Some(0) => all,
            Some(references) => references.min(all),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the values are in range; `stages` is compared with the model's where that is known.
    ///
    /// # Errors
    /// If one is not: its key, and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if let Some(stages) = &self.stages
            && (stages.is_empty() || stages[0] == 0 || stages.windows(2).any(|w| w[0] >= w[1]))
        {
            return Err("model.group.stages: expected increasing stages from 1 up".into());
        }
        let odd = |side: &usize| side % 2 == 1 && *side < 100;
        if self.neighbourhoods.is_empty() || !self.neighbourhoods.iter().all(odd) {
            let given = &self.neighbourhoods;
            return Err(format!(
                "model.group.neighbourhoods: expected odd numbers below 100, got {given:?}"
            ));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            let share = self.share;
            return Err(format!("model.group.share: expected a number in (0, 1], got {share}"));
        }
        if self.rescore.images().contains(&0) || self.rescore == Rescore::Images(vec![]) {
            return Err("model.group.rescore: expected true, false or numbers from 1 up".into());
        }
        for (key, value, most) in
            [("duplicates", self.duplicates, 2.0), ("weight", self.weight, f64::MAX)]
        {
            if !(0.0..=most).contains(&value) {
                return Err(format!("model.group.{key}: expected 0 or more, got {value}"));
            }
        }
        Ok(())
    }
}
