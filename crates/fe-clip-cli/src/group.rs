//! `fe-clip detect --group`: images scored against each other.

use std::ops::ControlFlow;

use fe_clip::{GroupProgress, Input, Inspector, JudgedGroup};

use crate::interrupt;
use crate::talk::{self, Progress};

/// Scores images against each other and says what is odd about the group; none if it was
/// interrupted.
///
/// # Errors
/// If the method scores each image by itself, or there are too few images.
pub(crate) fn compare(
    inspector: &Inspector,
    images: Vec<Input>,
) -> anyhow::Result<Option<JudgedGroup>> {
    let mut progress = Some(Progress::new(images.len(), "images"));
    let group = inspector.inspect_group(images, |now| {
        match now {
            GroupProgress::Seen => progress.iter().for_each(Progress::advance),
            GroupProgress::Comparing(images, cost) => {
                progress.take().into_iter().for_each(Progress::finish);
                talk::note(format_args!(
                    "comparing {images} images, each with {} others: {:.2e} multiplications",
                    cost.others, cost.multiplications as f64
                ));
                progress = Some(Progress::new(0, "comparisons"));
            }
            GroupProgress::Compared(done, all) => {
                if let Some(progress) = &progress {
                    progress.set_total(all as usize);
                    progress.set(done as usize);
                }
            }
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    progress.into_iter().for_each(Progress::finish);
    group.iter().for_each(tell);
    Ok(group)
}

/// Says which images were left out of comparisons, and what does not seem to belong to the group.
fn tell(group: &JudgedGroup) {
    warn_of_sizes(group.sizes());
    for [a, b] in group.duplicates() {
        talk::note(format_args!(
            "{} and {} are nearly the same: they are not compared",
            a.display(),
            b.display()
        ));
    }
    for image in group.odd() {
        talk::warning(format_args!(
            "{}: differs so much from the others that it seems to show something else; a group \
             should be pictures of one kind of thing",
            image.display()
        ));
    }
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
