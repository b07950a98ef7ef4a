//! Which images of a group are compared, and what that costs.

use crate::settings::group::GroupConfig;

/// What a group takes to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCost {
    /// Other images that each image is compared with.
    pub others: usize,
    /// Pairs of images that are compared, a product each for every stage and neighbourhood.
    pub pairs: u64,
    /// Multiplications of all products.
    pub multiplications: u64,
    /// Bytes of the tokens.
    pub token_bytes: u64,
    /// Bytes of the distances of one stage and neighbourhood.
    pub distance_bytes: u64,
}

impl GroupCost {
    /// The cost for so many images of `grid` x `grid` tokens with so many `channels`, those of all stages together, of
    /// `bytes` a number.
    pub fn of(
        images: usize,
        grid: usize,
        channels: usize,
        bytes: usize,
        config: &GroupConfig,
    ) -> Self {
        let others = config.others(images);
        let [n, o, tokens, channels, sides] =
            [images, others, grid * grid, channels, config.neighbourhoods.len()].map(|x| x as u64);
        let pairs = pairs(n, o);
        Self {
            others,
            pairs,
            multiplications: pairs * sides * tokens * tokens * channels,
            token_bytes: n * tokens * channels * bytes as u64,
            distance_bytes: n * n.min(o + 1) * tokens * 4,
        }
    }
}

/// Pairs of `n` images, each compared with `others`: those of the references among themselves are
/// of use to both.
fn pairs(n: u64, others: u64) -> u64 {
    let members = n.min(others + 1);
    members * members.saturating_sub(1) / 2 + (n - members) * others
}

/// Which images are compared.
pub(super) struct Plan {
    /// The images that others are compared with.
    candidates: Vec<usize>,
    /// Where an image is among them.
    place: Vec<Option<usize>>,
    /// How many of them, from the first on but for itself, count for an image.
    others: usize,
}

impl Plan {
    /// All images, or one more than each is compared with: those whose hashes are the lowest.
    pub(super) fn new(identities: &[[u8; 32]], config: &GroupConfig) -> Self {
        let images = identities.len();
        let others = config.others(images);
        let mut candidates: Vec<usize> = (0..images).collect();
        if others + 1 < images {
            candidates.sort_by_key(|image| identities[*image]);
            candidates.truncate(others + 1);
        }
        let mut place = vec![None; images];
        candidates.iter().enumerate().for_each(|(at, image)| place[*image] = Some(at));
        Self { candidates, place, others }
    }

    pub(super) fn images(&self) -> usize {
        self.place.len()
    }

    /// The images that others are compared with.
    pub(super) fn candidates(&self) -> &[usize] {
        &self.candidates
    }

    /// Where an image is among the candidates.
    pub(super) fn place(&self, image: usize) -> Option<usize> {
        self.place[image]
    }

    /// Places of the candidates that an image is compared with.
    fn against(&self, image: usize) -> impl Iterator<Item = usize> + '_ {
        let others = (0..self.candidates.len()).filter(move |at| self.candidates[*at] != image);
        others.take(self.others)
    }

    /// Whether an image is compared with the candidate at a place, and not that one with it, which
    /// is the same.
    pub(super) fn compares(&self, image: usize, at: usize) -> bool {
        match self.place[image] {
            Some(own) => own < at,
            // One candidate more than others are counted: it is for the candidates themselves.
            None => at < self.others,
        }
    }

    /// Pairs that are compared.
    pub(super) fn comparisons(&self) -> u64 {
        pairs(self.images() as u64, self.others as u64)
    }

    /// Of every image the places of the candidates that count: none whose distance is below
    /// `nearest`, unless that are all.
    ///
    /// # Shapes
    /// - between: `[images, candidates]`
    pub(super) fn counted(&self, between: &[f64], nearest: f64) -> Vec<Vec<usize>> {
        let counted = |image: usize| {
            let all: Vec<usize> = self.against(image).collect();
            let distance = |at: usize| between[image * self.candidates.len() + at];
            let others: Vec<usize> =
                all.iter().copied().filter(|at| distance(*at) >= nearest).collect();
            if others.is_empty() { all } else { others }
        };
        (0..self.images()).map(counted).collect()
    }

    /// The pairs that do not count.
    pub(super) fn duplicates(&self, counted: &[Vec<usize>]) -> Vec<[usize; 2]> {
        let mut pairs = Vec::new();
        for (image, counted) in counted.iter().enumerate() {
            let left_out = self.against(image).filter(|at| !counted.contains(at));
            pairs.extend(left_out.map(|at| {
                let other = self.candidates[at];
                [image.min(other), image.max(other)]
            }));
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Images whose median distance from those that count is more than `factor` times the median
    /// of all images'.
    pub(super) fn odd(&self, between: &[f64], counted: &[Vec<usize>], factor: f64) -> Vec<usize> {
        let typical = |(image, counted): (usize, &Vec<usize>)| {
            let row = &between[image * self.candidates.len()..];
            median(counted.iter().map(|at| row[*at]).collect())
        };
        let typical: Vec<f64> = counted.iter().enumerate().map(typical).collect();
        let limit = factor * median(typical.clone());
        (0..self.images()).filter(|image| typical[*image] > limit).collect()
    }
}

/// The middle value, of an even number the lower one of both; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities(images: usize) -> Vec<[u8; 32]> {
        (0..images).map(|i| [(i * 37 % 101) as u8; 32]).collect()
    }

    #[test]
    fn every_image_is_compared_with_as_many_others() {
        for references in [Some(0), Some(1), Some(4), Some(8), Some(30)] {
            let config = GroupConfig { references, ..GroupConfig::default() };
            let plan = Plan::new(&identities(9), &config);
            let width = plan.candidates().len();
            let mut found = [[false; 9]; 9];
            let mut pairs = 0;
            for image in 0..9 {
                for at in (0..width).filter(|at| plan.compares(image, *at)) {
                    pairs += 1;
                    found[image][at] = true;
                    if let Some(own) = plan.place(image) {
                        found[plan.candidates()[at]][own] = true;
                    }
                }
            }
            assert_eq!(pairs, plan.comparisons(), "{references:?}");
            for (image, found) in found.iter().enumerate() {
                let against: Vec<usize> = plan.against(image).collect();
                assert_eq!(against.len(), config.others(9));
                assert!(against.iter().all(|at| found[*at]), "{references:?}: {image}");
            }
            let cost = GroupCost::of(9, 5, 12, 2, &config);
            assert_eq!((cost.pairs, cost.token_bytes), (pairs, 9 * 2 * 25 * 6 * 2));
            assert_eq!(cost.multiplications, pairs * 6 * 625 * 6);
        }
    }

    #[test]
    fn copies_do_not_count_unless_there_is_nothing_else() {
        let config = GroupConfig::default();
        let plan = Plan::new(&identities(5), &config);
        let mut between = vec![1.0; 25];
        for [a, b] in [[0, 3], [3, 0], [1, 0], [1, 2], [1, 3], [1, 4]] {
            between[a * 5 + b] = 0.01;
        }
        let counted = plan.counted(&between, 0.02);
        assert_eq!(counted[0], [1, 2, 4]);
        assert_eq!(counted[1], [0, 2, 3, 4]);
        assert_eq!(plan.duplicates(&counted), [[0, 3]]);
        assert!(plan.duplicates(&plan.counted(&between, 0.0)).is_empty());
        (0..5).for_each(|other| between[2 * 5 + other] = 1.6);
        assert_eq!(plan.odd(&between, &counted, 1.5), [2]);
    }

    #[test]
    fn many_images_have_references_unless_all_are_asked_for() {
        let others = |references, images| {
            GroupConfig { references, ..GroupConfig::default() }.others(images)
        };
        assert_eq!([others(None, 200), others(None, 201), others(Some(0), 500)], [199, 32, 499]);
        assert_eq!([others(Some(40), 10), others(Some(40), 100)], [9, 40]);
    }
}
