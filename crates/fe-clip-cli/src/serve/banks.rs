//! What is remembered of normal images, kept for clients that come again.

use std::fmt::{Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fe_clip::Memory;
use sha2::{Digest, Sha256};

use super::limits::KEPT_NORMALS;

/// The name of a set of normal images: a hash of their files, whatever their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BankId([u8; 16]);

impl BankId {
    /// The name of the set of files.
    pub(super) fn of(files: &[&[u8]]) -> Self {
        let mut digests: Vec<[u8; 32]> =
            files.iter().map(|file| Sha256::digest(file).into()).collect();
        digests.sort_unstable();
        let whole: [u8; 32] = Sha256::digest(digests.as_flattened()).into();
        Self(std::array::from_fn(|i| whole[i]))
    }

    /// Reads what [`Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|n| Self(n.to_be_bytes()))
    }
}

impl Display for BankId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Memories of normal images; the model's thread takes one out to use it and puts it back.
#[derive(Default)]
pub(super) struct Banks(Mutex<Vec<Kept>>);

struct Kept {
    id: BankId,
    /// How many images it was made of.
    images: usize,
    /// Empty while it is in use.
    memory: Memory,
}

impl Banks {
    /// The number of images of a memory, if it is kept.
    pub(super) fn images(&self, id: BankId) -> Option<usize> {
        self.kept().iter().find(|k| k.id == id).map(|k| k.images)
    }

    /// Takes a memory out; it stays known, and becomes the one used last.
    pub(super) fn take(&self, id: BankId) -> Option<Memory> {
        let mut all = self.kept();
        let at = all.iter().position(|k| k.id == id)?;
        let mut kept = all.remove(at);
        let memory = std::mem::take(&mut kept.memory);
        all.push(kept);
        Some(memory)
    }

    /// Forgets a memory.
    pub(super) fn forget(&self, id: BankId) {
        self.kept().retain(|k| k.id != id);
    }

    /// Keeps a memory, new or taken out before, and forgets those not used for longest while all
    /// are made of more than [`KEPT_NORMALS`] images.
    pub(super) fn keep(&self, id: BankId, images: usize, memory: Memory) {
        let mut all = self.kept();
        all.retain(|k| k.id != id);
        all.push(Kept { id, images, memory });
        while all.len() > 1 && all.iter().map(|k| k.images).sum::<usize>() > KEPT_NORMALS {
            all.remove(0);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_know_the_files_but_not_their_order() {
        let id = BankId::of(&[b"one", b"two"]);
        assert_eq!(id, BankId::of(&[b"two", b"one"]));
        assert_ne!(id, BankId::of(&[b"one"]));
        assert_ne!(id, BankId::of(&[b"one", b"two", b"two"]));
        assert_eq!(BankId::parse(&id.to_string()), Some(id));
        assert_eq!(BankId::parse("+0000000000000000000000000000000"), None);
    }

    #[test]
    fn the_banks_not_used_for_longest_go_first() {
        let banks = Banks::default();
        let id = |n: u8| BankId::of(&[&[n]]);
        let keep = |n: u8| banks.keep(id(n), KEPT_NORMALS / 4, Memory::default());
        (0..4).for_each(keep);
        assert!(banks.take(id(0)).is_some());
        keep(4);
        assert!(banks.images(id(1)).is_none());
        assert!([0, 2, 3, 4].into_iter().all(|n| banks.images(id(n)).is_some()));
    }
}
