//! A corpus of crops of photographs: one tar file with a table of its sources and square JPEG files.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Limits, decode_image};

/// Most bytes of the table of sources.
const MAX_TABLE: u64 = 64 << 20;

/// Most crops of a corpus: their names have six digits.
const MAX_CROPS: usize = 1_000_000;

/// The table of a corpus, its first member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// Seed of all random choices.
    pub seed: u64,
    /// Side of the crops in pixels.
    pub side: u32,
    /// Number of crops.
    pub crops: usize,
    /// Where the files came from, and under what terms.
    pub collections: Vec<Collection>,
    /// The files, in the order of their crops.
    pub sources: Vec<Source>,
}

/// Files of one package under one licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// Name of the package.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// The licence, as an SPDX identifier where there is one.
    pub licence: String,
    /// Who made the files.
    pub attribution: String,
}

/// One file and its crops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Index into [`Corpus::collections`].
    pub collection: usize,
    /// Path of the file in its package.
    pub file: String,
    /// What the file shows.
    pub shows: Shows,
    /// Held out: its crops are for validation, not for training.
    pub held_out: bool,
    /// Index of its first crop; the others follow.
    pub first: usize,
    /// Number of its crops.
    pub crops: usize,
}

/// What a source shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// A scene or an object.
    Photograph,
    /// A texture: one material all over the picture.
    Texture,
    /// An object with a transparent background, pasted onto crops of other sources.
    Cutout,
}

impl Corpus {
    /// Name of the member that holds the table.
    pub const TABLE: &str = "corpus.json";

    /// Name of the member that holds a crop.
    pub fn crop_name(index: usize) -> String {
        format!("{index:06}.jpg")
    }

    fn check(&self) -> Result<(), String> {
        if !(16..=4096).contains(&self.side) {
            return Err(format!("crops of side {}; read are 16 to 4096", self.side));
        }
        if self.crops > MAX_CROPS {
            return Err(format!("{} crops; read are up to {MAX_CROPS}", self.crops));
        }
        let mut next = 0usize;
        for source in &self.sources {
            let file = &source.file;
            if source.collection >= self.collections.len() {
                return Err(format!("{file} is of collection {}, not listed", source.collection));
            }
            if source.first != next {
                return Err(format!("the crops of {file} start at {}, not {next}", source.first));
            }
            next = next.saturating_add(source.crops);
        }
        if next != self.crops {
            return Err(format!("{} crops, but its sources have {next}", self.crops));
        }
        Ok(())
    }
}

/// A corpus that is open for reading; threads may share it.
#[derive(Debug)]
pub struct Crops {
    path: PathBuf,
    corpus: Corpus,
    /// Where each crop starts, and its bytes.
    members: Vec<(u64, u64)>,
    file: Mutex<File>,
}

impl Crops {
    /// Opens a corpus and finds every crop.
    ///
    /// # Errors
    /// If the file cannot be read, its table makes no sense, or it does not hold what the table says, as a file cut
    /// short.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let broken = |reason: String| broken(path, reason);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut corpus: Option<Corpus> = None;
        let mut members = Vec::new();
        for entry in archive.entries_with_seek().map_err(|e| broken(e.to_string()))? {
            let mut entry = entry.map_err(|e| broken(e.to_string()))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (start, size) = (entry.raw_file_position(), entry.size());
            let blocks = size.checked_next_multiple_of(512);
            if blocks.and_then(|size| start.checked_add(size)).is_none_or(|end| end > length) {
                return Err(broken(format!("the file is cut short within {name}")));
            }
            let Some(corpus) = &corpus else {
                if name != Corpus::TABLE {
                    return Err(broken(format!("its first member is {name}, not corpus.json")));
                }
                if size > MAX_TABLE {
                    return Err(broken(format!("a table of {size} bytes")));
                }
                let mut text = String::with_capacity(size as usize);
                entry.read_to_string(&mut text).map_err(|e| broken(e.to_string()))?;
                let table: Corpus = serde_json::from_str(&text)
                    .map_err(|e| broken(format!("{}: {e}", Corpus::TABLE)))?;
                table.check().map_err(|e| broken(format!("{}: {e}", Corpus::TABLE)))?;
                corpus = Some(table);
                continue;
            };
            let wanted = Corpus::crop_name(members.len());
            if members.len() == corpus.crops || name != wanted {
                return Err(broken(format!("a member {name} that its table does not have there")));
            }
            // A JPEG file of photographs is smaller than its pixels; nothing larger is read.
            if size > 4096 + 4 * u64::from(corpus.side) * u64::from(corpus.side) {
                return Err(broken(format!("{name} has {size} bytes")));
            }
            members.push((start, size));
        }
        let corpus = corpus.ok_or_else(|| broken("it holds no corpus.json".to_owned()))?;
        if members.len() != corpus.crops {
            return Err(broken(format!(
                "the file is cut short: {} of {} crops",
                members.len(),
                corpus.crops
            )));
        }
        let file = Mutex::new(archive.into_inner().into_inner());
        Ok(Self { path: path.to_path_buf(), corpus, members, file })
    }

    /// The table of sources.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// Number of crops.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no crop.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The source of a crop.
    ///
    /// # Panics
    /// If the index is not below [`len`](Self::len).
    pub fn source(&self, index: usize) -> &Source {
        assert!(index < self.len(), "crop {index} of {}", self.len());
        let after = self.corpus.sources.partition_point(|source| source.first <= index);
        &self.corpus.sources[after - 1]
    }

    /// Decodes a crop, side × side.
    ///
    /// # Errors
    /// If it cannot be read or is no image of that size.
    ///
    /// # Panics
    /// If the index is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> Result<RgbImage, Error> {
        let (start, size) = self.members[index];
        let mut bytes = vec![0; size as usize];
        {
            // Every read seeks first, so what a panic left in the middle of a read harms nothing.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        }
        let side = self.corpus.side;
        let name = format!("{}: {}", self.path.display(), Corpus::crop_name(index));
        let max_pixels = u64::from(side) * u64::from(side);
        let limits = Limits { max_pixels, ..Limits::default() };
        let image = decode_image(&bytes, &name, &limits)?;
        if image.dimensions() != (side, side) {
            let (width, height) = image.dimensions();
            return Err(broken(
                Path::new(&name),
                format!("{width} x {height} pixels, not {side} x {side}"),
            ));
        }
        Ok(image)
    }

    /// SHA-256 of the whole file in hexadecimal: the identity of the corpus.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn sha256(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0))
            .and_then(|_| std::io::copy(&mut *file, &mut hash))
            .map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn broken(path: &Path, reason: String) -> Error {
    Error::Broken { path: path.to_path_buf(), format: "corpus", reason }
}
