//! Verdicts of images that are scored against each other.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::group::{GroupCost, GroupLimits};
use crate::group_detection::GroupScores;
use crate::input::Input;
use crate::inspect::{BATCH, Inspector, Read, Seen, Shown};
use crate::verdict::{Failed, Verdict};

/// How far a group has come.
#[derive(Debug, Clone, Copy)]
pub enum GroupProgress {
    /// An image was read and seen, or could not be.
    Seen,
    /// All were; so many can be compared, at this cost.
    Comparing(usize, GroupCost),
    /// So many comparisons are done, of all.
    Compared(u64, u64),
}

/// Images that were scored against each other; [`Inspector::group_verdicts`] tells of each.
pub struct JudgedGroup {
    inputs: Arc<Vec<Input>>,
    /// Of every input its place in the group, or why it has none.
    places: Vec<Result<usize, Error>>,
    sizes: Vec<(u32, u32)>,
    scores: GroupScores,
}

impl JudgedGroup {
    /// Width and height of the images that could be read.
    pub fn sizes(&self) -> &[(u32, u32)] {
        &self.sizes
    }

    /// Pairs of images that were taken for one.
    pub fn duplicates(&self) -> impl Iterator<Item = [&Path; 2]> {
        self.scores.duplicates().iter().map(|pair| pair.map(|image| self.path(image)))
    }

    /// Images that differ so much from the others that they seem to show something else.
    pub fn odd(&self) -> impl Iterator<Item = &Path> {
        self.scores.odd().iter().map(|image| self.path(*image))
    }

    fn path(&self, image: usize) -> &Path {
        let at = self.places.iter().position(|place| matches!(place, Ok(p) if *p == image));
        &self.inputs[at.expect("every image of the group has a place")].path
    }
}

impl Inspector {
    /// Scores images against each other; those that fail are no part of the group. `progress` is
    /// told how far it has come; there is no answer if it breaks off.
    ///
    /// # Errors
    /// If the method scores every image by itself, something is to be ignored, there are too few images, or what memory does
    /// not hold cannot be kept in a file.
    pub fn inspect_group(
        &self,
        images: impl IntoIterator<Item = impl Into<Input>>,
        mut progress: impl FnMut(GroupProgress) -> ControlFlow<()>,
    ) -> Result<Option<JudgedGroup>, Error> {
        if self.scope().is_some() {
            let reason = "a group is compared as a whole: nothing of it can be ignored";
            return Err(Error::Settings(reason.into()));
        }
        let mut group = self.detector().group(GroupLimits::default())?;
        let inputs: Arc<Vec<Input>> = Arc::new(images.into_iter().map(Into::into).collect());
        let (mut places, mut sizes) = (Vec::with_capacity(inputs.len()), Vec::new());
        let mut read = self.reading(&inputs);
        loop {
            let batch: Vec<Read> = read.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let (mut found, mut pixels) = (Vec::new(), Vec::new());
            for read in batch {
                found.push(read.found.map(|Seen { image, input, .. }| {
                    sizes.push(image.dimensions());
                    pixels.push(input);
                }));
            }
            let mut next = group.len();
            let mut added = self.detector().add_to_group(&mut group, &pixels).into_iter();
            for found in found {
                places.push(found.and_then(|()| {
                    added.next().expect("an answer an image")?;
                    next += 1;
                    Ok(next - 1)
                }));
                if progress(GroupProgress::Seen).is_break() {
                    return Ok(None);
                }
            }
        }
        if progress(GroupProgress::Comparing(group.len(), group.cost())).is_break() {
            return Ok(None);
        }
        let compared = |done, all| progress(GroupProgress::Compared(done, all));
        let scores = self.detector().score_group(group, compared)?;
        Ok(scores.map(|scores| JudgedGroup { inputs, places, sizes, scores }))
    }

    /// The verdicts of a group, one result an input, in their order; images are read once more.
    /// Thresholds that were shipped do not hold.
    pub fn group_verdicts(
        &self,
        group: JudgedGroup,
    ) -> impl Iterator<Item = Result<Verdict, Failed>> + use<'_> {
        let JudgedGroup { inputs, places, scores, .. } = group;
        let judge = self.group_judge();
        let each = self.reading(&inputs).zip(places);
        each.map(move |(Read { path, found }, place)| {
            let verdict = found.and_then(|Seen { image, input, out, zones }| {
                let prediction = self.detector().group_prediction(&scores, place?);
                let shown = Shown { image, out, zones };
                self.verdict(&judge, path.clone(), shown, &input, prediction)
            });
            verdict.map_err(|error| Failed { path, error })
        })
    }
}
