//! The first directory of a TIFF, BigTIFF or EXIF stream.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Most bytes of one value: offsets of four million strips.
const MOST: u64 = 32 << 20;

/// The values of the tags asked for.
pub(crate) struct Directory {
    /// Whether numbers are stored with their lowest byte first.
    pub(crate) little: bool,
    /// Whether the stream ends inside the directory.
    pub(super) cut_short: bool,
    values: BTreeMap<u16, Value>,
}

struct Value {
    kind: u16,
    bytes: Vec<u8>,
}

impl Directory {
    /// Reads what there is of these tags. A value that lies outside of the stream counts as missing.
    pub(crate) fn read(reader: &mut (impl Read + Seek), tags: &[u16]) -> io::Result<Self> {
        let mut head = [0; 4];
        reader.read_exact(&mut head)?;
        let (little, big) = match &head {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return Err(io::Error::other("no TIFF header")),
        };
        let wide = if big { 8 } else { 4 }; // bytes of counts and offsets
        if big {
            number(reader, 4, little)?; // size of offsets, always 8, and filling
        }
        let start = number(reader, wide, little)?;
        reader.seek(SeekFrom::Start(start))?;
        let entries = number(reader, if big { 8 } else { 2 }, little)?.min(1 << 16);
        let mut directory = Self { little, cut_short: false, values: BTreeMap::new() };
        let mut wanted = Vec::new();
        for _ in 0..entries {
            let mut entry = [0; 20];
            let entry = &mut entry[..4 + 2 * wide];
            if reader.read_exact(entry).is_err() {
                directory.cut_short = true;
                break;
            }
            let value = entry[4 + wide..].to_vec();
            let tag = unsigned(&entry[..2], little) as u16;
            let kind = unsigned(&entry[2..4], little) as u16;
            let count = unsigned(&entry[4..4 + wide], little);
            if tags.contains(&tag) && size(kind) > 0 {
                wanted.push((tag, kind, count.saturating_mul(size(kind)), value));
            }
        }
        for (tag, kind, length, mut bytes) in wanted {
            if length <= wide as u64 {
                bytes.truncate(length as usize);
            } else {
                let offset = unsigned(&bytes, little);
                bytes = Vec::new();
                if length > MOST || reader.seek(SeekFrom::Start(offset)).is_err() {
                    continue;
                }
                reader.by_ref().take(length).read_to_end(&mut bytes)?;
                if (bytes.len() as u64) < length {
                    continue;
                }
            }
            directory.values.entry(tag).or_insert(Value { kind, bytes });
        }
        Ok(directory)
    }

    /// The numbers of a tag; none where they are not whole numbers from 0 up.
    pub(super) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let value = self.values.get(&tag)?;
        let whole = matches!(value.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18);
        let numbers = value.bytes.chunks_exact(size(value.kind) as usize);
        whole.then(|| numbers.map(|bytes| unsigned(bytes, self.little)).collect())
    }

    /// The first number of a tag.
    pub(crate) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.first().copied()
    }

    /// The fractions of a tag.
    pub(super) fn fractions(&self, tag: u16) -> Option<Vec<f32>> {
        let value = self.values.get(&tag).filter(|value| value.kind == 5)?;
        let part = |bytes: &[u8]| unsigned(bytes, self.little) as f32;
        Some(value.bytes.chunks_exact(8).map(|f| part(&f[..4]) / part(&f[4..])).collect())
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Option<&[u8]> {
        self.values.get(&tag).map(|value| value.bytes.as_slice())
    }
}

/// Bytes of a number of this kind.
fn size(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

/// A number of at most 8 bytes.
pub(super) fn unsigned(bytes: &[u8], little: bool) -> u64 {
    let append = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
    if little { bytes.iter().rev().fold(0, append) } else { bytes.iter().fold(0, append) }
}

fn number(reader: &mut impl Read, bytes: usize, little: bool) -> io::Result<u64> {
    let mut buffer = [0; 8];
    reader.read_exact(&mut buffer[..bytes])?;
    Ok(unsigned(&buffer[..bytes], little))
}
