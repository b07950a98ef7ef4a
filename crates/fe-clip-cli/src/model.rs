//! Flags that choose a model, and the model they choose.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use burn::tensor::Device;
use clap::Args;
use fe_clip::{
    Backbone, Checkpoint, Detector, Error, Inspector, Method, ModelConfig, ModelIdentity, Origin,
    RunConfig, Weights,
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

    /// Whether this is the embedded default as it was shipped.
    pub(crate) fn is_tiny(&self) -> bool {
        let own = self.model.as_deref().is_none_or(|name| name == "tiny");
        own && self.adapters.is_none() && self.config.is_none()
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
        let Loaded { detector, run, weights, adapters } = self.load()?;
        let config =
            ModelConfig { image_size: Some(detector.preprocess().height), ..run.model.clone() };
        let prompts = run.prompts.clone();
        let backbone = weights.map(|w| w.sha256()).transpose()?;
        let (references, scope) = (Vec::new(), None);
        let identity = ModelIdentity { backbone, adapters, config, prompts, references, scope };
        Ok((Inspector::new(detector).threads(threads::count()), run, identity))
    }

    fn load(&self) -> anyhow::Result<Loaded> {
        let started = Instant::now();
        let device = self.device()?;
        let loaded = self.assemble(self.parts(&device)?, &device)?;
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

    fn assemble(&self, parts: Parts, device: &Device) -> anyhow::Result<Loaded> {
        let Parts { method, backbone, adapters, run } = parts;
        if !method.is_trained() {
            let run = run.context("a method without training comes from --config")?;
            let (clip, weights) = backbone.map(|(_, b)| (b.clip, b.weights)).unzip();
            let detector = Detector::new(&run, clip, None, device)?;
            return Ok(Loaded { detector, run, weights, adapters: None });
        }
        let (name, Backbone { clip, weights, .. }) =
            backbone.context("a trained method has a backbone")?;
        let Some((checkpoint, _)) = adapters else {
            bail!(
                "{name} has no adapters of its own for method {}: name some with --adapters",
                method.name()
            );
        };
        let run = run.context("the adapters do not say their settings: give them with --config")?;
        let adapters = Some(checkpoint.sha256().to_string());
        let head = checkpoint.head(run.model.method.new_head(&clip, device)?, device)?;
        let detector = Detector::new(&run, Some(clip), Some(head), device)?;
        Ok(Loaded { detector, run, weights: Some(weights), adapters })
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
        let mut from_file = self.config.as_deref().map(RunConfig::read).transpose()?;
        from_file.iter().flat_map(|run| &run.notes).for_each(talk::note);
        let given = self.adapters.as_deref().map(Checkpoint::read).transpose()?;
        let of_adapters = |checkpoint: &Checkpoint| checkpoint.origin.config.clone();
        let model = match &from_file {
            Some(run) => Some(run.model.clone()),
            None => given.as_ref().and_then(of_adapters),
        };
        let method = model.as_ref().map(|m| m.method.clone()).unwrap_or_default();
        if let (Some(path), false) = (&self.adapters, method.is_trained()) {
            bail!("--adapters {}: method {} has none", path.display(), method.name());
        }
        if !method.has_backbone() {
            return Ok(Parts { method, backbone: None, adapters: None, run: from_file });
        }
        let precision = model.as_ref().map(|m| m.precision).unwrap_or_default();
        let (said, activation) = model.map(|m| (m.backbone, m.activation)).unzip();
        let name = self.model.clone().or(said).unwrap_or_else(|| "tiny".into());
        let activation = self.activation.map(Into::into).or(activation.flatten());
        let backbone = Backbone::load_in(&name, activation, precision, device)?;
        let adapters = match (given, &self.adapters) {
            (Some(checkpoint), Some(path)) => {
                if !self.allow_backbone_mismatch {
                    backbone.check(&checkpoint, path).map_err(|error| match error {
                        Error::BackboneMismatch { .. } => {
                            anyhow!("{error}; --allow-backbone-mismatch uses it all the same")
                        }
                        error => error.into(),
                    })?;
                }
                Some((checkpoint, Some(path.clone())))
            }
            _ => {
                let own = backbone.adapters()?.filter(|_| matches!(method, Method::FeClip(_)));
                if let (Some(own), Some(path)) = (&own, &self.config) {
                    from_file = Some(RunConfig::read_over(path, own.origin.config.as_ref())?);
                }
                own.map(|own| (own, None))
            }
        };
        let trained_with = adapters.as_ref().and_then(|(checkpoint, _)| {
            let Origin { config, prompts, .. } = &checkpoint.origin;
            let (model, prompts) = (config.clone()?, prompts.clone().unwrap_or_default());
            Some(RunConfig { model, prompts, ..RunConfig::default() })
        });
        let mut run = from_file.or(trained_with);
        if let Some(run) = &mut run {
            run.model.backbone.clone_from(&name);
            run.model.activation = backbone.activation;
            if let Some(references) = self.group_references {
                run.model.method.set_group_references(references)?;
            }
        }
        Ok(Parts { method, backbone: Some((name, backbone)), adapters, run })
    }
}

/// The parts of a model.
pub(crate) struct Parts {
    pub(crate) method: Method,
    /// The backbone and its name, if the method uses one.
    pub(crate) backbone: Option<(String, Backbone)>,
    /// The adapters and their file; the embedded ones have none.
    pub(crate) adapters: Option<(Checkpoint, Option<PathBuf>)>,
    /// The settings; absent where neither a file nor the adapters hold any.
    pub(crate) run: Option<RunConfig>,
}

struct Loaded {
    detector: Detector,
    run: RunConfig,
    /// `None` where the method uses no backbone.
    weights: Option<Weights>,
    /// sha256 of the adapters.
    adapters: Option<String>,
}

impl From<Activation> for fe_clip::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::QuickGelu => Self::QuickGelu,
            Activation::Gelu => Self::Gelu,
        }
    }
}
