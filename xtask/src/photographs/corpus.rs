//! Sources to crops to one file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use data::{Corpus, Limits, Shows, Source};
use image::{DynamicImage, RgbImage};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cut;
use super::package::Tree;
use super::table::{Candidate, Table};

/// Crops of each file that is held out: enough for normal and damaged pictures of a category.
const HELD_OUT_CROPS: usize = 40;

/// Most crops of a file, in crops that lie side by side in it.
const MOST: f64 = 150.0;

/// Crops that cut-outs are laid on.
const GROUNDS: usize = 256;

/// Files that are cut at the same time.
const BATCH: usize = 32;

/// What is to be written.
pub(super) struct Order {
    pub(super) crops: usize,
    pub(super) side: u32,
    pub(super) seed: u64,
}

/// A file, and how many crops are wanted of it.
struct Job {
    candidate: Candidate,
    wanted: usize,
}

impl Job {
    fn is_cutout(&self) -> bool {
        self.candidate.shows == Shows::Cutout
    }
}

/// Writes the corpus and returns its table.
pub(super) fn write(out: &Path, table: &Table, trees: &[Tree], order: &Order) -> Result<Corpus> {
    let mut candidates = Vec::new();
    for (package, tree) in table.package.iter().zip(trees) {
        candidates.extend(table.candidates(package, tree)?);
    }
    let jobs = jobs(candidates, order);
    ensure!(
        !jobs.is_empty(),
        "no picture of {} pixels or more was found",
        cut::smallest(order.side)
    );
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let making = || format!("writing beside {}", out.display());
    let mut spool =
        tar::Builder::new(BufWriter::new(tempfile::tempfile_in(folder).with_context(making)?));
    let bar = indicatif::ProgressBar::new(jobs.len() as u64);
    let mut corpus = Corpus {
        seed: order.seed,
        side: order.side,
        crops: 0,
        collections: Vec::new(),
        sources: Vec::new(),
    };
    let mut grounds: Vec<RgbImage> = Vec::new();
    // Cut-outs wait until every ground is there.
    let parts = jobs.chunk_by(|a, b| a.is_cutout() == b.is_cutout());
    for batch in parts.flat_map(|part| part.chunks(BATCH)) {
        let cut: Vec<Result<Vec<RgbImage>>> =
            batch.par_iter().map(|job| crops(job, order, &grounds)).collect();
        for (job, crops) in batch.iter().zip(cut) {
            bar.inc(1);
            let candidate = &job.candidate;
            let crops = match crops {
                Ok(crops) => crops,
                // One picture that cannot be read does not stop the others.
                Err(error) => {
                    bar.suspend(|| eprintln!("left out: {error:#}"));
                    continue;
                }
            };
            let Some(last) = crops.last() else { continue };
            let ground = candidate.shows != Shows::Cutout && !candidate.held_out;
            if ground && grounds.len() < GROUNDS {
                grounds.push(last.clone());
            }
            let files: Vec<Vec<u8>> = crops.par_iter().map(cut::encoded).collect::<Result<_>>()?;
            for (i, bytes) in files.iter().enumerate() {
                append(&mut spool, &Corpus::crop_name(corpus.crops + i), bytes)?;
            }
            let known = corpus.collections.iter().position(|c| *c == candidate.collection);
            let collection = known.unwrap_or_else(|| {
                corpus.collections.push(candidate.collection.clone());
                corpus.collections.len() - 1
            });
            corpus.sources.push(Source {
                collection,
                file: candidate.file.clone(),
                shows: candidate.shows,
                held_out: candidate.held_out,
                first: corpus.crops,
                crops: files.len(),
            });
            corpus.crops += files.len();
        }
    }
    bar.finish_and_clear();
    ensure!(corpus.crops > 0, "no crop shows enough");
    let spool = spool.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    assemble(out, folder, &corpus, spool).with_context(making)?;
    Ok(corpus)
}

/// The table, then the crops, under the name that is wanted once all is there.
fn assemble(out: &Path, folder: &Path, corpus: &Corpus, mut spool: File) -> Result<()> {
    let mut head = tar::Builder::new(Vec::new());
    append(&mut head, Corpus::TABLE, &serde_json::to_vec_pretty(corpus)?)?;
    let mut head = head.into_inner()?;
    head.truncate(head.len() - 1024); // two blocks end an archive
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&head)?;
    spool.rewind()?;
    std::io::copy(&mut spool, &mut file)?;
    file.as_file().sync_all()?;
    #[cfg(unix)]
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(out)?;
    Ok(())
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)?;
    Ok(())
}

/// How many crops of which file: by its size and weight; cut-outs last, for they need grounds.
fn jobs(candidates: Vec<Candidate>, order: &Order) -> Vec<Job> {
    let sizes: Vec<f64> = candidates.par_iter().map(|c| size(c, order.side)).collect();
    let held_out = |c: &Candidate| c.held_out;
    let all: f64 = candidates
        .iter()
        .zip(&sizes)
        .filter(|(c, _)| !held_out(c))
        .map(|(c, size)| c.weight * size)
        .sum();
    let kept =
        candidates.iter().zip(&sizes).filter(|(c, size)| held_out(c) && **size > 0.0).count();
    let rest = order.crops.saturating_sub(kept * HELD_OUT_CROPS) as f64;
    let mut jobs = Vec::new();
    // What is lost by rounding is carried to the next file.
    let mut carried = 0.0;
    for (candidate, size) in candidates.into_iter().zip(sizes) {
        let wanted = if size == 0.0 {
            0
        } else if candidate.held_out {
            HELD_OUT_CROPS
        } else {
            let share = rest * candidate.weight * size / all + carried;
            carried = share - share.floor();
            share as usize
        };
        if wanted > 0 {
            jobs.push(Job { candidate, wanted });
        }
    }
    jobs.sort_by_key(Job::is_cutout);
    jobs
}

/// Crops that lie side by side in a file; 0 where it is too small or cannot be read.
fn size(candidate: &Candidate, side: u32) -> f64 {
    match data::image_size(&candidate.path, &Limits::default()) {
        Ok((width, height)) if candidate.shows == Shows::Cutout => {
            if width.max(height) * 4 < side {
                0.0
            } else {
                1.0
            }
        }
        Ok((width, height)) if width.min(height) >= cut::smallest(side) => {
            let area = f64::from(width) * f64::from(height);
            (area / f64::from(side * side)).clamp(1.0, MOST)
        }
        Ok(_) => 0.0,
        Err(error) => {
            eprintln!("left out: {error}");
            0.0
        }
    }
}

fn crops(job: &Job, order: &Order, grounds: &[RgbImage]) -> Result<Vec<RgbImage>> {
    let Candidate { path, file, shows, collection, .. } = &job.candidate;
    // A file's crops depend on the seed and its name alone.
    let mut hash = Sha256::new();
    hash.update(order.seed.to_le_bytes());
    hash.update(collection.package.as_bytes());
    hash.update(file.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    let limits = Limits::default();
    if *shows == Shows::Cutout {
        let cutout = data::read_cutout(path, &limits)?;
        let mut laid = Vec::new();
        for _ in 0..job.wanted {
            let Some(ground) = grounds.choose(&mut rng) else { break };
            laid.push(cut::laid(&cutout, ground, &mut rng));
        }
        return Ok(laid);
    }
    let image = data::read_cutout(path, &limits)?;
    let bare = image.pixels().filter(|pixel| pixel.0[3] < 16).count();
    // What lies under transparency was never meant to be seen.
    if bare * 4 > image.pixels().len() {
        return Ok(Vec::new());
    }
    let image = DynamicImage::ImageRgba8(image).into_rgb8();
    let mut seen = HashSet::new();
    let mut found = cut::crops(&image, *shows, job.wanted, order.side, &mut rng);
    found.retain(|crop| seen.insert(Sha256::digest(crop.as_raw())));
    Ok(found)
}
