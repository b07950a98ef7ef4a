//! `[model]` of PromptAD.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What prompts are fitted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Scores of images, by class tokens.
    Image,
    /// Maps, by all patches.
    Pixel,
}

/// What `[model]` says of PromptAD beside the keys of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptAdConfig {
    /// Learned vectors at the beginning of each prompt.
    pub context_tokens: usize,
    /// Learned vectors for what is abnormal, after them.
    pub abnormal_tokens: usize,
    /// Normal prompts that are fitted for the image score.
    pub image_prompts: usize,
    /// Normal prompts that are fitted for the map.
    pub pixel_prompts: usize,
    /// Learned words for what is abnormal.
    pub abnormal_prompts: usize,
    /// Phrases for the defects of categories, with `{}` for the category, beside those that suit
    /// every category.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub defects: BTreeMap<String, Vec<String>>,
    /// Tokens are compared within the blocks after these layers, counted from 1. Default: 3 and 8
    /// of 12, and in proportion of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gallery_layers: Option<Vec<usize>>,
    /// Steps of the fit, with all normal images in each.
    pub fit_steps: usize,
    /// Its highest learning rate.
    pub fit_rate: f64,
    /// Draws the first vectors.
    pub fit_seed: u64,
    /// Gaussian smoothing of the map, in pixels at `image_size`; 0 = off. Default: 4 at 400
    /// pixels and in proportion at other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_sigma: Option<f64>,
}

impl Default for PromptAdConfig {
    fn default() -> Self {
        Self {
            context_tokens: 4,
            abnormal_tokens: 1,
            image_prompts: 3,
            pixel_prompts: 1,
            abnormal_prompts: 4,
            defects: BTreeMap::new(),
            gallery_layers: None,
            fit_steps: 100,
            fit_rate: 2e-3,
            fit_seed: 0,
            smoothing_sigma: None,
        }
    }
}

impl PromptAdConfig {
    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("context_tokens", self.context_tokens),
            ("abnormal_tokens", self.abnormal_tokens),
            ("image_prompts", self.image_prompts),
            ("pixel_prompts", self.pixel_prompts),
            ("abnormal_prompts", self.abnormal_prompts),
        ] {
            if !(1..=32).contains(&value) {
                return Err(format!("model.{key}: expected 1 to 32, got {value}"));
            }
        }
        if let Some(layers) = &self.gallery_layers
            && (layers.is_empty() || layers.windows(2).any(|pair| pair[0] >= pair[1]))
        {
            return Err(format!("model.gallery_layers: expected layers in order, got {layers:?}"));
        }
        if self.fit_steps > 100_000 {
            return Err(format!(
                "model.fit_steps: expected at most 100000, got {}",
                self.fit_steps
            ));
        }
        for (key, value) in
            [("fit_rate", Some(self.fit_rate)), ("smoothing_sigma", self.smoothing_sigma)]
        {
            if value.is_some_and(|value| !(value.is_finite() && value >= 0.0)) {
                return Err(format!("model.{key}: expected a number >= 0"));
            }
        }
        for (category, phrases) in &self.defects {
            if let Some(phrase) = phrases.iter().find(|phrase| !phrase.contains("{}")) {
                return Err(format!(
                    "model.defects: \"{phrase}\" of {category} has no {{}} for the category"
                ));
            }
        }
        Ok(())
    }

    /// How many normal prompts a task has.
    pub(crate) fn normal_prompts(&self, task: Task) -> usize {
        match task {
            Task::Image => self.image_prompts,
            Task::Pixel => self.pixel_prompts,
        }
    }
}
