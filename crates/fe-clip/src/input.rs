//! What can be judged.

use std::io;
use std::path::{Path, PathBuf};

use data::{Limits, decode_image, read_image};
use image::RgbImage;

/// An image to judge: a file, a file's bytes, what gets them, or pixels.
pub struct Input {
    pub(crate) path: PathBuf,
    content: Content,
}

enum Content {
    File,
    Bytes(Vec<u8>),
    Fetched(Fetch),
    Pixels(RgbImage),
}

type Fetch = Box<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>;

impl Input {
    /// A file's content, in any of the formats that are read; results and errors call it `name`.
    pub fn bytes(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: name.into(), content: Content::Bytes(bytes) }
    }

    /// A file's content that is fetched when its turn comes, by one of the threads that read ahead;
    /// results and errors call it `name`. It may be fetched more than once.
    pub fn fetched(
        name: impl Into<PathBuf>,
        fetch: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { path: name.into(), content: Content::Fetched(Box::new(fetch)) }
    }

    /// Pixels in memory; results call them `name`.
    pub fn pixels(name: impl Into<PathBuf>, image: RgbImage) -> Self {
        Self { path: name.into(), content: Content::Pixels(image) }
    }

    pub(crate) fn read(&self) -> Result<RgbImage, data::Error> {
        let limits = Limits::default();
        let decode = |bytes: &[u8]| decode_image(bytes, &self.path.to_string_lossy(), &limits);
        match &self.content {
            Content::File => read_image(&self.path, &limits),
            Content::Bytes(bytes) => decode(bytes),
            Content::Fetched(fetch) => {
                let named = |source| data::Error::Io { path: self.path.clone(), source };
                decode(&fetch().map_err(named)?)
            }
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
