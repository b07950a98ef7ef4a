use super::{Cursor, Key, Rank};

/// A multiset as it lies in a file: distinct keys from the largest down, coded by their distances.
///
/// An entry is the distance to the key before, at least 1, at first from the largest integer, and how often the key
/// occurs.
/// The lowest bit of its first byte says that the key occurs more than once, six bits begin the distance, and the highest
/// says that more of it follows.
/// The rest of the distance and the count less 2, where there is one, are LEB128 numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored<K> {
    bytes: Vec<u8>,
    total: u64,
    /// The least and the greatest key.
    range: Option<(K, K)>,
}

impl<K: Key> Stored<K> {
    /// Codes a multiset that `descend` visits from the largest key down.
    pub(crate) fn encode(descend: impl FnOnce(&mut dyn FnMut(K, u64))) -> Self {
        let (mut bytes, mut total, mut range) = (Vec::new(), 0, None);
        descend(&mut |key, count| {
            let last = range.map_or(K::MAX, |(least, _)| least);
            let distance = last.to_u64() - key.to_u64();
            let first = u8::from(count > 1) | ((distance & 0x3f) << 1) as u8;
            if distance < 1 << 6 {
                bytes.push(first);
            } else {
                bytes.push(first | 1 << 7);
                push_leb(&mut bytes, distance >> 6);
            }
            if count > 1 {
                push_leb(&mut bytes, count - 2);
            }
            total += count;
            range = Some((key, range.map_or(key, |(_, greatest)| greatest)));
        });
        Self { bytes, total, range }
    }

    /// Takes over a coded multiset, or none if the code is wrong or has more than `most` keys.
    pub(crate) fn decode(bytes: Vec<u8>, most: u64) -> Option<Self> {
        let (mut position, mut total, mut range) = (0, 0u64, None);
        while position < bytes.len() {
            let last = range.map_or(K::MAX, |(least, _)| least);
            let (key, count) = entry(&bytes, &mut position, last)?;
            total = total.checked_add(count).filter(|&total| total <= most)?;
            range = Some((key, range.map_or(key, |(_, greatest)| greatest)));
        }
        Some(Self { bytes, total, range })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn range(&self) -> Option<(K, K)> {
        self.range
    }

    pub(crate) fn cursor(&self) -> Entries<'_, K> {
        Entries { bytes: &self.bytes, position: 0, last: K::MAX }
    }

    pub(crate) fn into_cursor(self) -> StoredCursor<K> {
        let mut cursor =
            StoredCursor { bytes: self.bytes, position: 0, above: 0, next: (K::MAX, 0) };
        cursor.advance();
        cursor
    }
}

/// The entries of a coded multiset that has been checked.
pub(crate) struct Entries<'a, K> {
    bytes: &'a [u8],
    position: usize,
    last: K,
}

impl<K: Key> Iterator for Entries<'_, K> {
    type Item = (K, u64);

    fn next(&mut self) -> Option<(K, u64)> {
        let (key, count) = entry(self.bytes, &mut self.position, self.last)?;
        self.last = key;
        Some((key, count))
    }
}

/// Walks down a coded multiset.
pub(crate) struct StoredCursor<K> {
    bytes: Vec<u8>,
    position: usize,
    /// Keys before `next`.
    above: u64,
    /// The entry that has been read last, with a count of 0 past the end.
    next: (K, u64),
}

impl<K: Key> StoredCursor<K> {
    fn advance(&mut self) {
        let (last, passed) = self.next;
        self.above += passed;
        self.next = entry(&self.bytes, &mut self.position, last).unwrap_or((last, 0));
    }
}

impl<K: Key> Cursor<K> for StoredCursor<K> {
    fn seek(&mut self, key: K) -> Rank {
        while self.next.1 > 0 && self.next.0 > key {
            self.advance();
        }
        let equal = if self.next.0 == key { self.next.1 } else { 0 };
        Rank { above: self.above, equal }
    }

    fn bound(&self, _: K) -> Option<K> {
        (self.next.1 > 0).then_some(self.next.0)
    }
}

/// Reads the entry at `position`, whose key lies below `last`.
fn entry<K: Key>(bytes: &[u8], position: &mut usize, last: K) -> Option<(K, u64)> {
    let first = *bytes.get(*position)?;
    *position += 1;
    let mut distance = u64::from(first >> 1 & 0x3f);
    if first >> 7 == 1 {
        let rest = leb(bytes, position)?;
        distance |= rest.checked_mul(1 << 6)?;
    }
    let count = if first & 1 == 1 { leb(bytes, position)?.checked_add(2)? } else { 1 };
    let key = last.to_u64().checked_sub(distance).filter(|_| distance > 0)?;
    Some((K::from_u64(key)?, count))
}

/// Appends a number in groups of seven bits, the lowest first.
pub(crate) fn push_leb(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << 7 {
        bytes.push(number as u8 | 1 << 7);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what [`push_leb`] wrote; none where it ends early, is longer than need be or exceeds 64 bits.
pub(crate) fn leb(bytes: &[u8], position: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*position)?;
        *position += 1;
        let group = u64::from(byte & 0x7f);
        number |= group << shift;
        if group << shift >> shift != group {
            return None;
        }
        if byte >> 7 == 0 {
            return (group > 0 || shift == 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Stored, leb, push_leb};
    use crate::counts::{Cursor, Rank};

    #[test]
    fn numbers_round_trip_and_have_one_form() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            push_leb(&mut bytes, number);
            assert_eq!(leb(&bytes, &mut 0), Some(number));
            assert_eq!(leb(&bytes[..bytes.len() - 1], &mut 0), None);
        }
        for bytes in [&[0x80, 0][..], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(leb(bytes, &mut 0), None);
        }
    }

    #[test]
    fn multisets_round_trip() {
        let lists: [&[(u64, u64)]; 4] = [
            &[],
            &[(0, 1)],
            &[(u64::MAX - 1, u64::MAX >> 1), (1 << 63, 2), ((1 << 63) - 1, 1), (0, 129)],
            &[(1000, 1), (1000 - 63, 3), (1000 - 63 - 64, 1), (5, 2), (4, 1)],
        ];
        for list in lists {
            let stored = Stored::<u64>::encode(|visit| {
                list.iter().for_each(|&(key, count)| visit(key, count));
            });
            assert_eq!(stored.cursor().collect::<Vec<_>>(), list);
            assert_eq!(Stored::decode(stored.bytes.clone(), u64::MAX), Some(stored.clone()));
            let total = stored.total();
            if total > 0 {
                assert_eq!(Stored::<u64>::decode(stored.bytes.clone(), total - 1), None);
                let ends = (list[list.len() - 1].0, list[0].0);
                assert_eq!(stored.range(), Some(ends));
            }
            let mut cursor = stored.into_cursor();
            for key in [u64::MAX, 1 << 63, 1000, 937, 900, 4, 0] {
                let above = list.iter().filter(|entry| entry.0 > key).map(|entry| entry.1).sum();
                let equal = list.iter().filter(|entry| entry.0 == key).map(|entry| entry.1).sum();
                assert_eq!(cursor.seek(key), Rank { above, equal });
            }
        }
    }

    #[test]
    fn wrong_codes_are_refused() {
        let refused: [&[u8]; 5] = [
            &[0],                                  // a distance of 0: a key above all scores
            &[2, 0],                               // the same key again
            &[2 | 1],                              // no count
            &[2 | 1 << 7, 0xff, 0xff, 0xff, 0x7f], // beyond 32 bits
            &[0xfe, 0x80, 0],                      // not the shortest form
        ];
        for bytes in refused {
            assert_eq!(Stored::<u32>::decode(bytes.to_vec(), u64::MAX), None, "{bytes:?}");
        }
    }
}
