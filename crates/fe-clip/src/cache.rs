//! The frozen prefix's output on disk, one file an image.
//!
//! A file is found by the hash of the image under a folder named after everything else that
//! decides the numbers. It is a safetensors file that names both and the hash of its numbers, so
//! that a damaged or foreign one is told from a good one.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use safetensors::tensor::{SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::files::{hex, read_limited, write_atomic};
use crate::precision::Precision;

const FORMAT: &str = "fe-clip-prefix-1";
const TENSOR: &str = "tokens";
/// Bytes that a file may have beside its numbers.
const HEADER: u64 = 4096;

/// A folder of entries that were computed in the same way.
pub(crate) struct Cache {
    folder: PathBuf,
    key: String,
    shape: [usize; 2],
    precision: Precision,
}

/// What there is under an image's name.
pub(crate) enum Found {
    /// Numbers `[tokens, width]` in the cache's precision.
    Numbers(Vec<u8>),
    Nothing,
    /// A file that is not this image's entry, or no longer.
    Damaged,
}

impl Cache {
    /// Makes the folder for entries that `identity` describes.
    pub(crate) fn open(
        root: &Path,
        identity: &str,
        shape: [usize; 2],
        precision: Precision,
    ) -> Result<Self, Error> {
        let key = sha256(identity.as_bytes());
        let folder = root.join(&key[..16]);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        Ok(Self { folder, key, shape, precision })
    }

    pub(crate) fn path(&self, image: &str) -> PathBuf {
        self.folder.join(format!("{image}.safetensors"))
    }

    /// Looks for the entry of an image by the hash of its file.
    ///
    /// # Errors
    /// If there is a file that cannot be read.
    pub(crate) fn find(&self, image: &str) -> Result<Found, Error> {
        match read_limited(&self.path(image), self.numbers() as u64 + HEADER) {
            Ok(bytes) => Ok(self.parse(&bytes, image).map_or(Found::Damaged, Found::Numbers)),
            Err(Error::Invalid { .. }) => Ok(Found::Damaged),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(Found::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    fn parse(&self, bytes: &[u8], image: &str) -> Option<Vec<u8>> {
        let file = SafeTensors::deserialize(bytes).ok()?;
        let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
        let metadata = header.metadata().as_ref()?;
        let view = file.tensor(TENSOR).ok()?;
        let says = |name: &str, value: &str| metadata.get(name).is_some_and(|v| v == value);
        let ours = says("format", FORMAT) && says("key", &self.key) && says("image", image);
        let right = view.shape() == self.shape && view.dtype() == self.precision.dtype();
        let whole = ours && right && says("sha256", &sha256(view.data()));
        whole.then(|| view.data().to_vec())
    }

    /// The numbers of an entry that was there before.
    ///
    /// # Errors
    /// If it is gone, or damaged by now.
    pub(crate) fn get(&self, image: &str) -> Result<Vec<u8>, Error> {
        match self.find(image)? {
            Found::Numbers(bytes) => Ok(bytes),
            Found::Nothing | Found::Damaged => Err(Error::invalid(
                &self.path(image),
                "gone or damaged since the run began; computed again when the run goes on from its state",
            )),
        }
    }

    /// Remembers an image's numbers.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn put(&self, image: &str, numbers: &[u8]) -> Result<(), Error> {
        let path = self.path(image);
        let view = TensorView::new(self.precision.dtype(), self.shape.to_vec(), numbers)
            .map_err(|e| Error::invalid(&path, e))?;
        let metadata = [
            ("format", FORMAT.to_string()),
            ("key", self.key.clone()),
            ("image", image.to_string()),
            ("sha256", sha256(numbers)),
        ];
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let bytes = safetensors::serialize([(TENSOR, view)], Some(metadata))
            .map_err(|e| Error::invalid(&path, e))?;
        write_atomic(&path, &bytes)
    }

    fn numbers(&self) -> usize {
        self.shape[0] * self.shape[1] * self.precision.bytes()
    }
}

/// In lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}
