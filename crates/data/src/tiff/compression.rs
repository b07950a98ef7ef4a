//! Decodes one strip or tile from its bytes in the file.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use flate2::read::ZlibDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder};
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::kind::{Compression, Photometric};
use super::page::Page;
use super::{fax, predictor, ycbcr};
use crate::error::Fault;
use crate::{Limits, jpeg};

/// Most bytes of history that Zstandard may ask for, as its own tools allow.
const MAX_WINDOW: u64 = 128 << 20;

/// A strip or tile, and how much of it lies on the page.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Its number, for messages.
    pub(super) index: usize,
    /// Rows that it holds.
    pub(super) rows: u32,
    /// Width and height that lie on the page.
    pub(super) shown: (u32, u32),
}

/// The samples of a strip or tile, packed as in a file without compression: `part.rows` rows of the page's bytes a row,
/// of which those below the page may be missing in the file. YCbCr is interleaved, or RGB where the codec converts it.
pub(super) fn samples(
    page: &Page,
    bytes: &[u8],
    part: Part,
    limits: &Limits,
) -> Result<Vec<u8>, Fault> {
    let place = &page.places[part.index];
    let data = bytes.get(place.start as usize..place.end as usize).unwrap_or(&[]);
    match page.compression {
        Compression::Jpeg => return jpeg_samples(page, data, part, limits),
        Compression::WebP => return webp_samples(page, &in_order(page, data), part, limits),
        _ => {}
    }
    let wanted = page.bytes(part.rows) as usize;
    let needed = page.bytes(part.shown.1) as usize;
    // Where there is no compression, some writers' lengths are wrong and none is needed.
    let data = match page.compression {
        Compression::None => {
            let behind = bytes.get(place.start as usize..).unwrap_or(&[]);
            &behind[..behind.len().min(wanted)]
        }
        _ => data,
    };
    let data = in_order(page, data);
    let mut samples = vec![0; wanted];
    let filled = match page.compression {
        Compression::None => {
            samples[..data.len()].copy_from_slice(&data);
            data.len()
        }
        Compression::Lzw => lzw(&data, &mut samples),
        Compression::PackBits => pack_bits(&data, &mut samples),
        Compression::Deflate => fill(ZlibDecoder::new(Cursor::new(&*data)), &mut samples),
        Compression::Lzma => {
            let most = u32::try_from(limits.max_bytes >> 10).unwrap_or(u32::MAX);
            fill(XzReader::new_mem_limit(&*data, false, most), &mut samples)
        }
        Compression::Zstd => {
            let window = MAX_WINDOW.min(limits.max_bytes);
            let decoder = StreamingDecoder::new_with_max_window_size(&*data, window);
            fill(decoder.map_err(|e| Fault::broken(e.to_string()))?, &mut samples)
        }
        fax => {
            let (rows, done) = fax::decode(&data, page.chunk.0, part.rows, fax)?;
            samples = rows;
            page.bytes(done) as usize
        }
    };
    if filled < needed {
        let name = if page.tiled { "tile" } else { "strip" };
        let reason =
            format!("{filled} of {needed} bytes in {name} {}: cut short or damaged", part.index);
        return Err(Fault::Broken(reason));
    }
    predictor::undo(page, &mut samples);
    if page.subsampling != (1, 1) {
        let size = (page.chunk.0 as usize, part.rows as usize);
        return Ok(ycbcr::expand(&samples, size.0, size.1, page.subsampling));
    }
    Ok(samples)
}

/// The bytes with their bits in the usual order, the highest first.
fn in_order<'a>(page: &Page, data: &'a [u8]) -> Cow<'a, [u8]> {
    if page.reversed {
        Cow::Owned(data.iter().map(|byte| byte.reverse_bits()).collect())
    } else {
        Cow::Borrowed(data)
    }
}

/// Reads until the place is full, the data end or are damaged; returns the number of bytes.
fn fill(mut reader: impl Read, place: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < place.len() {
        match reader.read(&mut place[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

fn lzw(data: &[u8], place: &mut [u8]) -> usize {
    // Before TIFF 5.0, codes began at the lowest bit and grew longer one code later, as in GIF.
    let old = matches!(data, [0, second, ..] if second & 1 == 1);
    let mut decoder = match old {
        true => Decoder::new(BitOrder::Lsb, 8),
        false => Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut read, mut filled) = (0, 0);
    while filled < place.len() {
        let step = decoder.decode_bytes(&data[read..], &mut place[filled..]);
        read += step.consumed_in;
        filled += step.consumed_out;
        if !matches!(step.status, Ok(LzwStatus::Ok)) || step.consumed_in + step.consumed_out == 0 {
            break;
        }
    }
    filled
}

fn pack_bits(mut data: &[u8], place: &mut [u8]) -> usize {
    let mut filled = 0;
    while let (true, Some((&count, rest))) = (filled < place.len(), data.split_first()) {
        let left = &mut place[filled..];
        match count {
            0..=127 => {
                let count = (usize::from(count) + 1).min(rest.len());
                let copied = count.min(left.len());
                left[..copied].copy_from_slice(&rest[..copied]);
                filled += copied;
                data = &rest[count..];
            }
            128 => data = rest,
            129.. => {
                let Some((&byte, rest)) = rest.split_first() else { break };
                let count = (257 - usize::from(count)).min(left.len());
                left[..count].fill(byte);
                filled += count;
                data = rest;
            }
        }
    }
    filled
}

fn jpeg_samples(page: &Page, data: &[u8], part: Part, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let model = match page.photometric {
        Photometric::YCbCr if !page.planes => jpeg::Model::YCbCr,
        _ => jpeg::Model::Stored,
    };
    let named = |fault| match fault {
        Fault::Broken(reason) => Fault::Broken(format!("JPEG part {}: {reason}", part.index)),
        Fault::Unsupported(what) => Fault::Unsupported(format!("JPEG inside, {what}")),
        other => other,
    };
    let stream = jpeg::abbreviated(page.jpeg_tables(), data, model);
    let header = jpeg::Header::read(Cursor::new(&stream)).map_err(named)?;
    if header.components != page.samples {
        let reason = format!("{} components for {} samples", header.components, page.samples);
        return Err(named(Fault::Broken(reason)));
    }
    let size = (header.width, header.height);
    check_place(page, size, part).map_err(named)?;
    header.size(limits)?;
    let samples = jpeg::samples(&stream, &header, limits).map_err(named)?;
    Ok(fit(samples, size, page, part))
}

fn webp_samples(page: &Page, data: &[u8], part: Part, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let named = |reason: String| Fault::Broken(format!("WebP part {}: {reason}", part.index));
    let decoder = WebPDecoder::new(Cursor::new(data)).map_err(|e| named(e.to_string()))?;
    let size = decoder.dimensions();
    check_place(page, size, part).map_err(|_| named(format!("{} x {} pixels", size.0, size.1)))?;
    limits.check(size.0, size.1, decoder.total_bytes())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| named(e.to_string()))?;
    let samples = if page.samples == 3 {
        image.into_rgb8().into_raw()
    } else {
        image.into_rgba8().into_raw()
    };
    Ok(fit(samples, size, page, part))
}

/// Holds the size in a codec's own header to that of the strip or tile, before anything is decoded. Whole blocks are
/// allowed, since some writers round up.
fn check_place(page: &Page, (width, height): (u32, u32), part: Part) -> Result<(), Fault> {
    let most = |side: u32| side.next_multiple_of(16);
    let (across, down) = page.chunk;
    if width > most(across) || height > most(down) || width < part.shown.0 || height < part.shown.1
    {
        let reason = format!("{width} x {height} pixels in a place of {across} x {}", part.rows);
        return Err(Fault::Broken(reason));
    }
    Ok(())
}

/// Cuts or fills rows of 8 bits to those of the page's strip or tile.
fn fit(samples: Vec<u8>, (width, height): (u32, u32), page: &Page, part: Part) -> Vec<u8> {
    if (width, height) == (page.chunk.0, part.rows) {
        return samples;
    }
    let (from, to) = (width as usize * page.samples, page.chunk.0 as usize * page.samples);
    let mut fitted = vec![0; to * part.rows as usize];
    for (row, place) in samples.chunks_exact(from).zip(fitted.chunks_exact_mut(to)) {
        let both = from.min(to);
        place[..both].copy_from_slice(&row[..both]);
    }
    fitted
}
