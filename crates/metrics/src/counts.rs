//! Multisets of scores that answer how many scores lie above a key and how many equal it.

mod paged;
mod sorted;
mod stored;

use std::cmp::Reverse;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paged::Paged;
use rayon::slice::ParallelSliceMut;
use sorted::Sorted;

pub(crate) use stored::{Stored, leb, push_leb};

/// An order-preserving integer image of a score, with the multiset that suits its width.
pub trait Key: Copy + Ord + Send + Sync + 'static {
    type Counts: Counts<Self>;

    /// Larger than the key of any score.
    const MAX: Self;
    const BYTES: usize;

    /// The key after this one, which must not be the last.
    fn next(self) -> Self;
    fn to_u64(self) -> u64;
    fn from_u64(key: u64) -> Option<Self>;
}

impl Key for u32 {
    type Counts = Paged;

    const MAX: Self = u32::MAX;
    const BYTES: usize = u32::BITS as usize / 8;

    fn next(self) -> Self {
        self + 1
    }

    fn to_u64(self) -> u64 {
        u64::from(self)
    }

    fn from_u64(key: u64) -> Option<Self> {
        key.try_into().ok()
    }
}

impl Key for u64 {
    type Counts = Sorted<u64>;

    const MAX: Self = u64::MAX;
    const BYTES: usize = u64::BITS as usize / 8;

    fn next(self) -> Self {
        self + 1
    }

    fn to_u64(self) -> u64 {
        self
    }

    fn from_u64(key: u64) -> Option<Self> {
        Some(key)
    }
}

/// A multiset of keys that several threads fill, each through a buffer of its own.
pub trait Counts<K>: Default + Send + Sync {
    type Buffer: Default + Send;
    type Cursor: Cursor<K>;

    /// Adds keys; they are counted once the buffer has been flushed.
    fn extend(&self, buffer: &mut Self::Buffer, keys: impl ExactSizeIterator<Item = K>);
    fn flush(&self, buffer: &mut Self::Buffer);
    fn merge(&mut self, other: Self);
    /// Number of keys flushed so far.
    fn total(&self) -> u64;
    /// Visits the distinct keys from the largest down, each with how often it occurs.
    fn descend(&mut self, visit: &mut dyn FnMut(K, u64));
    fn into_cursor(self) -> Self::Cursor;
}

/// Walks a multiset from its largest key downwards.
pub trait Cursor<K> {
    /// Counts the keys above and equal to `key`, which must be below all keys asked for before.
    fn seek(&mut self, key: K) -> Rank;

    /// An upper bound on the keys that are left after [`seek`](Self::seek) of `key`, which does not occur; `None` if none
    /// is left.
    fn bound(&self, key: K) -> Option<K>;
}

/// A multiset with the buffers of the threads that fill it, and others from files.
pub(crate) struct Shared<K: Key> {
    counts: K::Counts,
    idle: Mutex<Vec<Buffer<K>>>,
    stored: Vec<Stored<K>>,
}

type Buffer<K> = <<K as Key>::Counts as Counts<K>>::Buffer;

impl<K: Key> Default for Shared<K> {
    fn default() -> Self {
        Self { counts: K::Counts::default(), idle: Mutex::default(), stored: Vec::new() }
    }
}

impl<K: Key> Shared<K> {
    /// Lends a buffer to `fill`, which passes keys to the function it is given.
    pub(crate) fn fill<R>(&self, fill: impl FnOnce(&mut Filler<'_, K>) -> R) -> R {
        let buffer = lock(&self.idle).pop().unwrap_or_default();
        let mut filler = Filler { counts: &self.counts, buffer };
        let result = fill(&mut filler);
        lock(&self.idle).push(filler.buffer);
        result
    }

    /// The multiset without buffers.
    pub(crate) fn into_tally(mut self) -> Tally<K> {
        self.flush();
        Tally { counts: self.counts, stored: self.stored }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let mut other = other.into_tally();
        self.counts.merge(other.counts);
        self.stored.append(&mut other.stored);
    }

    pub(crate) fn from_stored(stored: Stored<K>) -> Self {
        Self { stored: vec![stored], ..Self::default() }
    }

    /// Everything in the form for files.
    pub(crate) fn gather(&mut self) -> Stored<K> {
        self.flush();
        let mut others: Vec<_> =
            self.stored.iter().map(|other| other.cursor().peekable()).collect();
        Stored::encode(|visit| {
            // Visits the keys of the others above a key, and counts that key itself in them.
            let mut down_to = |key: Option<K>, visit: &mut dyn FnMut(K, u64)| loop {
                let next = others.iter_mut().filter_map(|other| Some(other.peek()?.0)).max();
                let Some(next) = next.filter(|&next| key.is_none_or(|key| next >= key)) else {
                    return 0;
                };
                let equal =
                    others.iter_mut().filter_map(|other| other.next_if(|entry| entry.0 == next));
                let count = equal.map(|(_, count)| count).sum();
                if Some(next) == key {
                    return count;
                }
                visit(next, count);
            };
            self.counts.descend(&mut |key, count| {
                let others = down_to(Some(key), visit);
                visit(key, count + others);
            });
            down_to(None, visit);
        })
    }

    fn flush(&mut self) {
        for mut buffer in std::mem::take(&mut *lock(&self.idle)) {
            self.counts.flush(&mut buffer);
        }
    }
}

/// A multiset in several parts, queried from the largest key down.
pub(crate) struct Tally<K: Key> {
    counts: K::Counts,
    stored: Vec<Stored<K>>,
}

impl<K: Key> Tally<K> {
    pub(crate) fn total(&self) -> u64 {
        self.counts.total() + self.stored.iter().map(Stored::total).sum::<u64>()
    }

    pub(crate) fn into_cursor(self) -> impl Cursor<K> {
        let stored = self.stored.into_iter().map(Stored::into_cursor).collect();
        TallyCursor { counts: self.counts.into_cursor(), stored }
    }
}

struct TallyCursor<K: Key> {
    counts: <K::Counts as Counts<K>>::Cursor,
    stored: Vec<stored::StoredCursor<K>>,
}

impl<K: Key> Cursor<K> for TallyCursor<K> {
    fn seek(&mut self, key: K) -> Rank {
        let mut rank = self.counts.seek(key);
        for stored in &mut self.stored {
            let other = stored.seek(key);
            rank.above += other.above;
            rank.equal += other.equal;
        }
        rank
    }

    fn bound(&self, key: K) -> Option<K> {
        let stored = self.stored.iter().filter_map(|stored| stored.bound(key));
        stored.max().max(self.counts.bound(key))
    }
}

/// One thread's buffer for filling a multiset.
pub(crate) struct Filler<'a, K: Key> {
    counts: &'a K::Counts,
    buffer: Buffer<K>,
}

impl<K: Key> Filler<'_, K> {
    pub(crate) fn extend(&mut self, keys: impl ExactSizeIterator<Item = K>) {
        self.counts.extend(&mut self.buffer, keys);
    }
}

/// Position of a key in a multiset.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    pub above: u64,
    pub equal: u64,
}

/// Sorts by a key, largest first; equal ones in any order.
pub(crate) fn sort_descending<T: Send, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K + Sync) {
    /// Shorter lists are sorted before other threads would wake up.
    const SHORT: usize = 1 << 14;
    if list.len() < SHORT {
        list.sort_unstable_by_key(|item| Reverse(key(item)));
    } else {
        list.par_sort_unstable_by_key(|item| Reverse(key(item)));
    }
}

/// Locks a counter; integer additions leave it valid even where another thread has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unlock<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Counts, Cursor, Key, Rank};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Compares all ranks in a multiset, filled in pieces and merged, with plain counting.
    fn check<K: Key + std::fmt::Debug>(keys: &[K], queries: &mut Vec<K>) {
        let mut counts = K::Counts::default();
        for part in keys.chunks(keys.len() / 3 + 1) {
            let other = K::Counts::default();
            let mut buffer = Default::default();
            for piece in part.chunks(1000) {
                other.extend(&mut buffer, piece.iter().copied());
            }
            other.flush(&mut buffer);
            counts.merge(other);
        }
        assert_eq!(counts.total(), keys.len() as u64);

        queries.sort_unstable_by(|a, b| b.cmp(a));
        queries.dedup();
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let mut cursor = counts.into_cursor();
        for &query in queries.iter() {
            let not_above = sorted.partition_point(|&key| key <= query);
            let below = sorted.partition_point(|&key| key < query);
            let expected = Rank {
                above: (sorted.len() - not_above) as u64,
                equal: (not_above - below) as u64,
            };
            assert_eq!(cursor.seek(query), expected, "{query:?}");
            if expected.equal == 0 {
                let next = sorted[..below].last().copied();
                let bound = cursor.bound(query);
                assert!(bound >= next && bound <= Some(query), "{bound:?} of {query:?}");
            }
        }
    }

    #[test]
    fn ranks_equal_counting() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Few distinct values, one page, many pages, everything; from nothing to several carries.
        for spread in [1u32, 7, 1 << 16, 1 << 22, u32::MAX] {
            for size in [0, 1, 100, 5_000, 200_000] {
                let mut draw = || rng.random_range(0..spread).wrapping_add(0x3f00_0000);
                let keys: Vec<u32> = (0..size).map(|_| draw()).collect();
                let mut queries: Vec<u32> = (0..300).map(|_| draw()).collect();
                queries.extend(keys.iter().step_by(17));
                queries.extend([0, u32::MAX]);
                check(&keys, &mut queries);
                let wide: Vec<u64> = keys.iter().map(|&key| u64::from(key) << 20).collect();
                let mut queries = queries.iter().map(|&key| u64::from(key) << 20).collect();
                check(&wide, &mut queries);
            }
        }
    }

    #[test]
    fn one_key_overflows_every_level() {
        let counts = <u32 as Key>::Counts::default();
        let mut buffer = Default::default();
        let times = 256 * 256 * 300 + 77;
        counts.extend(&mut buffer, std::iter::repeat_n(12345u32, times));
        counts.flush(&mut buffer);
        let mut cursor = counts.into_cursor();
        assert_eq!(cursor.seek(12345), Rank { above: 0, equal: times as u64 });
        assert_eq!(cursor.seek(12344), Rank { above: times as u64, equal: 0 });
    }
}
