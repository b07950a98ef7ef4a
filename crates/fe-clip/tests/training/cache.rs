//! Activations on disk.

use std::path::{Path, PathBuf};

use data::Sample;
use fe_clip::Precision;

use crate::{Place, Trained, config, samples};

fn cached(samples: &[Sample], folder: &Path, precision: Precision) -> Trained {
    let out = tempfile::tempdir().unwrap();
    let cache = folder.join("cache");
    let mut config = config(1, None);
    config.train.prefix_precision = precision;
    Place { cache: Some(&cache), ..Place::new(samples, out.path()) }.train(&config).unwrap()
}

fn in_memory(samples: &[Sample], precision: Precision) -> Vec<u8> {
    let out = tempfile::tempdir().unwrap();
    let mut config = config(1, None);
    config.train.prefix_precision = precision;
    Place::new(samples, out.path()).train(&config).unwrap().bytes
}

/// Files of all keys, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<PathBuf> =
        list(&folder.join("cache")).iter().flat_map(|key| list(key)).collect();
    files.sort();
    files
}

#[test]
fn later_runs_find_the_activations_and_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let expected = in_memory(&samples, Precision::Full);
    // The second run sees some of the images only, in another order.
    let first = cached(&samples, folder.path(), Precision::Full);
    assert_eq!((first.reused, first.damaged), (0, 0));
    assert!(first.bytes == expected, "the adapters differ from those of a run in memory");
    assert_eq!(entries(folder.path()).len(), samples.len());
    let mut some: Vec<Sample> = samples[2..].to_vec();
    some.reverse();
    let second = cached(&some, folder.path(), Precision::Full);
    assert_eq!((second.reused, second.damaged), (some.len(), 0));
    assert!(second.bytes == in_memory(&some, Precision::Full), "the adapters differ");
}

#[test]
fn damaged_and_foreign_entries_are_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let expected = cached(&samples, folder.path(), Precision::Full).bytes;
    let files = entries(folder.path());
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    std::fs::write(&files[1], &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(&files[2], b"not an entry").unwrap();
    std::fs::copy(&files[5], &files[3]).unwrap(); // another image's
    bytes.resize(1 << 20, 0); // more than an entry can have: not even read
    std::fs::write(&files[4], &bytes).unwrap();
    std::fs::remove_file(&files[6]).unwrap();
    let again = cached(&samples, folder.path(), Precision::Full);
    assert_eq!((again.reused, again.damaged), (samples.len() - 6, 5));
    assert!(again.bytes == expected, "the adapters differ");
    let whole = cached(&samples, folder.path(), Precision::Full);
    assert_eq!((whole.reused, whole.damaged), (samples.len(), 0));
}

#[test]
fn half_precision_has_entries_of_its_own_of_half_the_size() {
    let folder = tempfile::tempdir().unwrap();
    let samples = samples(&folder.path().join("data"));
    let full = cached(&samples, folder.path(), Precision::Full);
    let size = |files: &[PathBuf]| files.iter().map(|f| f.metadata().unwrap().len()).sum::<u64>();
    let before = entries(folder.path());
    let half = cached(&samples, folder.path(), Precision::Half);
    assert_eq!((half.reused, half.damaged), (0, 0));
    let all = entries(folder.path());
    assert_eq!(all.len(), 2 * before.len());
    let half_size = size(&all) - size(&before);
    assert!(half_size < size(&before) * 6 / 10, "{half_size} of {}", size(&before));
    assert!(half.bytes == in_memory(&samples, Precision::Half), "the adapters differ");
    assert!(half.bytes != full.bytes, "half precision changes nothing?");
    let loss = |run: &Trained| run.steps[0].terms.loss;
    assert!((loss(&half) - loss(&full)).abs() < 1e-3 * loss(&full));
}
