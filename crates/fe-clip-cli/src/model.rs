//! Flags that choose a model, and the model they choose.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use burn::tensor::Device;
use clap::Args;
use fe_clip::{
    Assembled, Detector, Error, Inspector, ModelChoice, ModelIdentity, Parts, RunConfig,
};

use crate::device::DeviceArgs;
use crate::{talk, threads};

/// Flags of every command that runs the model.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// Backbone: `tiny`, a folder or file with CLIP weights, or a hub id. Default: what the
    /// settings say, else `tiny`.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Adapters trained by `fe-clip train`. Default: those that belong to `tiny`.
    #[arg(long, value_name = "FILE")]
    adapters: Option<PathBuf>,
    /// Settings. Default: those that the adapters were trained with.
    #[arg(long, value_name = "RUN.TOML")]
    config: Option<PathBuf>,
    /// Activation function of the backbone, where its files do not name it: sets `model.activation`.
    #[arg(long, value_enum)]
    activation: Option<Activation>,
    /// Use adapters that were trained on another backbone.
    #[arg(long)]
    allow_backbone_mismatch: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Other images that each of a group is compared with, where a command has a flag for it.
    #[arg(skip)]
    pub(crate) group_references: Option<usize>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Activation {
    /// OpenAI's weights.
    QuickGelu,
    /// Most of open_clip's weights.
    Gelu,
}

impl ModelArgs {
    /// The settings file, if one was given.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The file of adapters, if one is given.
    pub(crate) fn adapters(&self) -> Option<&Path> {
        self.adapters.as_deref()
    }

    /// The files and folders that the flags name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let model = self.model.as_deref().map(Path::new);
        [model, self.adapters.as_deref(), self.config.as_deref()].into_iter().flatten()
    }

    /// What the flags name.
    fn choice(&self) -> ModelChoice {
        ModelChoice {
            model: self.model.clone(),
            adapters: self.adapters.clone(),
            config: self.config.clone(),
            activation: self.activation.map(Into::into),
            allow_backbone_mismatch: self.allow_backbone_mismatch,
            group_references: self.group_references,
        }
    }

    /// Whether this is the embedded default as it was shipped.
    pub(crate) fn is_tiny(&self) -> bool {
        self.choice().is_tiny()
    }

    /// Loads backbone and adapters and assembles the detector; also returns the settings used.
    pub(crate) fn detector(&self) -> anyhow::Result<(Detector, RunConfig)> {
        let loaded = self.load()?;
        Ok((loaded.detector, loaded.run))
    }

    /// The same as an inspector without thresholds.
    pub(crate) fn inspector(&self) -> anyhow::Result<(Inspector, RunConfig)> {
        let (detector, run) = self.detector()?;
        Ok((Inspector::new(detector).threads(threads::count()), run))
    }

    /// The same with the model's identity, without a memory bank; reads the weights once more.
    pub(crate) fn identified_inspector(
        &self,
    ) -> anyhow::Result<(Inspector, RunConfig, ModelIdentity)> {
        let loaded = self.load()?;
        let identity = loaded.identity(None, None)?;
        let inspector = Inspector::new(loaded.detector).threads(threads::count());
        Ok((inspector, loaded.run, identity))
    }

    /// Loads backbone and adapters and says so.
    pub(crate) fn load(&self) -> anyhow::Result<Assembled> {
        let started = Instant::now();
        let device = self.device()?;
        let loaded = self.choice().assemble(&device).map_err(with_flag)?;
        loaded.run.notes.iter().for_each(talk::note);
        loaded.detector.cut_texts(None).iter().for_each(talk::warning);
        let precision = loaded.run.model.precision;
        if !precision.is_native() {
            talk::note(format_args!(
                "model.precision: this machine has no instructions for {0}, its products take the time of float32",
                precision.name()
            ));
        }
        talk::detail(format_args!(
            "{} in {} at {} pixels, loaded in {:.2} s, {} threads",
            loaded.run.model.backbone,
            precision.name(),
            loaded.detector.preprocess().height,
            started.elapsed().as_secs_f64(),
            threads::count()
        ));
        Ok(loaded)
    }

    /// What the model runs on.
    ///
    /// # Errors
    /// If there is no such device.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        self.device.open()
    }

    /// Loads the parts that the flags name.
    ///
    /// # Errors
    /// If something named is not there or does not fit.
    pub(crate) fn parts(&self, device: &Device) -> anyhow::Result<Parts> {
        let parts = self.choice().parts(device).map_err(with_flag)?;
        parts.run.iter().flat_map(|run| &run.notes).for_each(talk::note);
        Ok(parts)
    }
}

/// Names the flag that helps.
fn with_flag(error: Error) -> anyhow::Error {
    match error {
        Error::BackboneMismatch { .. } => {
            anyhow!("{error}; --allow-backbone-mismatch uses it all the same")
        }
        Error::NoAdapters { .. } => anyhow!("{error}: --adapters FILE"),
        error => error.into(),
    }
}

impl From<Activation> for fe_clip::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::QuickGelu => Self::QuickGelu,
            Activation::Gelu => Self::Gelu,
        }
    }
}
