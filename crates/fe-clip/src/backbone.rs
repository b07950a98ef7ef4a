//! Finding a backbone by what `--model` says, and the embedded default.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clip_vit::{
    Activation, Arithmetic, Clip, ClipConfig, Hub, Pretrained, START_OF_TEXT, Tokenizer,
    VOCABULARY_SIZE,
};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::files::hex;
use crate::tensors::floats;
use crate::wording::{CutText, cut_texts};

const TINY_CONFIG: &[u8] = include_bytes!("../assets/tiny/config.json");
const TINY_WEIGHTS: &[u8] = include_bytes!("../assets/tiny/model.safetensors");
const TINY_ADAPTERS: &[u8] = include_bytes!("../assets/tiny/adapters.safetensors");

/// A backbone and where it came from.
pub struct Backbone {
    /// The model.
    pub clip: Clip,
    /// Its architecture.
    pub config: ClipConfig,
    /// The activation that was given for it, unless its own files tell.
    pub activation: Option<Activation>,
    /// Where its weights lie.
    pub weights: Weights,
}

/// Where a backbone's weights lie.
pub struct Weights(Source);

enum Source {
    Embedded,
    Files(Vec<PathBuf>),
}

impl Weights {
    /// The weight files; none of the embedded default.
    pub fn files(&self) -> &[PathBuf] {
        match &self.0 {
            Source::Embedded => &[],
            Source::Files(files) => files,
        }
    }

    /// sha256 of the weight file, in lower-case hexadecimal; of all shards after one another.
    /// Reads the whole file.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn sha256(&self) -> Result<String, Error> {
        let mut hasher = Sha256::new();
        match &self.0 {
            Source::Embedded => hasher.update(TINY_WEIGHTS),
            Source::Files(files) => {
                for path in files {
                    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
                    std::io::copy(&mut file, &mut hasher).map_err(|e| Error::io(path, e))?;
                }
            }
        }
        Ok(hex(hasher))
    }
}

impl Backbone {
    /// Loads what `--model` names: `tiny`, a folder or a file, or a hub id.
    ///
    /// # Errors
    /// If there is no such model, its files are not what they should be, or they tell another activation than the one
    /// that is given for files that do not.
    pub fn load(
        name: &str,
        activation: Option<Activation>,
        device: &Device,
    ) -> Result<Self, Error> {
        Self::load_in(name, activation, Arithmetic::Float32, device)
    }

    /// The same with the image tower's products in other numbers than float32, for
    /// [`ModelConfig::precision`](crate::ModelConfig::precision).
    ///
    /// # Errors
    /// Those of [`load`](Self::load), or if the device or the backbone's widths do not allow it.
    pub fn load_in(
        name: &str,
        activation: Option<Activation>,
        precision: Arithmetic,
        device: &Device,
    ) -> Result<Self, Error> {
        if name == "tiny" {
            let (clip, config) =
                clip_vit::load_bytes_in("tiny", TINY_CONFIG, TINY_WEIGHTS, precision, device)?;
            if let Some(activation) = activation {
                config.require(activation, Path::new(name))?;
            }
            let weights = Weights(Source::Embedded);
            return Ok(Self { clip, config, activation: None, weights });
        }
        let path = Hub::from_env().locate(name)?;
        let Pretrained { clip, config, weight_files } =
            clip_vit::load_in(&path, activation, precision, device)?;
        let activation = activation.filter(|_| path.is_file());
        Ok(Self { clip, config, activation, weights: Weights(Source::Files(weight_files)) })
    }

    /// Side of the square image that the backbone was trained for, in pixels.
    pub fn image_size(&self) -> usize {
        let [positions, _] = self.clip.vision.positional_embedding.dims();
        (positions - 1).isqrt() * self.clip.vision.patch_size()
    }

    /// Texts as framed and padded token ids, cut where they have more than the tower takes.
    ///
    /// # Errors
    /// If the backbone's vocabulary is not CLIP's.
    pub fn tokenize(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, Error> {
        check_vocabulary(&self.clip)?;
        let [context, _] = self.clip.text.positional_embedding.dims();
        Ok(Tokenizer::new().tokenize(texts, context))
    }

    /// Those of some texts that [`tokenize`](Self::tokenize) cuts.
    pub fn cut_texts(&self, texts: &[String]) -> Vec<CutText> {
        let [context, _] = self.clip.text.positional_embedding.dims();
        cut_texts(texts.iter().cloned(), context)
    }

    /// The adapters that belong to the embedded default; none for any other backbone.
    ///
    /// # Errors
    /// Never on a build whose tests passed.
    pub fn adapters(&self) -> Result<Option<Checkpoint>, Error> {
        match self.weights.0 {
            Source::Embedded => {
                Checkpoint::from_bytes(TINY_ADAPTERS, Path::new("tiny's adapters")).map(Some)
            }
            Source::Files(_) => Ok(None),
        }
    }

    /// [`Weights::sha256`] of its weights.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn sha256(&self) -> Result<String, Error> {
        self.weights.sha256()
    }

    /// Refuses adapters that were trained on another backbone.
    ///
    /// # Errors
    /// [`Error::BackboneMismatch`], or if the weight file cannot be read.
    pub fn check(&self, checkpoint: &Checkpoint, path: &Path) -> Result<(), Error> {
        if let Some(row) = &checkpoint.start_of_text {
            self.check_start_of_text(row, path)?;
        }
        let Some(trained) = &checkpoint.origin.backbone else { return Ok(()) };
        let given = self.sha256()?;
        if given == *trained {
            return Ok(());
        }
        Err(Error::BackboneMismatch { path: path.to_owned(), trained: trained.clone(), given })
    }

    /// Compares the embedding of the start of a text, which some checkpoints hold, up to rounding
    /// to half precision.
    fn check_start_of_text(&self, trained: &[f32], path: &Path) -> Result<(), Error> {
        let table = self.clip.text.token_embedding.weight.val();
        let own = floats(table.narrow(0, START_OF_TEXT as usize, 1));
        let largest = own.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * largest;
        if own.len() == trained.len() && own.iter().zip(trained).all(near) {
            return Ok(());
        }
        let reason = "its embedding of the start of a text is not the backbone's: it was trained \
                      on another one";
        Err(Error::invalid(path, reason))
    }
}

/// Refuses a text tower whose rows are not of the words that CLIP's tokenizer finds.
pub(crate) fn check_vocabulary(clip: &Clip) -> Result<(), Error> {
    let [entries, _] = clip.text.token_embedding.weight.dims();
    if entries == VOCABULARY_SIZE {
        return Ok(());
    }
    let problem =
        format!("the backbone has a vocabulary of {entries} entries, not CLIP's {VOCABULARY_SIZE}");
    Err(Error::Settings(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{Calibration, ModelIdentity};
    use crate::run::ModelConfig;

    #[test]
    fn the_embedded_adapters_were_trained_on_the_embedded_backbone() {
        let device = Device::flex();
        let backbone = Backbone::load("tiny", None, &device).unwrap();
        let adapters = backbone.adapters().unwrap().unwrap();
        assert!(adapters.origin.backbone.is_some());
        backbone.check(&adapters, Path::new("adapters.safetensors")).unwrap();
        let config = adapters.origin.config.clone().unwrap();
        let head = config.method.new_head(&backbone.clip, &device).unwrap();
        adapters.head(head, &device).unwrap();
    }

    #[test]
    fn the_embedded_calibration_is_of_the_embedded_model() {
        let backbone = Backbone::load("tiny", None, &Device::flex()).unwrap();
        let adapters = backbone.adapters().unwrap().unwrap();
        let config = adapters.origin.config.clone().unwrap();
        let model = ModelIdentity {
            backbone: Some(backbone.sha256().unwrap()),
            adapters: Some(adapters.sha256().to_string()),
            config: ModelConfig { image_size: Some(backbone.image_size()), ..config },
            prompts: adapters.origin.prompts.clone().unwrap_or_default(),
            references: Vec::new(),
            scope: None,
            zones: None,
        };
        let calibration = Calibration::of_tiny().unwrap();
        calibration.check(&model, Path::new("calibration.json")).unwrap();
    }
}
