//! Checks a data set by opening its files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::read::{Format, HEAD, image_format};
use crate::{Error, Limits, Problem, Sample, image_size, read_image, read_mask_of};

/// Bytes at the end of a file in which its end mark is looked for.
const TAIL: u64 = 64;

/// Opens every image and mask and lists what is wrong, sorted by path.
///
/// Found are images that cannot be read, masks that cannot be read, are not the size of their image or mark nothing,
/// and images with the same bytes. Of an image whose file ends as it should only the header is read, so damage in its
/// middle goes unnoticed. `progress` is called once an image, from several threads.
pub fn inspect(samples: &[Sample], limits: &Limits, progress: impl Fn() + Sync) -> Vec<Problem> {
    let look = |sample: &Sample| {
        let problem = look(sample, limits);
        progress();
        problem
    };
    let mut problems: Vec<Problem> = samples.par_iter().filter_map(look).collect();
    problems.extend(duplicates(samples));
    problems.sort();
    problems
}

fn look(sample: &Sample, limits: &Limits) -> Option<Problem> {
    // The path is the problem's own, the message need not repeat it.
    let failed = |e: Error| Problem { path: e.path().to_path_buf(), problem: e.cause() };
    let size = match checked_size(&sample.image, limits) {
        Ok(size) => size,
        Err(e) => return Some(failed(e)),
    };
    let path = sample.defect.as_ref()?.mask.as_ref()?;
    match read_mask_of(size, path, limits) {
        Err(e) => Some(failed(e)),
        Ok(mask) if mask.iter().any(|&anomalous| anomalous) => None,
        Ok(_) => {
            let problem = "an empty mask of an anomalous image".to_owned();
            Some(Problem { path: path.clone(), problem })
        }
    }
}

/// The size of an image; the image is decoded if its file does not end as its format wants.
fn checked_size(path: &Path, limits: &Limits) -> Result<(u32, u32), Error> {
    let size = image_size(path, limits)?;
    if ends_well(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })? {
        return Ok(size);
    }
    read_image(path, limits).map(|image| image.dimensions())
}

fn ends_well(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    head.resize(HEAD, 0);
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let tail_holds = |mark: &[u8]| tail.windows(mark.len()).any(|w| w == mark);
    let size = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|i| head[at + i])));
    Ok(match image_format(&head) {
        Some(Format::Jpeg) => tail_holds(&[0xff, 0xd9]),
        Some(Format::Png) => tail_holds(b"IEND"),
        Some(Format::WebP) => size(4) + 8 <= length,
        Some(Format::Bmp) => size(2) > 0 && size(2) <= length,
        _ => false,
    })
}

/// Images with the same bytes as one before: first by length, then by hash. Files that cannot be read are left to
/// [`look`].
fn duplicates(samples: &[Sample]) -> Vec<Problem> {
    let lengths: Vec<Option<u64>> =
        samples.par_iter().map(|s| Some(std::fs::metadata(&s.image).ok()?.len())).collect();
    let mut same_length: HashMap<u64, Vec<&Sample>> = HashMap::new();
    for (sample, length) in samples.iter().zip(lengths) {
        if let Some(length) = length {
            same_length.entry(length).or_default().push(sample);
        }
    }
    let groups: Vec<_> = same_length.into_values().filter(|group| group.len() > 1).collect();
    // Files of raw pixels (BMP) all have one length: tell them apart by their first bytes before reading all of them.
    let groups: Vec<Vec<&Sample>> =
        groups.into_par_iter().flat_map(|group| split(group, 16 << 10)).collect();
    let groups: Vec<Vec<&Sample>> =
        groups.into_par_iter().flat_map(|group| split(group, u64::MAX)).collect();
    groups
        .into_iter()
        .flat_map(|group| {
            let first = group[0];
            let copy = move |copy: &&Sample| Problem {
                path: copy.image.clone(),
                problem: match copy.defect.is_some() == first.defect.is_some() {
                    true => format!("the same bytes as {}", first.image.display()),
                    false => {
                        format!("the same bytes as {}, but another label", first.image.display())
                    }
                },
            };
            group[1..].iter().map(copy).collect::<Vec<_>>()
        })
        .collect()
}

/// The groups of two or more samples whose files agree in their first bytes, each in the order given.
fn split(group: Vec<&Sample>, bytes: u64) -> Vec<Vec<&Sample>> {
    let mut by_hash: HashMap<[u8; 32], Vec<&Sample>> = HashMap::new();
    for sample in group {
        let mut hash = Sha256::new();
        let file = File::open(&sample.image).map(|file| file.take(bytes));
        if file.and_then(|mut file| std::io::copy(&mut file, &mut hash)).is_ok() {
            by_hash.entry(hash.finalize().into()).or_default().push(sample);
        }
    }
    by_hash.into_values().filter(|group| group.len() > 1).collect()
}
