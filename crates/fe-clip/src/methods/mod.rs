//! FE-CLIP and the methods that it is compared with: one variant each, with its settings.

mod ada_text;
mod adaclip;
mod anomalyclip;
mod april_gan;
mod clip;
mod context_text;
mod coop;
mod fe_clip;
mod inctrl;
mod kept;
mod learned_text;
mod memory_bank;
mod musc;
mod pca_residual;
mod prompt_fit;
mod promptad;
mod prompted;
mod spectral_residual;
mod staged;
mod vcp_clip;
mod winclip;

use burn::tensor::Device;
use clip_vit::Clip;
use data::Preprocess;
use serde::{Deserialize, Serialize};

pub use anomalyclip::AnomalyClipConfig;
pub use april_gan::AprilGanConfig;
pub use clip::ClipConfig;
pub use coop::CoopConfig;
pub use inctrl::InctrlConfig;
pub use memory_bank::MemoryBankConfig;
pub use musc::MuscConfig;
pub use pca_residual::PcaResidualConfig;
pub use prompt_fit::{PromptFit, PromptVectors};
pub use promptad::PromptAd;
pub use spectral_residual::SpectralResidualConfig;
pub use vcp_clip::VcpClipConfig;
pub use winclip::WinclipConfig;

use self::spectral_residual::SpectralResidual;
use crate::Error;
use crate::head::Head;
use crate::loss::LossForm;
use crate::model::FeClip;
use crate::scorer::{Base, Scorer};
use crate::settings::adaclip::AdaClipConfig;
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::promptad::PromptAdConfig;
use crate::settings::prompts::Prompts;
use crate::settings::train::TrainConfig;
use crate::trainee::Trainee;

/// What scores the images: `[model] method` and the keys that belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// The paper's.
    FeClip(FeClipConfig),
    /// Plain CLIP with two prompts.
    Clip(ClipConfig),
    /// Windows and a prompt ensemble without training.
    Winclip(WinclipConfig),
    /// A trained linear layer a stage and a prompt ensemble.
    AprilGan(AprilGanConfig),
    /// The first words of both prompts learned from labels of images.
    Coop(CoopConfig),
    /// Prompts that say no category learned, and patches that see each other by their values.
    #[serde(rename = "anomalyclip")]
    AnomalyClip(AnomalyClipConfig),
    /// Prompts in both towers, to which every image adds what it shows.
    #[serde(rename = "adaclip")]
    AdaClip(AdaClipConfig),
    /// Prompts whose category is what the image shows, and texts that look at its patches.
    VcpClip(VcpClipConfig),
    /// Learned scores of how an image differs from a few normal ones.
    Inctrl(InctrlConfig),
    /// A memory bank of normal tokens alone, on CLIP's features; once named `patchcore`, which the
    /// published method of that name, on a WideResNet, is not.
    #[serde(alias = "patchcore")]
    MemoryBank(MemoryBankConfig),
    /// What tokens have beside the directions in which those of normal images differ.
    PcaResidual(PcaResidualConfig),
    /// Prompts fitted to a few normal images, beside the distance from their tokens.
    #[serde(rename = "promptad")]
    PromptAd(PromptAdConfig),
    /// Images scored against each other.
    Musc(MuscConfig),
    /// Spectral residual saliency: no network at all.
    SpectralResidual(SpectralResidualConfig),
}

impl Default for Method {
    fn default() -> Self {
        Self::FeClip(FeClipConfig::default())
    }
}

impl Method {
    /// Its name in `run.toml`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FeClip(_) => "fe-clip",
            Self::Clip(_) => "clip",
            Self::Winclip(_) => "winclip",
            Self::AprilGan(_) => "april-gan",
            Self::Coop(_) => "coop",
            Self::AnomalyClip(_) => "anomalyclip",
            Self::AdaClip(_) => "adaclip",
            Self::VcpClip(_) => "vcp-clip",
            Self::Inctrl(_) => "inctrl",
            Self::MemoryBank(_) => "memory-bank",
            Self::PcaResidual(_) => "pca-residual",
            Self::PromptAd(_) => "promptad",
            Self::Musc(_) => "musc",
            Self::SpectralResidual(_) => "spectral-residual",
        }
    }

    /// Whether `train` makes a part of it.
    pub fn is_trained(&self) -> bool {
        matches!(
            self,
            Self::FeClip(_)
                | Self::AprilGan(_)
                | Self::Coop(_)
                | Self::AnomalyClip(_)
                | Self::AdaClip(_)
                | Self::VcpClip(_)
                | Self::Inctrl(_)
        )
    }

    /// Whether it has a CLIP as its backbone.
    pub fn has_backbone(&self) -> bool {
        !matches!(self, Self::SpectralResidual(_))
    }

    /// Whether it says what `[prompts]` say; else it has words of its own, or none.
    pub(crate) fn takes_prompts(&self) -> bool {
        matches!(self, Self::FeClip(_) | Self::Clip(_) | Self::Coop(_) | Self::AnomalyClip(_))
    }

    /// The prompts that its authors chose.
    pub(crate) fn usual_prompts(&self) -> Prompts {
        match self {
            Self::Clip(_) => ClipConfig::usual_prompts(),
            Self::Coop(_) => CoopConfig::usual_prompts(),
            Self::AnomalyClip(_) => AnomalyClipConfig::usual_prompts(),
            _ => Prompts::default(),
        }
    }

    /// The training that its authors chose.
    pub(crate) fn usual_training(&self) -> TrainConfig {
        match self {
            Self::AprilGan(_) => AprilGanConfig::usual_training(),
            Self::Coop(_) => CoopConfig::usual_training(),
            Self::AnomalyClip(_) => AnomalyClipConfig::usual_training(),
            Self::AdaClip(_) => AdaClipConfig::usual_training(),
            Self::VcpClip(_) => VcpClipConfig::usual_training(),
            Self::Inctrl(_) => InctrlConfig::usual_training(),
            _ => TrainConfig::default(),
        }
    }

    /// # Errors
    /// If a value is out of range; the message names its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::FeClip(config) => config.check(),
            Self::Clip(config) => config.check(),
            Self::Winclip(config) => config.check(),
            Self::AprilGan(config) => config.check(),
            Self::Coop(config) => config.check(),
            Self::AnomalyClip(config) => config.check(),
            Self::AdaClip(config) => config.check(),
            Self::VcpClip(config) => config.check(),
            Self::Inctrl(config) => config.check(),
            Self::MemoryBank(config) => config.check(),
            Self::PcaResidual(config) => config.check(),
            Self::PromptAd(config) => config.check(),
            Self::Musc(config) => config.check(),
            Self::SpectralResidual(_) => Ok(()),
        }
    }

    /// # Errors
    /// If it cannot be trained so; the message names the key.
    pub(crate) fn check_training(&self, train: &TrainConfig) -> Result<(), String> {
        match self {
            Self::Inctrl(_) => InctrlConfig::check_training(train),
            _ if train.references > 0 => {
                Err(format!("train.references: method {} is trained without", self.name()))
            }
            Self::Coop(_) => CoopConfig::check_training(train),
            Self::VcpClip(_) => VcpClipConfig::check_training(train),
            _ => Ok(()),
        }
    }

    /// Compares each image of a group with so many of the others, 0 = all, whatever `[model.group]`
    /// says.
    ///
    /// # Errors
    /// If it scores every image by itself.
    pub fn set_group_references(&mut self, references: usize) -> Result<(), Error> {
        match self {
            Self::FeClip(config) => config.group.references = Some(references),
            Self::Musc(config) => config.group.references = Some(references),
            _ => return Err(self.refusal("has no settings of a group")),
        }
        Ok(())
    }

    /// A trained part with random weights, for a backbone.
    ///
    /// # Errors
    /// If the settings do not fit the backbone, or the method trains nothing.
    pub fn new_head(&self, clip: &Clip, device: &Device) -> Result<Head, Error> {
        match self {
            Self::FeClip(config) => FeClip::new_head(clip, config, device),
            Self::AprilGan(config) => config.new_head(clip, device),
            Self::Coop(config) => Ok(config.new_head(clip, device)),
            Self::AnomalyClip(config) => config.new_head(clip, device),
            Self::AdaClip(config) => config.new_head(clip, device),
            Self::VcpClip(config) => config.new_head(clip, device),
            Self::Inctrl(config) => config.new_head(clip, device),
            _ => Err(self.untrained()),
        }
    }

    /// The model that is trained.
    ///
    /// # Errors
    /// If the settings do not fit the backbone, or the method trains nothing.
    pub(crate) fn trainee(&self, base: &Base<'_>, head: Head) -> Result<Box<dyn Trainee>, Error> {
        match self {
            Self::FeClip(config) => Ok(Box::new(config.model(base, head)?)),
            Self::AprilGan(config) => Ok(Box::new(config.model(base, head)?)),
            Self::Coop(config) => config.trainee(base, head),
            Self::AnomalyClip(config) => config.trainee(base, head),
            Self::AdaClip(config) => config.trainee(base, head),
            Self::VcpClip(config) => config.trainee(base, head),
            Self::Inctrl(config) => config.trainee(base, head),
            _ => Err(self.untrained()),
        }
    }

    /// The loss that it is trained by.
    ///
    /// # Errors
    /// If the method trains nothing.
    pub fn loss_form(&self, train: &TrainConfig) -> Result<LossForm, Error> {
        match self {
            Self::FeClip(config) => Ok(LossForm::new(config, train)),
            Self::AprilGan(config) => Ok(config.loss_form(train)),
            Self::Coop(config) => Ok(config.loss_form(train)),
            Self::AnomalyClip(config) => Ok(config.loss_form(train)),
            Self::AdaClip(config) => Ok(config.loss_form(train)),
            Self::VcpClip(config) => Ok(config.loss_form(train)),
            Self::Inctrl(config) => Ok(config.loss_form(train)),
            _ => Err(self.untrained()),
        }
    }

    /// What scores images through a backbone.
    ///
    /// # Errors
    /// If the settings do not fit the backbone, or there is a trained part where there should be
    /// none or none where there should be one.
    pub(crate) fn scorer(
        &self,
        base: &Base<'_>,
        head: Option<Head>,
    ) -> Result<Box<dyn Scorer>, Error> {
        match (self, head) {
            (Self::FeClip(config), Some(head)) => config.scorer(base, head),
            (Self::AprilGan(config), Some(head)) => config.scorer(base, head),
            (Self::Coop(config), Some(head)) => config.scorer(base, head),
            (Self::AnomalyClip(config), Some(head)) => config.scorer(base, head),
            (Self::AdaClip(config), Some(head)) => config.scorer(base, head),
            (Self::VcpClip(config), Some(head)) => config.scorer(base, head),
            (Self::Inctrl(config), Some(head)) => config.scorer(base, head),
            (Self::Clip(config), None) => config.scorer(base),
            (Self::Winclip(config), None) => Ok(config.scorer(base)),
            (Self::MemoryBank(config), None) => config.scorer(base),
            (Self::PcaResidual(config), None) => config.scorer(base),
            (Self::PromptAd(config), None) => config.scorer(base),
            (Self::Musc(config), None) => config.scorer(base),
            (Self::SpectralResidual(_), _) => Err(self.refusal("has no backbone")),
            (_, None) => Err(self.refusal("has a trained part, and none was given")),
            (_, Some(_)) => Err(self.untrained()),
        }
    }

    /// What scores images without a backbone.
    ///
    /// # Errors
    /// If the method needs one.
    pub(crate) fn scorer_alone(&self, preprocess: &Preprocess) -> Result<Box<dyn Scorer>, Error> {
        match self {
            Self::SpectralResidual(_) => Ok(Box::new(SpectralResidual::new(preprocess.clone()))),
            _ => Err(self.refusal("needs a backbone, and none was given")),
        }
    }

    fn untrained(&self) -> Error {
        self.refusal("has no trained part")
    }

    fn refusal(&self, reason: &str) -> Error {
        Error::Settings(format!("method {} {reason}", self.name()))
    }
}
