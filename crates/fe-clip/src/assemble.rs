//! From the names of a backbone, adapters and settings to a detector.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clip_vit::Activation;

use crate::Error;
use crate::backbone::{Backbone, Weights};
use crate::calibrate::{Calibration, ModelIdentity};
use crate::checkpoint::{Checkpoint, Origin};
use crate::detect::Detector;
use crate::files::sha256;
use crate::inspect::Inspector;
use crate::methods::Method;
use crate::run::{ModelConfig, RunConfig};
use crate::scope::Scope;
use crate::zones::Zones;

/// What a model is put together from, by name.
#[derive(Debug, Clone, Default)]
pub struct ModelChoice {
    /// Backbone: `tiny`, a folder or file with CLIP weights, or a hub id. Default: what the
    /// settings say, else `tiny`.
    pub model: Option<String>,
    /// File of adapters. Default: those that belong to `tiny`.
    pub adapters: Option<PathBuf>,
    /// A `run.toml`. Default: the settings that the adapters were trained with.
    pub config: Option<PathBuf>,
    /// Activation of a backbone whose files do not tell. Default: what the settings say.
    pub activation: Option<Activation>,
    /// Whether adapters may have been trained on another backbone.
    pub allow_backbone_mismatch: bool,
    /// How many other images each of a group is compared with: sets `model.group.references`.
    pub group_references: Option<usize>,
}

/// The parts that a [`ModelChoice`] names.
pub struct Parts {
    /// The method.
    pub method: Method,
    /// The backbone and its name, if the method uses one.
    pub backbone: Option<(String, Backbone)>,
    /// The adapters and their file; the embedded ones have none.
    pub adapters: Option<(Checkpoint, Option<PathBuf>)>,
    /// The settings; absent where neither a file nor the adapters hold any.
    pub run: Option<RunConfig>,
}

/// A detector and what it was put together from.
pub struct Assembled {
    /// The detector.
    pub detector: Detector,
    /// The settings in use.
    pub run: RunConfig,
    /// `None` where the method uses no backbone.
    weights: Option<Weights>,
    /// sha256 of the adapters.
    adapters: Option<String>,
    /// Whether it is the embedded default as it was shipped.
    shipped: bool,
}

/// An image file and its content's hash.
#[derive(Debug, Clone)]
pub struct ImageFile {
    /// The file.
    pub path: PathBuf,
    /// sha256 of its content.
    pub sha256: String,
}

impl ImageFile {
    /// Reads a file for its hash.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(path: PathBuf) -> Result<Self, Error> {
        let sha256 = sha256(&path)?;
        Ok(Self { path, sha256 })
    }

    /// Orders files by hash and leaves each content once.
    pub fn sort_distinct(files: &mut Vec<Self>) {
        files.sort_by(|a, b| (&a.sha256, &a.path).cmp(&(&b.sha256, &b.path)));
        files.dedup_by(|a, b| a.sha256 == b.sha256);
    }
}

impl ModelChoice {
    /// Whether this is the embedded default as it was shipped.
    pub fn is_tiny(&self) -> bool {
        let own = self.model.as_deref().is_none_or(|name| name == "tiny");
        own && self.adapters.is_none() && self.config.is_none()
    }

    /// Loads backbone and adapters and assembles the detector.
    ///
    /// # Errors
    /// If something named is not there, does not fit, or is missing.
    pub fn assemble(&self, device: &Device) -> Result<Assembled, Error> {
        let Parts { method, backbone, adapters, run } = self.parts(device)?;
        let missing = |what: &str| Error::Settings(what.into());
        if !method.is_trained() {
            let run =
                run.ok_or_else(|| missing("a method without training comes from settings"))?;
            let (clip, weights) = backbone.map(|(_, b)| (b.clip, b.weights)).unzip();
            let detector = Detector::new(&run, clip, None, device)?;
            return Ok(Assembled { detector, run, weights, adapters: None, shipped: false });
        }
        let (name, Backbone { clip, weights, .. }) =
            backbone.ok_or_else(|| missing("a trained method has a backbone"))?;
        let Some((checkpoint, _)) = adapters else {
            return Err(Error::NoAdapters { backbone: name, method: method.name() });
        };
        let run = run.ok_or_else(|| missing(NO_SETTINGS))?;
        let adapters = Some(checkpoint.sha256().to_string());
        let head = checkpoint.head(run.model.method.new_head(&clip, device)?, device)?;
        let detector = Detector::new(&run, Some(clip), Some(head), device)?;
        let shipped = self.is_tiny();
        Ok(Assembled { detector, run, weights: Some(weights), adapters, shipped })
    }

    /// Loads what it names.
    ///
    /// # Errors
    /// If something named is not there or does not fit.
    pub fn parts(&self, device: &Device) -> Result<Parts, Error> {
        let mut from_file = self.config.as_deref().map(RunConfig::read).transpose()?;
        let given = self.adapters.as_deref().map(Checkpoint::read).transpose()?;
        let of_adapters = |checkpoint: &Checkpoint| checkpoint.origin.config.clone();
        let model = match &from_file {
            Some(run) => Some(run.model.clone()),
            None => given.as_ref().and_then(of_adapters),
        };
        let method = model.as_ref().map(|m| m.method.clone()).unwrap_or_default();
        if let (Some(path), false) = (&self.adapters, method.is_trained()) {
            let reason = format!("adapters, but method {} has none", method.name());
            return Err(Error::invalid(path, reason));
        }
        if !method.has_backbone() {
            return Ok(Parts { method, backbone: None, adapters: None, run: from_file });
        }
        let precision = model.as_ref().map(|m| m.precision).unwrap_or_default();
        let (said, activation) = model.map(|m| (m.backbone, m.activation)).unzip();
        let name = self.model.clone().or(said).unwrap_or_else(|| "tiny".into());
        let activation = self.activation.or(activation.flatten());
        let backbone = Backbone::load_in(&name, activation, precision, device)?;
        let adapters = match (given, &self.adapters) {
            (Some(checkpoint), Some(path)) => {
                if !self.allow_backbone_mismatch {
                    backbone.check(&checkpoint, path)?;
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

const NO_SETTINGS: &str = "the adapters do not say their settings: give them by a run.toml";

impl Assembled {
    /// All that decides a score beside the image, without normal images, where it looks as a scope
    /// says, in zones; reads the weights once more.
    ///
    /// # Errors
    /// If the weights cannot be read.
    pub fn identity(
        &self,
        scope: Option<&Scope>,
        zones: Option<&Zones>,
    ) -> Result<ModelIdentity, Error> {
        let image_size = Some(self.detector.preprocess().height);
        Ok(ModelIdentity {
            backbone: self.weights.as_ref().map(Weights::sha256).transpose()?,
            adapters: self.adapters.clone(),
            config: ModelConfig { image_size, ..self.run.model.clone() },
            prompts: self.run.prompts.clone(),
            references: Vec::new(),
            scope: scope.map(|scope| scope.sha256().to_owned()),
            zones: zones.map(Zones::identity),
        })
    }

    /// An inspector with the thresholds that the embedded default was shipped with, which hold
    /// until it remembers normal images; of any other model without thresholds.
    ///
    /// # Errors
    /// Never on a build whose tests passed.
    pub fn inspector(self) -> Result<Inspector, Error> {
        let inspector = Inspector::new(self.detector);
        Ok(if self.shipped { inspector.shipped(Calibration::of_tiny()?) } else { inspector })
    }

    /// The inspector that a calibration, of this file, was made with, with its thresholds. Of the normal images,
    /// where there are any, those are remembered that the calibration did not count on. It looks
    /// where the scope says, and divides images into zones.
    ///
    /// # Errors
    /// If the model, its settings, the memory bank, the scope or the zones are not those of the
    /// calibration.
    pub fn calibrated(
        self,
        calibration: Calibration,
        file: &Path,
        normals: Option<Vec<ImageFile>>,
        scope: Option<Scope>,
        zones: Option<Zones>,
    ) -> Result<Inspector, Error> {
        let mut identity = self.identity(scope.as_ref(), zones.as_ref())?;
        let mut inspector = Inspector::new(self.detector);
        let wanted = &calibration.model.references;
        let refused = |reason: String| Err(Error::invalid(file, reason));
        match normals {
            Some(mut found) if !wanted.is_empty() => {
                let known: HashSet<&String> = wanted.iter().collect();
                found.retain(|image| known.contains(&image.sha256));
                ImageFile::sort_distinct(&mut found);
                if found.len() < wanted.len() {
                    return refused(format!(
                        "calibrated with a memory bank of {} images, of which {} are given",
                        wanted.len(),
                        found.len()
                    ));
                }
                inspector.remember(found.iter().map(|image| &image.path))?;
                identity.references.clone_from(wanted);
            }
            Some(_) => {
                return refused("calibrated without a memory bank, normal images are given".into());
            }
            None if !wanted.is_empty() => {
                return refused(format!(
                    "calibrated with a memory bank of {} images: give its normal images",
                    wanted.len()
                ));
            }
            None => {}
        }
        if let (Some(wanted), None) = (&calibration.model.zones, &zones) {
            let names = wanted.names.join(", ");
            return refused(format!("calibrated in the zones {names}: give their file"));
        }
        calibration.check(&identity, file)?;
        inspector.look(scope);
        inspector.divide(zones);
        Ok(inspector.calibration(calibration))
    }
}

impl Inspector {
    /// The model that is built in, on this CPU, with the thresholds that it was shipped with;
    /// those hold until it remembers normal images.
    ///
    /// # Errors
    /// Never on a build whose tests passed.
    pub fn tiny() -> Result<Self, Error> {
        ModelChoice::default().assemble(&Device::flex())?.inspector()
    }
}
