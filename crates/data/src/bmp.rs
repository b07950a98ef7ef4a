//! BMP: what the crate `image` does otherwise than Pillow.

use std::io::{BufRead, Seek};

use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageResult};

/// Sizes of the headers in use, by which a file is known that lacks the first 14 bytes (`.dib`).
const HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

const FILE_HEADER: usize = 14;

/// Whether this is a bitmap without a file header.
pub(crate) fn is_bare(head: &[u8]) -> bool {
    let (Some(size), Some(planes), Some(bits)) = (long(head, 0), short(head, 12), short(head, 14))
    else {
        return false;
    };
    size != 12 && HEADERS.contains(&size) && planes == 1 && matches!(bits, 1 | 4 | 8 | 16 | 24 | 32)
}

pub(crate) fn decoder<R: BufRead + Seek>(reader: R, bare: bool) -> ImageResult<BmpDecoder<R>> {
    if bare { BmpDecoder::new_without_file_header(reader) } else { BmpDecoder::new(reader) }
}

/// Rounds samples of less than 8 bits down, as Pillow does, where the crate rounds to the nearest.
pub(crate) fn round_down(image: &mut DynamicImage, bytes: &[u8]) {
    let header = if is_bare(bytes) { Some(bytes) } else { bytes.get(FILE_HEADER..) };
    let Some(bits) = header.and_then(channel_bits) else { return };
    let tables = bits.map(|bits| -> [u8; 256] {
        let most: u32 = (1 << bits) - 1;
        std::array::from_fn(|level| {
            let stored = (level as u32 * most + 127) / 255;
            (stored * 255 / most) as u8
        })
    });
    let (channels, samples) = match image {
        DynamicImage::ImageRgb8(image) => (3, &mut **image),
        DynamicImage::ImageRgba8(image) => (4, &mut **image),
        _ => return,
    };
    for pixel in samples.chunks_exact_mut(channels) {
        pixel.iter_mut().zip(&tables).for_each(|(sample, table)| *sample = table[*sample as usize]);
    }
}

/// Bits of red, green and blue, where they are less than 8.
fn channel_bits(header: &[u8]) -> Option<[u32; 3]> {
    const BITFIELDS: [u32; 2] = [3, 6];
    let (size, bits, method) = (long(header, 0)?, short(header, 14)?, long(header, 16)?);
    let channels = match bits {
        16 if size >= 40 && method == 0 => [5; 3],
        16 | 32 if size >= 40 && BITFIELDS.contains(&method) => {
            let mask = |channel: usize| Some(long(header, channel)?.count_ones());
            [mask(40)?, mask(44)?, mask(48)?]
        }
        _ => return None,
    };
    channels.iter().all(|bits| (1..8).contains(bits)).then_some(channels)
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let (_, rest) = bytes.split_at_checked(at)?;
    rest.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let (_, rest) = bytes.split_at_checked(at)?;
    rest.first_chunk().map(|&bytes| u16::from_le_bytes(bytes))
}
