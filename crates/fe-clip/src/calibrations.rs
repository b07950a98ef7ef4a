//! Calibrations of several kinds of things in one file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::calibrate::{Calibration, write_json};
use crate::files::read_to_string;

const FORMAT: &str = "fe-clip-calibrations";
const VERSION: u32 = 1;

/// Calibrations by the names of categories, as one file holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrations {
    format: String,
    version: u32,
    categories: BTreeMap<String, Calibration>,
}

/// What tells the two kinds of files apart.
#[derive(Deserialize)]
struct Head {
    format: String,
}

impl Calibrations {
    /// Reads a file of them; one that is not there holds none yet.
    ///
    /// # Errors
    /// If it cannot be read, or is no such file.
    pub fn read_or_empty(path: &Path) -> Result<Self, Error> {
        let text = match read_to_string(path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let categories = BTreeMap::new();
                return Ok(Self { format: FORMAT.into(), version: VERSION, categories });
            }
            text => text?,
        };
        let head: Head = serde_json::from_str(&text).map_err(|e| Error::invalid(path, e))?;
        if head.format != FORMAT {
            let reason =
                format!("expected calibrations of several categories, got {}", head.format);
            return Err(Error::invalid(path, reason));
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let all: Self = serde_json::from_str(text).map_err(|e| Error::invalid(path, e))?;
        if (all.format.as_str(), all.version) != (FORMAT, VERSION) {
            let (format, version) = (&all.format, all.version);
            let reason =
                format!("expected format {FORMAT} version {VERSION}, got {format} {version}");
            return Err(Error::invalid(path, reason));
        }
        all.categories.values().try_for_each(|one| one.check_format(path))?;
        Ok(all)
    }

    /// The calibration of a category.
    pub fn get(&self, category: &str) -> Option<&Calibration> {
        self.categories.get(category)
    }

    /// Puts in the calibration of a category, in place of the one that is there.
    pub fn set(&mut self, category: &str, calibration: Calibration) {
        self.categories.insert(category.to_owned(), calibration);
    }

    /// Writes them.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_json(self, path)
    }
}

impl Calibration {
    /// Reads a file with one calibration, of no category.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_of(path, None)
    }

    /// Reads the calibration of a category from a file that holds several, or the one of a file
    /// that holds one and belongs to no category.
    ///
    /// # Errors
    /// If the file cannot be read or is none, does not have the category, or it takes one to choose.
    pub fn read_of(path: &Path, category: Option<&str>) -> Result<Self, Error> {
        let text = read_to_string(path)?;
        let head: Head = serde_json::from_str(&text).map_err(|e| Error::invalid(path, e))?;
        let several = (head.format == FORMAT).then(|| Calibrations::parse(&text, path));
        let names = |all: &Calibrations| {
            all.categories.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let reason = match (several.transpose()?, category) {
            (None, None) => return Self::parse(&text, path),
            (None, Some(_)) => "holds one calibration, which belongs to no category".to_owned(),
            (Some(all), None) => {
                format!("holds calibrations of several categories: choose one of {}", names(&all))
            }
            (Some(mut all), Some(category)) => match all.categories.remove(category) {
                Some(found) => return Ok(found),
                None => format!("has no calibration of {category}, only of {}", names(&all)),
            },
        };
        Err(Error::invalid(path, reason))
    }
}
