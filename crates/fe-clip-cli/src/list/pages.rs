//! Pages of a Parquet column: what is compressed, and how texts are written.
//!
//! Source: apache/parquet-format 2.12, Encodings.md and Compression.md.

use std::borrow::Cow;
use std::io::Read;

use super::parquet::{Damaged, Error};
use super::thrift::Reader;

/// Largest page; writers end one at a million bytes or so, some at the end of a group of rows.
const LARGEST: usize = 1 << 28;
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE_DICTIONARY: i64 = 8;

/// How pages are compressed.
#[derive(Clone, Copy)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstandard,
}

impl Codec {
    /// # Errors
    /// If it is another.
    pub(super) fn of(number: i64) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Snappy),
            2 => Ok(Self::Gzip),
            6 => Ok(Self::Zstandard),
            number => Err(Error::Unsupported { what: "compression", number }),
        }
    }

    /// The `size` bytes that were compressed.
    fn decompress<'a>(self, bytes: &'a [u8], size: usize) -> Result<Cow<'a, [u8]>, Error> {
        let error = |error: &dyn std::fmt::Display| {
            Error::Decompress(std::io::Error::other(error.to_string()))
        };
        // Memory grows with what is there, not with what is announced.
        let limited = |reader: &mut dyn Read| -> Result<Vec<u8>, Error> {
            let mut plain = Vec::new();
            let read = reader.take(size as u64 + 1).read_to_end(&mut plain);
            read.map_err(Error::Decompress)?;
            Ok(plain)
        };
        let plain = match self {
            Self::None => return Ok(bytes.into()),
            Self::Snappy => {
                // Its longest copy is 64 bytes of two.
                let announced = snap::raw::decompress_len(bytes).map_err(|e| error(&e))?;
                if announced != size || announced / 32 > bytes.len() {
                    return Err(Damaged("a page is of another size than it says").into());
                }
                snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| error(&e))?
            }
            Self::Gzip => limited(&mut flate2::read::MultiGzDecoder::new(bytes))?,
            Self::Zstandard => {
                let mut decoder =
                    ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|e| error(&e))?;
                limited(&mut decoder)?
            }
        };
        if plain.len() != size {
            return Err(Damaged("a page is of another size than it says").into());
        }
        Ok(plain.into())
    }
}

/// What a column consists of.
pub(super) enum Page<'a> {
    Dictionary {
        values: usize,
        plain: Cow<'a, [u8]>,
    },
    Data(Data<'a>),
    /// An index.
    Other,
}

/// A page of values.
pub(super) struct Data<'a> {
    /// Nulls among them.
    pub(super) values: usize,
    encoding: i64,
    levels: Levels<'a>,
    plain: Cow<'a, [u8]>,
}

/// Where it is said which values are null.
enum Levels<'a> {
    /// At the start of the page, behind their length, if the column may have nulls.
    Inside,
    Before(&'a [u8]),
}

impl<'a> Page<'a> {
    /// Takes a page.
    ///
    /// # Errors
    /// If it is damaged or too large.
    pub(super) fn read(reader: &mut Reader<'a>, codec: Codec) -> Result<Self, Error> {
        let head = reader.structure()?;
        let (plain, compressed) = (head.size(2)?, head.size(3)?);
        let bytes = reader.take(compressed)?;
        // Deflate's longest copy is 258 bytes of two bits.
        if plain > LARGEST || plain / 1032 > compressed {
            return Err(Damaged("a page is too large").into());
        }
        match head.integer(1)? {
            0 => {
                let data = head.structure(5)?;
                Ok(Self::Data(Data {
                    values: data.size(1)?,
                    encoding: data.integer(2)?,
                    levels: Levels::Inside,
                    plain: codec.decompress(bytes, plain)?,
                }))
            }
            2 => Ok(Self::Dictionary {
                values: head.structure(7)?.size(1)?,
                plain: codec.decompress(bytes, plain)?,
            }),
            3 => {
                let data = head.structure(8)?;
                let (levels, repetition) = (data.size(5)?, data.size(6)?);
                let mut bytes = Reader(bytes);
                bytes.take(repetition)?;
                let before = bytes.take(levels)?;
                let size = plain.checked_sub(levels + repetition);
                let size = size.ok_or(Damaged("a page is smaller than its levels"))?;
                let codec = if data.bool(7).unwrap_or(true) { codec } else { Codec::None };
                Ok(Self::Data(Data {
                    values: data.size(1)?,
                    encoding: data.integer(4)?,
                    levels: Levels::Before(before),
                    plain: codec.decompress(bytes.0, size)?,
                }))
            }
            _ => Ok(Self::Other),
        }
    }
}

impl Data<'_> {
    /// Appends its values.
    ///
    /// # Errors
    /// If one is null, or the page is damaged or written otherwise.
    pub(super) fn decode(
        &self,
        optional: bool,
        dictionary: Option<&[Vec<u8>]>,
        found: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let mut plain = Reader(&self.plain);
        if optional {
            let levels = match self.levels {
                Levels::Before(levels) => levels,
                Levels::Inside => {
                    let length = plain.take(4)?;
                    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
                    plain.take(length as usize)?
                }
            };
            let before = found.len();
            let mut row = before;
            runs(levels, 1, self.values, |present, count| {
                row += count;
                if present == 0 { Err(Error::Null(row - count + 1)) } else { Ok(()) }
            })?;
        }
        match self.encoding {
            PLAIN => found.extend(texts(plain.0, self.values)?),
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let dictionary = dictionary.ok_or(Damaged("a dictionary is missing"))?;
                let width = if self.values > 0 { plain.byte()? } else { 0 };
                runs(plain.0, width, self.values, |index, count| {
                    let text = dictionary.get(index as usize);
                    let text = text.ok_or(Damaged("a value is not in its dictionary"))?;
                    found.extend(std::iter::repeat_n(text, count).cloned());
                    Ok(())
                })?;
            }
            number => return Err(Error::Unsupported { what: "encoding", number }),
        }
        Ok(())
    }
}

/// Texts, each behind its length.
///
/// # Errors
/// If there are fewer.
pub(super) fn texts(plain: &[u8], count: usize) -> Result<Vec<Vec<u8>>, Damaged> {
    let mut plain = Reader(plain);
    let mut texts = Vec::new();
    for _ in 0..count {
        let length = plain.take(4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        texts.push(plain.take(length as usize)?.to_vec());
    }
    Ok(texts)
}

/// The first `count` numbers of `width` bits, in runs of one number or packed by eights, given on
/// as a number and how often it comes.
fn runs(
    bytes: &[u8],
    width: u8,
    count: usize,
    mut take: impl FnMut(u32, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    if width > 32 {
        return Err(Damaged("numbers are too wide").into());
    }
    let width = usize::from(width);
    let mut reader = Reader(bytes);
    let mut left = count;
    while left > 0 {
        let head = reader.varint()?;
        let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if head & 1 == 0 {
            let bytes = reader.take(width.div_ceil(8))?;
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let length = length.min(left);
            if length == 0 {
                return Err(Damaged("a run has no length").into());
            }
            take(number, length)?;
            left -= length;
            continue;
        }
        // Some writers leave out the end of the last group.
        let packed = length.saturating_mul(width).min(reader.0.len());
        let bytes = reader.take(packed)?;
        let whole = (bytes.len() * 8).checked_div(width).unwrap_or(left);
        let here = length.saturating_mul(8).min(left).min(whole);
        if here == 0 {
            return Err(Damaged("it is cut off").into());
        }
        for place in 0..here {
            let bits = place * width..(place + 1) * width;
            let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8) & 1);
            let number = bits.clone().fold(0, |number, at| number | bit(at) << (at - bits.start));
            take(number, 1)?;
        }
        left -= here;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8], width: u8, count: usize) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        runs(bytes, width, count, |number, times| {
            found.extend(std::iter::repeat_n(number, times));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn runs_are_as_the_format_describes_them() {
        // The example of Encodings.md: 0 to 7 in three bits.
        let packed = [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(numbers(&packed, 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&packed, 3, 5).unwrap(), [0, 1, 2, 3, 4]);
        // Five times 300 in nine bits, then one packed group of them.
        assert_eq!(numbers(&[10, 44, 1], 9, 5).unwrap(), [300; 5]);
        assert_eq!(numbers(&[2, 1, 3, 0b10], 1, 3).unwrap(), [1, 0, 1]);
        // A dictionary of one value needs no bits.
        assert_eq!(numbers(&[8], 0, 4).unwrap(), [0; 4]);
        for (bytes, width) in [(&packed[..3], 3), (&[][..], 1), (&[0, 1], 1), (&[3], 33)] {
            assert!(numbers(bytes, width, 8).is_err(), "{bytes:?}");
        }
    }
}
