//! Models from the Hugging Face hub, in the cache that Python's `huggingface_hub` shares.

mod environment;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::weights::folder::{MODELS, none_of_the_models, weight_files};

/// The paper's backbone, OpenAI's CLIP ViT-L/14@336px: hub id and revision.
pub const VIT_L_14_336: (&str, &str) =
    ("openai/clip-vit-large-patch14-336", "ce19dc912ca5cd21c8a653c79e251e808ccabcd1");

/// How often a download is tried again.
const ATTEMPTS: u32 = 3;

/// Where models come from.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The folder that holds `models--owner--name`.
    pub cache: PathBuf,
    /// The server, `https://huggingface.co` or a mirror.
    pub endpoint: String,
    /// Sent to the server, for models that need it.
    pub token: Option<String>,
    /// Whether to do without the network.
    pub offline: bool,
    /// Whether to draw a progress bar on a terminal's stderr.
    pub progress: bool,
}

impl Hub {
    /// As Python's `huggingface_hub`: `HF_HUB_CACHE` or `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, else in
    /// `huggingface` in `XDG_CACHE_HOME`, is the cache; `HF_ENDPOINT` the server; `HF_TOKEN` or
    /// `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else `token` in `HF_HOME`, the token, unless
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN` is on; `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` turns the network off.
    /// `~` and variables in paths are expanded.
    ///
    /// Source: huggingface_hub 1.0, `constants.py` and `utils/_auth.py`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The directory or file that a name stands for: `vit-l-14-336`, a path, or a hub id `owner/name`.
    /// What is not in the cache is downloaded.
    ///
    /// # Errors
    /// [`Error::NoModel`] if the name is none of these; those of [`Hub::snapshot`].
    pub fn locate(&self, model: &str) -> Result<PathBuf, Error> {
        let path = Path::new(model);
        if model == "vit-l-14-336" {
            self.snapshot(VIT_L_14_336.0, VIT_L_14_336.1)
        } else if path.exists() {
            Ok(path.to_path_buf())
        } else if Self::is_id(model) {
            self.snapshot(model, "main")
        } else {
            Err(Error::NoModel { path: path.to_path_buf() })
        }
    }

    /// Whether a model's name is a hub id: `owner/name` of the characters that the hub allows, and no weight file's.
    pub fn is_id(model: &str) -> bool {
        let is_part = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            part.bytes().all(allowed) && part.bytes().any(|byte| byte != b'.')
        };
        let is_file = ["safetensors", "pt", "bin"];
        let extension = Path::new(model).extension();
        model.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
            && extension.is_none_or(|extension| is_file.iter().all(|file| extension != *file))
    }

    /// The cached files of a model in the layout of Hugging Face or open_clip, a directory for [`load`](crate::load).
    ///
    /// `revision` is a commit, a branch or a tag. A model that is there needs no network. Missing files are
    /// downloaded, interrupted downloads are continued, and weights are compared with the sha256 that the hub
    /// names them by.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Refused`], [`Error::Download`], [`Error::Checksum`], [`Error::Config`] if there is
    /// no model in it, and [`Error::Io`] for the cache.
    pub fn snapshot(&self, id: &str, revision: &str) -> Result<PathBuf, Error> {
        let repo = Repo::with_revision(id.into(), RepoType::Model, revision.into());
        if let Some(directory) = self.cached(&repo) {
            return Ok(directory);
        }
        if self.offline {
            return Err(Error::Offline { id: id.into(), cache: self.cache.clone() });
        }
        let error = |source| self.error(id, revision, source);
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(self.progress)
            .build()
            .map_err(error)?
            .repo(repo);
        let names: Vec<String> =
            api.info().map_err(error)?.siblings.into_iter().map(|file| file.rfilename).collect();
        let download = |name: &str| self.download(&api, id, revision, name);
        let has = |name: &str| names.iter().any(|other| other == name);
        let model = MODELS.into_iter().find(|(config, weights)| has(config) && has(weights));
        let Some((config, weights)) = model else {
            let path = PathBuf::from(format!("{}/{id}", self.endpoint));
            return Err(Error::Config { path, problem: none_of_the_models() });
        };
        let config = download(config)?;
        let weights = download(weights)?;
        for shard in weight_files(&weights)?.iter().filter(|shard| **shard != weights) {
            download(&shard.file_name().unwrap_or_default().to_string_lossy())?;
        }
        Ok(config.parent().unwrap_or(Path::new("")).to_path_buf())
    }

    /// The snapshot of a revision if all that loading reads is there.
    fn cached(&self, repo: &Repo) -> Option<PathBuf> {
        let folder = self.cache.join(repo.folder_name());
        // Python makes no reference for a commit that was asked for by its hash.
        let commit = fs::read_to_string(folder.join("refs").join(repo.revision()))
            .unwrap_or_else(|_| repo.revision().into());
        let directory = folder.join("snapshots").join(commit.trim());
        let is_there = |name: &str| directory.join(name).is_file();
        let is_whole = |weights: &str| {
            let files = weight_files(&directory.join(weights));
            files.is_ok_and(|files| files.iter().all(|file| file.is_file()))
        };
        let complete = |&(config, weights): &(&str, &str)| is_there(config) && is_whole(weights);
        MODELS.iter().any(complete).then_some(directory)
    }

    /// What a failed request means.
    fn error(&self, id: &str, revision: &str, source: ApiError) -> Error {
        let (id, endpoint) = (id.to_owned(), self.endpoint.clone());
        let status = match &source {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => status,
                _ => return Error::Download { id, endpoint, source: Box::new(source) },
            },
            _ => return Error::Download { id, endpoint, source: Box::new(source) },
        };
        let page = format!("{endpoint}/{id}");
        let token = match &self.token {
            Some(_) => "the token that was sent does not open it",
            None => "no token was sent",
        };
        let advice = match status {
            401 => format!(
                "there is no such model, or it is gated or private and {token}; check the name, accept the terms at \
                 {page} if it has any, and set HF_TOKEN or run `hf auth login`"
            ),
            403 => format!(
                "it is gated or private, and {token}; accept the terms at {page}, and set HF_TOKEN to a token that \
                 may read gated models"
            ),
            404 => format!(
                "there is no such model or revision \"{revision}\"; check the name at {page}, and set HF_TOKEN if \
                 it is private"
            ),
            429 => "too many requests; wait, or set HF_TOKEN".into(),
            500.. => "the server has a fault; try again later".into(),
            _ => "the server refuses the request".into(),
        };
        Error::Refused { id, endpoint, status, advice }
    }

    /// Gets one file. Each attempt goes on after what the one before has left; hf-hub's own retries would append
    /// the file to a part that they could not continue.
    fn download(
        &self,
        api: &ApiRepo,
        id: &str,
        revision: &str,
        name: &str,
    ) -> Result<PathBuf, Error> {
        let mut attempt = 0;
        let path = loop {
            match api.get(name) {
                Ok(path) => break path,
                Err(error) if attempt < ATTEMPTS && is_useless_part(&error) => {
                    self.remove_parts(id)
                }
                Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                    std::thread::sleep(Duration::from_millis(500 << attempt));
                }
                Err(source) => return Err(self.error(id, revision, source)),
            }
            attempt += 1;
        };
        verify(&path)?;
        Ok(path)
    }

    fn remove_parts(&self, id: &str) {
        let blobs = self.cache.join(Repo::model(id.into()).folder_name()).join("blobs");
        for entry in fs::read_dir(blobs).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "part") {
                // If it stays, the download fails again and says why.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A part that the server cannot continue: the file has changed, or the part is whole.
fn is_useless_part(error: &ApiError) -> bool {
    match error {
        ApiError::InvalidResume => true,
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(416)),
        _ => false,
    }
}

/// A connection that broke off, or a server that is overloaded.
fn is_passing(error: &ApiError) -> bool {
    match error {
        ApiError::IoError(_) => true,
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(500..)),
        _ => false,
    }
}

/// Compares a large file with the sha256 that is its name among the blobs, and removes it if they differ.
/// Small files are named by another hash.
fn verify(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let blob = path.canonicalize().map_err(io)?;
    let expected = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let found = sha256(std::slice::from_ref(&blob))?;
    if found == expected.to_lowercase() {
        return Ok(());
    }
    fs::remove_file(path).map_err(io)?;
    fs::remove_file(&blob).map_err(io)?;
    Err(Error::Checksum { path: path.to_path_buf(), expected, found })
}

/// Lower-case hexadecimal sha256 of files after one another.
pub(crate) fn sha256(paths: &[PathBuf]) -> Result<String, Error> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let io = |source| Error::Io { path: path.clone(), source };
        let mut file = File::open(path).map_err(io)?;
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                n => digest.update(&buffer[..n]),
            }
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
