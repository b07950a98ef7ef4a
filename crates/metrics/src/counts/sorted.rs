use std::sync::Mutex;

use super::{Counts, Cursor, Rank, lock, sort_descending, unlock};

/// Keys in a list that is sorted once, at the end.
pub struct Sorted<K>(Mutex<Vec<K>>);

impl<K> Default for Sorted<K> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<K: Copy + Ord + Send + Sync> Counts<K> for Sorted<K> {
    type Buffer = ();
    type Cursor = SortedCursor<K>;

    fn extend(&self, _: &mut (), keys: impl ExactSizeIterator<Item = K>) {
        lock(&self.0).extend(keys);
    }

    fn flush(&self, _: &mut ()) {}

    fn merge(&mut self, other: Self) {
        lock(&self.0).extend(unlock(other.0));
    }

    fn total(&self) -> u64 {
        lock(&self.0).len() as u64
    }

    fn descend(&mut self, visit: &mut dyn FnMut(K, u64)) {
        let mut keys = lock(&self.0);
        sort_descending(&mut keys, |&key| key);
        for equal in keys.chunk_by(|left, right| left == right) {
            visit(equal[0], equal.len() as u64);
        }
    }

    fn into_cursor(self) -> SortedCursor<K> {
        SortedCursor::new(unlock(self.0))
    }
}

/// Walks down a list of keys.
pub struct SortedCursor<K> {
    descending: Vec<K>,
    above: usize,
}

impl<K: Copy + Ord + Send> SortedCursor<K> {
    pub(super) fn new(mut keys: Vec<K>) -> Self {
        sort_descending(&mut keys, |&key| key);
        Self { descending: keys, above: 0 }
    }
}

impl<K: Copy + Ord> Cursor<K> for SortedCursor<K> {
    fn seek(&mut self, key: K) -> Rank {
        let rest = &self.descending[self.above..];
        self.above += rest.iter().take_while(|&&other| other > key).count();
        let rest = &self.descending[self.above..];
        let equal = rest.iter().take_while(|&&other| other == key).count();
        Rank { above: self.above as u64, equal: equal as u64 }
    }

    fn bound(&self, _: K) -> Option<K> {
        self.descending.get(self.above).copied()
    }
}
