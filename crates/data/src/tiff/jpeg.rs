//! JPEG streams inside a TIFF. The crate `tiff` believes the sizes in their own headers, so that a file of a kilobyte
//! may ask for gigabytes; they are held to the page's first.

use std::io::{Read, Seek};
use std::path::Path;

use ::tiff::TiffError;
use ::tiff::decoder::Decoder;
use ::tiff::tags::{CompressionMethod, Tag};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::tiff_error;
use crate::{Error, Limits};

/// Bytes that decoding takes for a pixel: three samples and their coefficients of two bytes.
const BYTES: u64 = 9;

/// Refuses a page with a JPEG strip or tile that is larger than its place, or has no header.
pub(super) fn check<R: Read + Seek>(
    bytes: &[u8],
    decoder: &mut Decoder<R>,
    path: &Path,
    limits: &Limits,
) -> Result<(), Error> {
    let Some(Parts { places, tables }) = parts(decoder).map_err(|e| tiff_error(e, path))? else {
        return Ok(());
    };
    let (width, height) = decoder.chunk_dimensions();
    limits.check(path, width, height, u64::from(width) * u64::from(height) * BYTES)?;
    // Whole blocks are allowed, since some writers round up.
    let most = |side: u32| side.next_multiple_of(16) as usize;
    let options = DecoderOptions::default().set_max_width(most(width)).set_max_height(most(height));
    for (index, (start, length)) in places.into_iter().enumerate() {
        let end = start.saturating_add(length).min(bytes.len() as u64);
        let Some(part) = bytes.get(start as usize..end as usize) else { continue };
        // Tables come first, less the marks where they end and the part begins.
        let stream = match (tables.split_last_chunk::<2>(), part.get(2..)) {
            (Some((tables, _)), Some(part)) => [tables, part].concat(),
            _ => part.to_vec(),
        };
        let mut header = JpegDecoder::new_with_options(ZCursor::new(stream), options);
        header.decode_headers().map_err(|error| Error::Broken {
            path: path.to_path_buf(),
            format: "TIFF",
            reason: format!("JPEG part {index}: {error:?}"),
        })?;
    }
    Ok(())
}

struct Parts {
    /// Offset and length of the strips or tiles.
    places: Vec<(u64, u64)>,
    /// Tables that all of them share.
    tables: Vec<u8>,
}

/// The parts of a page, if it is one of JPEG.
fn parts<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<Option<Parts>, TiffError> {
    let method = decoder.find_tag_unsigned::<u16>(Tag::Compression)?;
    if method != Some(CompressionMethod::ModernJPEG.to_u16()) {
        return Ok(None);
    }
    let mut numbers = |tiles, strips| -> Result<Vec<u64>, TiffError> {
        let found = decoder.find_tag(tiles)?;
        let value = if found.is_some() { found } else { decoder.find_tag(strips)? };
        value.map_or(Ok(Vec::new()), |value| value.into_u64_vec())
    };
    let starts = numbers(Tag::TileOffsets, Tag::StripOffsets)?;
    let lengths = numbers(Tag::TileByteCounts, Tag::StripByteCounts)?;
    let tables = decoder.find_tag(Tag::JPEGTables)?;
    let tables = tables.map_or(Ok(Vec::new()), |value| value.into_u8_vec())?;
    Ok(Some(Parts { places: starts.into_iter().zip(lengths).collect(), tables }))
}
