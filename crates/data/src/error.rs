//! What can be wrong with files on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::Problem;

/// An image, a mask or a data set that could not be read. Every variant names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The first bytes are those of no image format we read.
    #[error("{}: not an image (read: JPEG, PNG, TIFF, BMP, WebP, DICOM): {found}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        found: String,
    },
    /// A known format, but a variant of it that is not read.
    #[error("{}: {format} of a kind that is not read: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The variant.
        what: String,
    },
    /// The file is damaged or cut short.
    #[error("{}: broken {format} file: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A decoder stopped by a fault of its own; the file may be sound.
    #[error("{}: the {format} decoder failed in {place}: {reason}", path.display())]
    Decoder {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The crate with its version and the line.
        place: String,
        /// What it says.
        reason: String,
    },
    /// Decoding would exceed [`Limits`](crate::Limits).
    #[error("{}: {what}, above the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Float samples that fit none of the ranges in use.
    #[error(
        "{}: float samples from {low} to {high}; read are 0 to 1, 0 to 255 and 0 to 65535, all finite",
        path.display()
    )]
    FloatRange {
        /// The file.
        path: PathBuf,
        /// The smallest sample (or NaN).
        low: f64,
        /// The largest sample (or NaN).
        high: f64,
    },
    /// A mask of another size than its image.
    #[error("{}: the mask is {} x {}, its image {} x {}", path.display(), mask.0, mask.1, image.0, image.1)]
    MaskSize {
        /// The mask.
        path: PathBuf,
        /// Its width and height.
        mask: (u32, u32),
        /// Those of the image.
        image: (u32, u32),
    },
    /// A folder that is not the root of a data set in the layout asked for.
    #[error("{}: not the root of {layout}, expected {expected}; {hint}", path.display())]
    WrongRoot {
        /// The folder.
        path: PathBuf,
        /// The layout.
        layout: &'static str,
        /// What the root of such a data set holds.
        expected: &'static str,
        /// What the folder looks like instead.
        hint: String,
    },
    /// A folder without any image.
    #[error(
        "{}: no image found, expected {expected}{}",
        path.display(),
        first.as_ref().map(|p| format!("; {}: {}", p.path.display(), p.problem)).unwrap_or_default()
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// Where images are looked for.
        expected: &'static str,
        /// The first of what was found wrong on the way.
        first: Option<Problem>,
    },
    /// A data set's own list of its files that makes no sense.
    #[error("{}: {reason}", path.display())]
    Table {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// The path that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotAnImage { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Broken { path, .. }
            | Self::Decoder { path, .. }
            | Self::TooLarge { path, .. }
            | Self::FloatRange { path, .. }
            | Self::MaskSize { path, .. }
            | Self::WrongRoot { path, .. }
            | Self::NoImages { path, .. }
            | Self::Table { path, .. } => path,
        }
    }

    /// The message without the path, for lists that name the path themselves.
    pub fn cause(&self) -> String {
        let (text, path) = (self.to_string(), self.path().display().to_string());
        text.strip_prefix(&path)
            .and_then(|rest| rest.strip_prefix(": "))
            .unwrap_or(&text)
            .to_owned()
    }
}

/// What is wrong inside a file, before its path and format are known.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Unsupported(String),
    Broken(String),
    TooLarge { what: String, limit: u64 },
    FloatRange { low: f64, high: f64 },
}

impl Fault {
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into())
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    pub(crate) fn cut_short() -> Self {
        Self::broken("the file is cut short")
    }

    /// The error about this file.
    pub(crate) fn of(self, path: &Path, format: &'static str) -> Error {
        let path = path.to_path_buf();
        match self {
            Self::Io(source) => Error::Io { path, source },
            Self::Unsupported(what) => Error::Unsupported { path, format, what },
            Self::Broken(reason) => Error::Broken { path, format, reason },
            Self::TooLarge { what, limit } => Error::TooLarge { path, what, limit },
            Self::FloatRange { low, high } => Error::FloatRange { path, low, high },
        }
    }
}

impl From<io::Error> for Fault {
    /// An IO error inside a decoder: the system's, or the decoder's own way to say that the data make no sense.
    fn from(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            Self::Io(error)
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::cut_short()
        } else {
            Self::Broken(error.to_string())
        }
    }
}
