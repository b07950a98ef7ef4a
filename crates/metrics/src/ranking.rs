use ndarray::{ArrayView1, CowArray, Dimension};
use rayon::prelude::*;

use crate::Undefined;
use crate::counts::{Cursor, Key, Shared, Tally, sort_descending};
use crate::score::{Score, range};

/// Scores split by label: normal ones counted, anomalous ones listed with a tag each.
pub(crate) struct Ranking<K: Key, T> {
    pub(crate) normal: Tally<K>,
    pub(crate) anomalous: Vec<(K, T)>,
}

/// The anomalous scores that share one value, and where that value lies among the normal scores.
pub(crate) struct Tie<'a, K, T> {
    pub(crate) key: K,
    /// Whether the key is one of the extra ones.
    pub(crate) extra: bool,
    /// Empty for a key that is merely an extra one.
    pub(crate) anomalous: &'a [(K, T)],
    /// Normal scores above the value.
    pub(crate) above: u64,
    /// Normal scores of this value.
    pub(crate) equal: u64,
}

impl<K: Key, T: Copy + Send> Ranking<K, T> {
    /// Refuses a ranking that lacks a class.
    pub(crate) fn check(self) -> Result<Self, Undefined> {
        match (self.normal.total(), self.anomalous.len()) {
            (0, 0) => Err(Undefined::Empty),
            (0, _) => Err(Undefined::OnlyAnomalous),
            (_, 0) => Err(Undefined::OnlyNormal),
            _ => Ok(self),
        }
    }

    /// Visits the distinct anomalous scores, and the `extra` keys, which ascend, from the top.
    ///
    /// Thresholds in between change neither recall nor overlap: the ROC and PRO curves are horizontal there.
    /// Of extra keys with the same counts one may stand for all.
    pub(crate) fn descend(mut self, mut extra: Vec<K>, mut visit: impl FnMut(Tie<'_, K, T>)) {
        sort_descending(&mut self.anomalous, |&(key, _)| key);
        debug_assert!(extra.is_sorted());
        let mut cursor = self.normal.into_cursor();
        let mut rest = self.anomalous.as_slice();
        while let Some(key) = rest.first().map(|&(key, _)| key).max(extra.last().copied()) {
            let asked = extra.len();
            while extra.pop_if(|&mut other| other == key).is_some() {}
            let asked = extra.len() < asked;
            let tied = rest.iter().take_while(|&&(other, _)| other == key).count();
            let (anomalous, below) = rest.split_at(tied);
            rest = below;
            let rank = cursor.seek(key);
            visit(Tie { key, extra: asked, anomalous, above: rank.above, equal: rank.equal });
            if tied == 0 && rank.equal == 0 {
                let next = rest.first().map(|&(key, _)| key).max(cursor.bound(key));
                while extra.pop_if(|&mut other| Some(other) > next).is_some() {}
            }
        }
    }
}

impl<K: Key> Ranking<K, ()> {
    /// Splits scores by their labels.
    pub(crate) fn new<S: Score<Key = K>>(
        scores: ArrayView1<'_, S>,
        labels: ArrayView1<'_, bool>,
    ) -> Result<Self, Undefined> {
        /// Scores that one task splits, and that it splits at a time.
        const PART: usize = 1 << 18;
        const BLOCK: usize = 1 << 12;

        same_shape(scores.shape(), labels.shape())?;
        let (scores, labels) = (scores.as_standard_layout(), labels.as_standard_layout());
        let normal = Shared::default();
        let (scores, labels) = (slice(&scores), slice(&labels));
        let split = |(part, (scores, labels)): (usize, (&[S], &[bool]))| {
            let nan = |at| Undefined::NotANumber { index: vec![part * PART + at] };
            range(scores).map_err(nan)?;
            Ok(normal.fill(|normal| {
                let mut anomalous = Vec::new();
                let mut keys = Vec::with_capacity(BLOCK.min(scores.len()));
                for (scores, labels) in scores.chunks(BLOCK).zip(labels.chunks(BLOCK)) {
                    keys.clear();
                    for (score, &label) in scores.iter().zip(labels) {
                        if label {
                            anomalous.push((score.key(), ()));
                        } else {
                            keys.push(score.key());
                        }
                    }
                    normal.extend(keys.iter().copied());
                }
                anomalous
            }))
        };
        let anomalous = if scores.len() <= PART {
            split((0, (scores, labels)))?
        } else {
            let parts = scores.par_chunks(PART).zip(labels.par_chunks(PART)).enumerate();
            parts.map(split).collect::<Result<Vec<_>, _>>()?.concat()
        };
        Self { normal: normal.into_tally(), anomalous }.check()
    }
}

pub(crate) fn same_shape(scores: &[usize], labels: &[usize]) -> Result<(), Undefined> {
    if scores == labels {
        Ok(())
    } else {
        Err(Undefined::ShapeMismatch { scores: scores.to_vec(), labels: labels.to_vec() })
    }
}

/// The elements of an array in standard layout.
pub(crate) fn slice<'a, T, D: Dimension>(array: &'a CowArray<'_, T, D>) -> &'a [T] {
    array.as_slice().expect("standard layout is contiguous")
}
