//! Models from the Hugging Face hub, in the cache that Python's `huggingface_hub` shares.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use crate::Error;

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
    /// As Python's `huggingface_hub`: `HF_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME` give the cache, `HF_ENDPOINT`
    /// the server, `HF_TOKEN` or the cache's neighbour `token` the token, `HF_HUB_OFFLINE` turns the network off.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let cache = match (set("HF_HUB_CACHE"), set("HF_HOME"), set("XDG_CACHE_HOME")) {
            (Some(cache), ..) => PathBuf::from(cache),
            (_, Some(home), _) => Path::new(&home).join("hub"),
            (_, _, Some(cache)) => Path::new(&cache).join("huggingface/hub"),
            _ => Cache::default().path().clone(),
        };
        let on =
            |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());
        Self {
            token: set("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token()),
            cache,
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            offline: set("HF_HUB_OFFLINE").is_some_and(on),
            progress: true,
        }
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
        } else if is_hub_id(model)
            && path
                .extension()
                .is_none_or(|e| !["safetensors", "pt", "bin"].iter().any(|x| e == *x))
        {
            self.snapshot(model, "main")
        } else {
            Err(Error::NoModel { path: path.to_path_buf() })
        }
    }

    /// The cached files of a model in Hugging Face layout, a directory for [`load`](crate::load).
    ///
    /// `revision` is a commit, a branch or a tag. A model that is there needs no network. Missing files are
    /// downloaded, interrupted downloads are continued, and weights are compared with the sha256 that the hub
    /// names them by.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Download`], [`Error::Checksum`], and [`Error::Io`] for the cache.
    pub fn snapshot(&self, id: &str, revision: &str) -> Result<PathBuf, Error> {
        let repo = Repo::with_revision(id.into(), RepoType::Model, revision.into());
        if let Some(directory) = self.cached(&repo) {
            return Ok(directory);
        }
        if self.offline {
            return Err(Error::Offline { id: id.into(), cache: self.cache.clone() });
        }
        let error = |source| Error::Download {
            id: id.into(),
            endpoint: self.endpoint.clone(),
            source: Box::new(source),
        };
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(self.progress)
            .build()
            .map_err(error)?
            .repo(repo);
        let names: Vec<String> =
            api.info().map_err(error)?.siblings.into_iter().map(|file| file.rfilename).collect();
        let download = |name: &str| self.download(&api, id, name);
        let config = download("config.json")?;
        let directory = config.parent().unwrap_or(Path::new("")).to_path_buf();
        let has = |name: &str| names.iter().any(|other| other == name);
        if has("model.safetensors") {
            download("model.safetensors")?;
        } else if has("model.safetensors.index.json") {
            let index = download("model.safetensors.index.json")?;
            for shard in crate::weights::shards(&index)? {
                download(&shard.file_name().unwrap_or_default().to_string_lossy())?;
            }
        } else {
            download("pytorch_model.bin")?;
        }
        Ok(directory)
    }

    /// The snapshot of a revision if all that loading reads is there.
    fn cached(&self, repo: &Repo) -> Option<PathBuf> {
        let folder = self.cache.join(repo.folder_name());
        // Python makes no reference for a commit that was asked for by its hash.
        let commit = fs::read_to_string(folder.join("refs").join(repo.revision()))
            .unwrap_or_else(|_| repo.revision().into());
        let directory = folder.join("snapshots").join(commit.trim());
        let is_there = |name: &str| directory.join(name).is_file();
        let shards =
            || crate::weights::shards(&directory.join("model.safetensors.index.json")).ok();
        let has_weights = is_there("model.safetensors")
            || is_there("pytorch_model.bin")
            || shards().is_some_and(|shards| shards.iter().all(|shard| shard.is_file()));
        (is_there("config.json") && has_weights).then_some(directory)
    }

    /// Gets one file. Each attempt goes on after what the one before has left; hf-hub's own retries would append
    /// the file to a part that they could not continue.
    fn download(&self, api: &ApiRepo, id: &str, name: &str) -> Result<PathBuf, Error> {
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
                Err(source) => {
                    let endpoint = self.endpoint.clone();
                    return Err(Error::Download {
                        id: id.into(),
                        endpoint,
                        source: Box::new(source),
                    });
                }
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

/// `owner/name` of the characters that the hub allows.
fn is_hub_id(model: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        part.bytes().all(allowed) && part.bytes().any(|byte| byte != b'.')
    };
    model.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let value =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
        Hub::from_variables(value)
    }

    #[test]
    fn the_more_particular_variable_names_the_cache() {
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")];
        for (skip, cache) in [(0, "/a"), (1, "/b/hub"), (2, "/c/huggingface/hub")] {
            assert_eq!(hub(&all[skip..]).cache, Path::new(cache));
        }
        // Set to nothing is not set.
        assert_eq!(hub(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/b")]).cache, Path::new("/b/hub"));
        assert!(hub(&[]).cache.ends_with(".cache/huggingface/hub"));
    }

    #[test]
    fn server_token_and_offline_come_from_the_environment() {
        let given = hub(&[
            ("HF_HOME", "/b"),
            ("HF_ENDPOINT", "http://mirror"),
            ("HF_TOKEN", "secret"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(given.endpoint, "http://mirror");
        assert_eq!(given.token.as_deref(), Some("secret"));
        assert!(given.offline);
        let default = hub(&[("HF_HOME", "/b"), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(default.endpoint, "https://huggingface.co");
        assert_eq!(default.token, None);
        assert!(!default.offline);
    }

    #[test]
    fn a_token_is_found_beside_the_cache() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "from the file\n").unwrap();
        let home = home.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", home)]).token.as_deref(), Some("from the file"));
    }
}
