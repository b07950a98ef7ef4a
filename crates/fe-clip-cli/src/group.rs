//! `fe-clip detect --group`: images scored against each other.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use data::prefetch;
use fe_clip::Detector;
use fe_clip::group::{GroupImages, GroupLimits, GroupScores};

use crate::detect::{AHEAD, BATCH};
use crate::inputs::Input;
use crate::job::{Job, Read};
use crate::talk::{self, Progress};
use crate::{interrupt, threads};

/// What the first look at an image gave: its place in the group, or why it has none.
type Place = Result<usize, String>;

/// Scores the inputs against each other and reports them in order, after the last was seen.
///
/// # Errors
/// If the method scores each image by itself, there are too few images, or results cannot be
/// written.
pub(crate) fn run(job: &mut Job, inputs: Vec<Input>) -> anyhow::Result<()> {
    let inputs = Arc::new(inputs);
    let mut group = job.detector.group(GroupLimits::default())?;
    let mut places = Vec::with_capacity(inputs.len());
    let mut sizes = Vec::new();
    let progress = Progress::new(inputs.len(), "images");
    let mut batch = Vec::new();
    for read in reading(&inputs, &job.detector) {
        if interrupt::asked() {
            return Ok(());
        }
        sizes.extend(read.image.as_ref().ok().map(|(image, _)| image.dimensions()));
        batch.push(read);
        progress.advance();
        if batch.len() == BATCH {
            add(&job.detector, &mut group, &mut batch, &mut places);
        }
    }
    add(&job.detector, &mut group, &mut batch, &mut places);
    progress.finish();
    warn_of_sizes(&sizes);
    let Some(scores) = compare(&job.detector, group)? else { return Ok(()) };
    tell(&scores, &inputs, &places);
    if job.out.is_some() {
        job.progress = Progress::new(inputs.len(), "results");
    }
    for (read, place) in reading(&inputs, &job.detector).zip(places) {
        if interrupt::asked() {
            return Ok(());
        }
        let prediction = place.map(|image| job.detector.group_prediction(&scores, image));
        job.report(read, || prediction)?;
    }
    Ok(())
}

/// The inputs as they are read, ahead of the one who asks.
fn reading(inputs: &Arc<Vec<Input>>, detector: &Detector) -> impl Iterator<Item = Read> + use<> {
    let (preprocessing, all) = (detector.preprocess().clone(), inputs.clone());
    let read = move |i: &usize| Read::new(&all[*i], &preprocessing);
    prefetch((0..inputs.len()).collect(), threads::count(), AHEAD, read)
}

/// Adds images that were read to the group.
fn add(
    detector: &Detector,
    group: &mut GroupImages,
    batch: &mut Vec<Read>,
    places: &mut Vec<Place>,
) {
    let mut next = group.len();
    let pixels: Vec<_> =
        batch.iter().filter_map(|r| r.image.as_ref().ok()).map(|(_, p)| p.clone()).collect();
    let mut added = detector.add_to_group(group, &pixels).into_iter();
    for read in batch.drain(..) {
        places.push(read.image.and_then(|_| {
            let added = added.next().expect("an answer an image");
            added.map_err(|error| error.to_string())?;
            next += 1;
            Ok(next - 1)
        }));
    }
}

/// Compares the images; none if it was interrupted.
fn compare(detector: &Detector, group: GroupImages) -> anyhow::Result<Option<GroupScores>> {
    let (images, cost) = (group.len(), group.cost());
    talk::note(format_args!(
        "comparing {images} images, each with {} others: {:.2e} multiplications",
        cost.others, cost.multiplications as f64
    ));
    let progress = Progress::new(0, "comparisons");
    let scores = detector.score_group(group, |done, all| {
        progress.set_total(all as usize);
        progress.set(done as usize);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    progress.finish();
    Ok(scores)
}

/// A group is one kind of thing: says so where its images hardly can be.
fn warn_of_sizes(sizes: &[(u32, u32)]) {
    let shape = |(w, h): (u32, u32)| f64::from(w) / f64::from(h);
    let side = |(w, h): (u32, u32)| (f64::from(w) * f64::from(h)).sqrt();
    let differ = |of: &dyn Fn((u32, u32)) -> f64| {
        let values = sizes.iter().map(|size| of(*size));
        values.clone().fold(0.0, f64::max) > 2.0 * values.fold(f64::INFINITY, f64::min)
    };
    if differ(&shape) || differ(&side) {
        let area = |size: &&(u32, u32)| u64::from(size.0) * u64::from(size.1);
        let ends = (sizes.iter().min_by_key(area), sizes.iter().max_by_key(area));
        let (Some(small), Some(large)) = ends else { return };
        talk::warning(format_args!(
            "the images are of very different sizes, {}x{} to {}x{}: a group should be pictures \
             of one kind of thing, taken alike",
            small.0, small.1, large.0, large.1
        ));
    }
}

/// Says which images were left out of comparisons, and which do not seem to belong to the group.
fn tell(scores: &GroupScores, inputs: &[Input], places: &[Place]) {
    let path = |image: usize| -> &Path {
        let at = places.iter().position(|place| *place == Ok(image));
        &inputs[at.expect("every image of the group has a place")].path
    };
    for [a, b] in scores.duplicates() {
        talk::note(format_args!(
            "{} and {} are nearly the same: they are not compared",
            path(*a).display(),
            path(*b).display()
        ));
    }
    for image in scores.odd() {
        talk::warning(format_args!(
            "{}: differs so much from the others that it seems to show something else; a group \
             should be pictures of one kind of thing",
            path(*image).display()
        ));
    }
}
