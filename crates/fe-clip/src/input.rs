//! What can be judged.

use std::path::{Path, PathBuf};

use data::{Limits, decode_image, read_image};
use image::RgbImage;

/// An image to judge: a file, a file's bytes, or pixels.
pub struct Input {
    pub(crate) path: PathBuf,
    content: Content,
}

enum Content {
    File,
    Bytes(Vec<u8>),
    Pixels(RgbImage),
}

impl Input {
    /// A file's content, in any of the formats that are read; results and errors call it `name`.
    pub fn bytes(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: name.into(), content: Content::Bytes(bytes) }
    }

    /// Pixels in memory; results call them `name`.
    pub fn pixels(name: impl Into<PathBuf>, image: RgbImage) -> Self {
        Self { path: name.into(), content: Content::Pixels(image) }
    }

    pub(crate) fn read(&self) -> Result<RgbImage, data::Error> {
        let limits = Limits::default();
        match &self.content {
            Content::File => read_image(&self.path, &limits),
            Content::Bytes(bytes) => decode_image(bytes, &self.path.to_string_lossy(), &limits),
            Content::Pixels(image) => Ok(image.clone()),
        }
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self { path, content: Content::File }
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&PathBuf> for Input {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&str> for Input {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<RgbImage> for Input {
    /// Pixels that results call `image`.
    fn from(image: RgbImage) -> Self {
        Self::pixels("image", image)
    }
}
