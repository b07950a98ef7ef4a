//! Records of one size, in memory or beyond a limit in a file without a name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Where records are kept.
pub(super) struct Store {
    place: Place,
    /// Bytes that may be in memory.
    limit: u64,
    /// Where the file lies.
    folder: PathBuf,
}

enum Place {
    Memory(Vec<u8>),
    /// Gone when it is closed.
    File {
        file: File,
        length: u64,
    },
}

impl Store {
    pub(super) fn new(limit: u64, folder: &Path) -> Self {
        Self { place: Place::Memory(Vec::new()), limit, folder: folder.to_owned() }
    }

    /// So many bytes of zeros.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(super) fn zeros(length: u64, limit: u64, folder: &Path) -> Result<Self, Error> {
        let mut store = Self::new(limit, folder);
        if length > limit {
            let file = store.create()?;
            file.set_len(length).map_err(|e| Error::io(folder, e))?;
            store.place = Place::File { file, length };
        } else {
            store.place = Place::Memory(vec![0; length as usize]);
        }
        Ok(store)
    }

    /// Whether the records are in a file.
    pub(super) fn is_spilled(&self) -> bool {
        matches!(self.place, Place::File { .. })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// If the file cannot be made or written.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Place::Memory(values) = &self.place
            && (values.len() + bytes.len()) as u64 > self.limit
        {
            let mut file = self.create()?;
            file.write_all(values).map_err(|e| Error::io(&self.folder, e))?;
            self.place = Place::File { file, length: values.len() as u64 };
        }
        match &mut self.place {
            Place::Memory(values) => {
                values.extend_from_slice(bytes);
                Ok(())
            }
            Place::File { length, .. } => {
                let at = *length;
                *length += bytes.len() as u64;
                self.write(at, bytes)
            }
        }
    }

    /// Replaces the bytes from `at` on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.place {
            Place::Memory(values) => values[at as usize..][..bytes.len()].copy_from_slice(bytes),
            Place::File { file, .. } => {
                let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
                written.map_err(|e| Error::io(&self.folder, e))?;
            }
        }
        Ok(())
    }

    /// The bytes from `at` on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(&mut self, at: u64, length: usize) -> Result<Vec<u8>, Error> {
        match &mut self.place {
            Place::Memory(values) => Ok(values[at as usize..][..length].to_vec()),
            Place::File { file, .. } => {
                let mut bytes = vec![0; length];
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
                read.map_err(|e| Error::io(&self.folder, e))?;
                Ok(bytes)
            }
        }
    }

    fn create(&self) -> Result<File, Error> {
        tempfile::tempfile_in(&self.folder).map_err(|e| Error::io(&self.folder, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_memory_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut stores = [10, 6, 0].map(|limit| Store::new(limit, folder.path()));
        for store in &mut stores {
            store.push(b"abcd").unwrap();
            store.push(b"efgh").unwrap();
            store.write(3, b"XY").unwrap();
            store.push(b"ij").unwrap();
            assert_eq!(store.read(2, 8).unwrap(), b"cXYfghij");
        }
        assert_eq!(stores.each_ref().map(Store::is_spilled), [false, true, true]);
        for limit in [4, 3] {
            let mut zeros = Store::zeros(4, limit, folder.path()).unwrap();
            zeros.write(1, b"z").unwrap();
            assert_eq!(zeros.read(0, 4).unwrap(), [0, b'z', 0, 0]);
        }
        let nowhere = Store::zeros(4, 0, &folder.path().join("missing"));
        assert!(nowhere.err().unwrap().to_string().contains("missing"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
