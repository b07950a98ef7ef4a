//! From the images of a group to predictions.

use std::ops::ControlFlow;

use ndarray::Array3;

use crate::Error;
use crate::detect::Detector;
use crate::group::{Group, GroupCost, GroupLimits, GroupMaps, GroupTokens};
use crate::scorer::{Alone, GroupScorer, Prediction};

/// A group while its images come in; [`Detector::group`] makes it.
pub struct GroupImages {
    group: Group,
    alone: Vec<Alone>,
}

impl GroupImages {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.group.len()
    }

    /// Whether there is no image yet.
    pub fn is_empty(&self) -> bool {
        self.group.is_empty()
    }

    /// What it takes to score them.
    pub fn cost(&self) -> GroupCost {
        self.group.cost()
    }
}

/// What the images of a group were found to be, in the order in which they were added;
/// [`Detector::group_prediction`] tells of each.
pub struct GroupScores {
    alone: Vec<Alone>,
    maps: GroupMaps,
    scores: Vec<f32>,
}

impl GroupScores {
    /// Pairs of images that were taken for one.
    pub fn duplicates(&self) -> &[[usize; 2]] {
        &self.maps.duplicates
    }

    /// Images that differ so much from the others that they seem to show something else.
    pub fn odd(&self) -> &[usize] {
        &self.maps.odd
    }
}

impl Detector {
    /// Whether the method suits images that are scored against each other, or each by itself.
    ///
    /// # Errors
    /// If it can only do the other.
    pub fn check_group(&self, grouped: bool) -> Result<(), Error> {
        let reason = match grouped {
            true if self.scorer().group().is_none() => "scores every image by itself",
            true if self.tiling().is_some() => "compares a group without model.tile",
            false if self.scorer().needs_group() => {
                "scores the images of a group against each other, and none by itself"
            }
            _ => return Ok(()),
        };
        Err(Error::Settings(format!("method {} {reason}", self.method_name())))
    }

    /// A group without images.
    ///
    /// # Errors
    /// If the method scores every image by itself.
    pub fn group(&self, limits: GroupLimits) -> Result<GroupImages, Error> {
        self.check_group(true)?;
        let group = Group::new(self.group_scorer().config(), limits);
        Ok(GroupImages { group, alone: Vec::new() })
    }

    /// Adds preprocessed images, `[3, size, size]` each, to a group; one with an error is not in it.
    ///
    /// # Errors
    /// Of an image if the model's numbers for it are not finite, or what memory does not hold
    /// cannot be written.
    ///
    /// # Panics
    /// If an image has another size, or the group is another detector's.
    pub fn add_to_group(
        &self,
        group: &mut GroupImages,
        images: &[Array3<f32>],
    ) -> Vec<Result<(), Error>> {
        if images.is_empty() {
            return Vec::new();
        }
        let add = |(alone, tokens): (Alone, GroupTokens)| {
            let Alone { score, map } = alone;
            let said = Prediction { score, map };
            said.require_finite()?;
            group.group.add(&tokens)?;
            group.alone.push(Alone { score, map: said.map });
            Ok(())
        };
        self.group_scorer().observe(images).into_iter().map(add).collect()
    }

    /// Scores the images of a group against each other. `progress` is given the comparisons done
    /// and all that there are; there is no answer if it breaks off.
    ///
    /// # Errors
    /// If there are too few images, or a file cannot be read or written.
    pub fn score_group(
        &self,
        images: GroupImages,
        progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<GroupScores>, Error> {
        let GroupImages { group, alone } = images;
        let Some(maps) = group.score(progress)? else { return Ok(None) };
        let scorer = self.group_scorer();
        let scores: Vec<f32> = maps.maps.iter().map(|map| scorer.score(map.view())).collect();
        let scores = scorer.rescored(&maps, &scores);
        Ok(Some(GroupScores { alone, maps, scores }))
    }

    /// Score and map of an image of a group.
    ///
    /// # Panics
    /// If there are fewer images, or the group is another detector's.
    pub fn group_prediction(&self, scores: &GroupScores, image: usize) -> Prediction {
        let map = scores.maps.maps[image].view();
        self.group_scorer().conclude(&scores.alone[image], map, scores.scores[image])
    }

    fn group_scorer(&self) -> &dyn GroupScorer {
        self.scorer().group().expect("group: expected a method that compares images")
    }
}
