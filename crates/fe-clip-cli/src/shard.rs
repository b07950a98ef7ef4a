//! `--shard I/N`: a part of a long list for each of several machines.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data::path_text::to_text;
use fe_clip::files::sha256_of_lines;
use fe_clip::{ImageFile, Inspector, ModelIdentity};
use serde_json::json;

use crate::inputs::Input;

/// Which part of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        let most = 100_000; // as many digits as the names of files have
        numbers.filter(|shard| shard.index < shard.count && shard.count <= most).ok_or_else(|| {
            format!("expected I/N with I from 0 to N - 1 and N up to {most}, got {text}")
        })
    }
}

impl Shard {
    /// Its place in a list: all parts differ in length by one at most, and stand one after the
    /// other.
    pub(crate) fn range(self, length: usize) -> Range<usize> {
        let start = |index: usize| (length as u128 * index as u128 / self.count as u128) as usize;
        start(self.index)..start(self.index + 1)
    }

    /// The file of its results; `run` is that of [`run`].
    pub(crate) fn file(self, out: &Path, run: &str) -> PathBuf {
        out.join(format!("part-{run}-{:05}-of-{:05}.parquet", self.index, self.count))
    }
}

/// A hash of what results depend on beside the content of the images: their list, the model, what
/// it compares with, thresholds, and the `files` that are written. Parts of one run share it.
///
/// # Errors
/// If a normal image cannot be read.
pub(crate) fn run(
    inputs: &[Input],
    inspector: &Inspector,
    mut model: ModelIdentity,
    normals: Vec<PathBuf>,
    files: &str,
) -> Result<String, fe_clip::Error> {
    let normals = normals.into_iter().map(ImageFile::new).collect::<Result<Vec<_>, _>>()?;
    model.references = normals.into_iter().map(|image| image.sha256).collect();
    let thresholds = inspector.judge().thresholds.map(|t| [t.image, f64::from(t.pixel)]);
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": model,
        "thresholds": thresholds,
        "files": files,
    });
    let mut lines = vec![facts.to_string()];
    lines.extend(inputs.iter().map(|input| to_text(&input.path).into_owned()));
    Ok(sha256_of_lines(&lines)[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole_and_are_of_one_size() {
        for length in [0, 1, 7, 100, 1_000_003] {
            for count in [1, 2, 3, 16, 100] {
                let parts: Vec<Range<usize>> =
                    (0..count).map(|index| Shard { index, count }.range(length)).collect();
                assert_eq!((parts[0].start, parts[count - 1].end), (0, length));
                assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
                let sizes = parts.iter().map(ExactSizeIterator::len);
                assert!(sizes.clone().max() <= sizes.min().map(|least| least + 1));
            }
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        assert_eq!("3/16".parse(), Ok(Shard { index: 3, count: 16 }));
        for text in ["", "3", "16/16", "-1/4", "1/0", "0/100001", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
