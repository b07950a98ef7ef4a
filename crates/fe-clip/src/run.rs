//! `run.toml`: everything that changes a number.

use std::path::Path;

use clip_vit::{Activation, Arithmetic, Hub};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::files::read_to_string;
use crate::methods::Method;
use crate::settings::eval::EvalConfig;
use crate::settings::fe_clip::FeClipConfig;
use crate::settings::prompts::Prompts;
use crate::settings::tile::TileConfig;
use crate::settings::train::TrainConfig;

/// A whole `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// The prompts.
    pub prompts: Prompts,
    /// Training.
    pub train: TrainConfig,
    /// Evaluation.
    pub eval: EvalConfig,
    /// What the reader of a file should be told: names that have been replaced.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// `[model]`: the keys of every method, and beside them in the file those of the chosen one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table")]
pub struct ModelConfig {
    /// What `--model` takes: `tiny`, `vit-l-14-336`, a hub id, a folder or a file.
    pub backbone: String,
    /// Activation of a backbone whose files do not tell: a weight file without a configuration. Default: quick GELU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// Numbers of the matrix products in the image tower: other ones than float32 on the CPU backend alone, and not in
    /// training.
    pub precision: Arithmetic,
    /// Side of the square model input in pixels; a multiple of the patch. Default: 518 for
    /// ViT-L/14@336, else the backbone's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// How an image becomes a square.
    pub resize: data::Resize,
    /// How positions are resampled for another image size than the backbone's own.
    pub positional_interpolation: Interpolation,
    /// How large images are scored in tiles. Default: as a whole alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tile: Option<TileConfig>,
    /// What scores the images, with its own settings.
    #[serde(flatten)]
    pub method: Method,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            backbone: "tiny".into(),
            activation: None,
            precision: Arithmetic::Float32,
            image_size: None,
            resize: data::Resize::Squash,
            positional_interpolation: Interpolation::Bicubic,
            tile: None,
            method: Method::default(),
        }
    }
}

impl From<FeClipConfig> for ModelConfig {
    /// FE-CLIP with these settings on the default backbone.
    fn from(config: FeClipConfig) -> Self {
        Self { method: Method::FeClip(config), ..Self::default() }
    }
}

/// How positional embeddings are resampled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Bicubic, antialiased when shrinking: open_clip's.
    #[default]
    Bicubic,
    /// Bilinear without antialiasing: AnomalyCLIP's.
    Bilinear,
}

/// `[model]` as it stands in a file: all keys beside one another.
#[derive(Deserialize)]
struct Table {
    #[serde(default = "tiny")]
    backbone: String,
    activation: Option<Activation>,
    #[serde(default)]
    precision: Arithmetic,
    image_size: Option<usize>,
    #[serde(default = "squash")]
    resize: data::Resize,
    #[serde(default)]
    positional_interpolation: Interpolation,
    tile: Option<TileConfig>,
    /// The method's name and its settings.
    #[serde(flatten)]
    method: Map<String, Value>,
}

fn tiny() -> String {
    "tiny".into()
}

fn squash() -> data::Resize {
    data::Resize::Squash
}

impl TryFrom<Table> for ModelConfig {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table {
            backbone,
            activation,
            precision,
            image_size,
            resize,
            positional_interpolation,
            tile,
            method,
        } = table;
        let method = parse_method(method)?;
        Ok(Self {
            backbone,
            activation,
            precision,
            image_size,
            resize,
            positional_interpolation,
            tile,
            method,
        })
    }
}

fn parse_method(mut keys: Map<String, Value>) -> Result<Method, String> {
    drop_former(&mut keys);
    let name = keys.remove(METHOD).unwrap_or_else(|| FE_CLIP.into());
    let parse = |keys: Map<String, Value>| {
        let mut tagged = keys;
        tagged.insert(METHOD.into(), name.clone());
        serde_json::from_value::<Method>(Value::Object(tagged)).map_err(|e| e.to_string())
    };
    // Without any key: is there such a method?
    let usual = parse(Map::new()).map_err(|reason| format!("model.method: {reason}"))?;
    parse(keys.clone()).map_err(|reason| {
        // Every key is optional, so the one to blame is found by giving each alone.
        let alone = |(key, value): (String, Value)| {
            let reason = parse(Map::from_iter([(key.clone(), value)])).err()?;
            let unknown = reason.starts_with(&format!("unknown field `{key}`"));
            let shared = if unknown { SHARED } else { "" };
            Some(format!("model.{key}: method {}: {reason}{shared}", usual.name()))
        };
        keys.into_iter().find_map(alone).unwrap_or(reason)
    })
}

/// The key of a method's name, and the method where it is absent.
const METHOD: &str = "method";
const FE_CLIP: &str = "fe-clip";

/// What an unknown key may have been meant for, beside the method's own.
const SHARED: &str = ", or one of every method: `backbone`, `activation`, `precision`, `image_size`, \
                      `resize`, `positional_interpolation`, `tile`";

/// Drops settings that there are no more where they have the value that changed nothing:
/// checkpoints and calibrations of earlier versions name them.
fn drop_former(keys: &mut Map<String, Value>) {
    for (part, key, usual) in [
        ("ffe", "linear", json!("full")),
        ("ffe", "separate_imaginary", json!(false)),
        ("lfs", "separable", json!(false)),
    ] {
        if let Some(Value::Object(part)) = keys.get_mut(part)
            && part.get(key) == Some(&usual)
        {
            part.remove(key);
        }
    }
}

impl ModelConfig {
    /// Refuses a precision that models are not trained in.
    ///
    /// # Errors
    /// If it is another than float32.
    pub fn check_training(&self) -> Result<(), Error> {
        if self.precision == Arithmetic::Float32 {
            return Ok(());
        }
        Err(Error::Settings(format!(
            "model.precision: models are trained in float32, {} is for using them",
            self.precision.name()
        )))
    }

    /// # Errors
    /// If a value is out of range, or the method has no use for it; the message names its key.
    fn check(&self) -> Result<(), String> {
        if !self.method.has_backbone() {
            let unused = [
                ("activation", self.activation.is_some()),
                ("precision", self.precision != Arithmetic::Float32),
                (
                    "positional_interpolation",
                    self.positional_interpolation != Interpolation::default(),
                ),
            ];
            if let Some((key, _)) = unused.into_iter().find(|(_, set)| *set) {
                let method = self.method.name();
                return Err(format!("model.{key}: method {method} has no backbone"));
            }
        }
        self.tile.map_or(Ok(()), TileConfig::check)?;
        self.method.check()
    }
}

impl RunConfig {
    /// Reads a `run.toml`. Relative paths in it, a backbone's too, lead from its folder and are made absolute.
    ///
    /// # Errors
    /// If the file cannot be read, is no TOML, or has an unknown key or a value out of range.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_over(path, None)
    }

    /// Reads a `run.toml` for adapters that say their settings: those of FE-CLIP that the file leaves out are theirs.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_over(path: &Path, trained: Option<&ModelConfig>) -> Result<Self, Error> {
        let text = read_to_string(path)?;
        let invalid = |e: toml::de::Error| Error::invalid(path, e);
        // First by itself, for messages that point into the file.
        let said: Self = toml::from_str(&text).map_err(invalid)?;
        let keys: toml::Table = toml::from_str(&text).map_err(invalid)?;
        let named = keys.get("model").and_then(|model| model.get(METHOD)?.as_str());
        let former = named == Some("patchcore");
        // Then over what is usual for its method.
        let mut usual = Self::of_method(said.model.method);
        if let (Some(trained), Method::FeClip(_)) = (trained, &usual.model.method) {
            usual.model = trained.clone();
        }
        let mut table = toml::Table::try_from(usual).map_err(|e| Error::invalid(path, e))?;
        overlay(&mut table, keys);
        let mut config: Self = table.try_into().map_err(invalid)?;
        if former {
            config.notes.push(format!(
                "{}: method patchcore is called memory-bank now: it stands on CLIP's tokens, \
                 the published PatchCore on a WideResNet",
                path.display()
            ));
        }
        config.check().map_err(|reason| Error::invalid(path, reason))?;
        let base = path.parent().unwrap_or(Path::new(""));
        // Absolute, since the settings are written to other folders, too.
        let beside = |path: &Path| {
            let joined = base.join(path);
            std::path::absolute(&joined).unwrap_or(joined)
        };
        for source in config.train.datasets.iter_mut().chain(&mut config.eval.datasets) {
            source.root = beside(&source.root);
        }
        for place in [&mut config.eval.roi, &mut config.eval.ignore] {
            *place = place.as_deref().map(beside);
        }
        let place = beside(Path::new(&config.model.backbone));
        if !is_name(&config.model.backbone, &place)
            && let Some(place) = place.to_str()
        {
            config.model.backbone = place.to_owned();
        }
        Ok(config)
    }

    /// A method with the words and the training that its authors chose.
    pub fn of_method(method: Method) -> Self {
        Self {
            prompts: method.usual_prompts(),
            train: method.usual_training(),
            model: ModelConfig { method, ..ModelConfig::default() },
            ..Self::default()
        }
    }

    /// The same as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain tables")
    }

    fn check(&self) -> Result<(), String> {
        self.model.check()?;
        let (normal, anomalous) = (&self.prompts.normal, &self.prompts.anomalous);
        if normal.is_empty() || anomalous.is_empty() {
            return Err("prompts: expected at least one normal and one anomalous prompt".into());
        }
        if !self.model.method.takes_prompts() && self.prompts != Prompts::default() {
            let method = self.model.method.name();
            return Err(format!("prompts: method {method} has its own words, or none"));
        }
        self.model.method.check_training(&self.train)?;
        self.train.check()
    }
}

/// Whether a backbone is meant by its name, and not by the path that this would be.
fn is_name(backbone: &str, path: &Path) -> bool {
    ["tiny", "vit-l-14-336"].contains(&backbone) || (Hub::is_id(backbone) && !path.exists())
}

/// Replaces values of a table by those of another, tables within by the same rule.
fn overlay(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => overlay(inner, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
