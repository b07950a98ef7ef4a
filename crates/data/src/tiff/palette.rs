//! Pages of palette colours, which the crate `tiff` refuses: it is shown the same file with the page declared grey.

use std::io::{Read, Seek};

use ::tiff::decoder::Decoder;
use ::tiff::tags::{ByteOrder, PhotometricInterpretation, Tag};
use ::tiff::{TiffError, TiffFormatError};

/// Bits of an index, if the page is one of palette colours.
pub(super) fn index_bits<R: Read + Seek>(
    decoder: &mut Decoder<R>,
) -> Result<Option<u8>, TiffError> {
    let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)?;
    if photometric != Some(PhotometricInterpretation::RGBPalette.to_u16()) {
        return Ok(None);
    }
    let bits = decoder.find_tag_unsigned_vec::<u8>(Tag::BitsPerSample)?;
    Ok(Some(bits.and_then(|bits| bits.first().copied()).unwrap_or(1)))
}

/// The colour of each index of at most 8 bits: as Pillow, the upper byte of each word of the map.
pub(super) fn colours<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    bits: u8,
) -> Result<Vec<[u8; 3]>, TiffError> {
    let map = decoder.get_tag_u16_vec(Tag::ColorMap)?;
    let count = 1usize << bits;
    if map.len() < 3 * count {
        return Err(TiffError::FormatError(TiffFormatError::InvalidTagValueType(Tag::ColorMap)));
    }
    let colour = |index| [0, 1, 2].map(|channel| (map[channel * count + index] >> 8) as u8);
    Ok((0..count).map(colour).collect())
}

/// The file with the entry `PhotometricInterpretation` of its first page changed, if that stands where it should.
pub(super) fn declared_grey<R: Read + Seek>(
    bytes: &[u8],
    decoder: &mut Decoder<R>,
) -> Option<Vec<u8>> {
    let little = decoder.byte_order() == ByteOrder::LittleEndian;
    let number = |bytes: &[u8]| {
        let append = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if little { bytes.iter().rev().fold(0, append) } else { bytes.iter().fold(0, append) }
    };
    let big = number(bytes.get(2..4)?) == 43; // BigTIFF
    let (count, entry, value) = if big { (8, 20, 12) } else { (2, 12, 8) };
    let start = usize::try_from(decoder.ifd_pointer()?.0).ok()?;
    let entries = bytes.get(start..)?.split_at_checked(count)?;
    let most = usize::try_from(number(entries.0)).ok()?;
    let tag = u64::from(Tag::PhotometricInterpretation.to_u16());
    let index = entries.1.chunks_exact(entry).take(most).position(|e| number(&e[..2]) == tag)?;
    let at = start + count + index * entry + value;
    let grey = PhotometricInterpretation::BlackIsZero.to_u16();
    let mut bytes = bytes.to_vec();
    let place = bytes.get_mut(at..at + 2)?;
    place.copy_from_slice(&if little { grey.to_le_bytes() } else { grey.to_be_bytes() });
    Some(bytes)
}
