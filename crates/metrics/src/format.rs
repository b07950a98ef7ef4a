//! The file format of accumulators: a head, a body of little-endian numbers, a CRC-32 of both.

use std::fmt;
use std::io::{self, Read, Write};

use crc32fast::Hasher;

use crate::Connectivity;

/// Begins every file: eight bytes, then the version.
const MAGIC: [u8; 8] = *b"\x93METRICS";
const VERSION: u16 = 1;
/// A file that claims more pixels is taken for damaged; sums over several files then cannot overflow 64 bits.
pub(crate) const MOST: u64 = 1 << 48;

/// What a saved accumulator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// [`PixelMetrics<f32>`](crate::PixelMetrics).
    Single,
    /// [`PixelMetrics<f64>`](crate::PixelMetrics).
    Double,
    /// [`PixelHistogram`](crate::PixelHistogram).
    Histogram,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Single, Self::Double, Self::Histogram];

    fn code(self) -> u8 {
        match self {
            Self::Single => 1,
            Self::Double => 2,
            Self::Histogram => 3,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "exact counts of float32 scores",
            Self::Double => "exact counts of float64 scores",
            Self::Histogram => "a histogram",
        })
    }
}

/// Why a saved accumulator cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The reader failed.
    #[error(transparent)]
    Io(io::Error),
    /// The bytes are something else.
    #[error("does not begin as a saved accumulator")]
    Foreign,
    /// The bytes come from another version of this crate.
    #[error("has version {0} of the format, which is not known here")]
    Version(u16),
    /// Another kind of accumulator was saved.
    #[error("holds {found}, not {expected}")]
    Kind {
        /// What was to be loaded.
        expected: Kind,
        /// What is there.
        found: Kind,
    },
    /// The bytes are incomplete or have changed.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends early"),
            _ => Self::Io(error),
        }
    }
}

/// Fails as damaged unless `sound`.
pub(crate) fn check(sound: bool, reason: &'static str) -> Result<(), LoadError> {
    if sound { Ok(()) } else { Err(LoadError::Damaged(reason)) }
}

pub(crate) struct Writer<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W, kind: Kind, connectivity: Connectivity) -> io::Result<Self> {
        let mut writer = Self { inner, hasher: Hasher::new() };
        writer.bytes(&MAGIC)?;
        writer.bytes(&VERSION.to_le_bytes())?;
        writer.bytes(&[kind.code(), connectivity.neighbours()])?;
        Ok(writer)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }

    pub(crate) fn number(&mut self, number: u64) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        let sum = self.hasher.finalize();
        self.inner.write_all(&sum.to_le_bytes())?;
        self.inner.flush()
    }
}

pub(crate) struct Reader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub(crate) fn new(inner: R, expected: Kind) -> Result<(Self, Connectivity), LoadError> {
        let mut reader = Self { inner, hasher: Hasher::new() };
        if reader.array().ok() != Some(MAGIC) {
            return Err(LoadError::Foreign);
        }
        let version = u16::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        let [kind, neighbours] = reader.array()?;
        let found = Kind::ALL.into_iter().find(|known| known.code() == kind);
        let found = found.ok_or(LoadError::Damaged("its kind is unknown"))?;
        if found != expected {
            return Err(LoadError::Kind { expected, found });
        }
        let connectivities = [Connectivity::Four, Connectivity::Eight];
        let connectivity =
            connectivities.into_iter().find(|known| known.neighbours() == neighbours);
        Ok((reader, connectivity.ok_or(LoadError::Damaged("its connectivity is unknown"))?))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    pub(crate) fn number(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// As many bytes as are asked for; no more memory is taken than twice what is there.
    pub(crate) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        let read = (&mut self.inner).take(length).read_to_end(&mut bytes)?;
        check(read as u64 == length, "it ends early")?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    pub(crate) fn finish(mut self) -> Result<(), LoadError> {
        let mut sum = [0; 4];
        self.inner.read_exact(&mut sum)?;
        check(self.hasher.finalize() == u32::from_le_bytes(sum), "its checksum is wrong")
    }
}
