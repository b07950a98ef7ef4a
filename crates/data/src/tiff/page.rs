//! The tags of a page, parsed and checked.

use std::io::{Read, Seek, SeekFrom};

use image::metadata::Orientation;

use super::directory::Directory;
use super::kind::{
    BITS, COMPRESSION, Compression, FAX3_OPTIONS, INK_SET, PHOTOMETRIC, Photometric, Predictor,
    SAMPLE_FORMAT, SAMPLES, compression, pixel, sample_format,
};
use super::{ORIENTATION, ycbcr};
use crate::Limits;
use crate::error::Fault;
use crate::metadata;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_LENGTHS: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_LENGTHS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const JPEG_TABLES: u16 = 347;

const TAGS: [u16; 26] = [
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    FILL_ORDER,
    STRIP_OFFSETS,
    ORIENTATION,
    SAMPLES,
    ROWS_PER_STRIP,
    STRIP_LENGTHS,
    PLANAR,
    FAX3_OPTIONS,
    PREDICTOR,
    COLOUR_MAP,
    TILE_WIDTH,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_LENGTHS,
    INK_SET,
    EXTRA_SAMPLES,
    SAMPLE_FORMAT,
    JPEG_TABLES,
    ycbcr::COEFFICIENTS,
    ycbcr::SUBSAMPLING,
    ycbcr::REFERENCE,
];

/// Where a strip or tile lies in the file.
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) end: u64,
}

pub(super) struct Page {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    /// Bits of a sample.
    pub(super) bits: u32,
    pub(super) float: bool,
    /// Samples a pixel in a strip or tile: 1 where planes are stored apart.
    pub(super) samples: usize,
    /// Samples a pixel that are kept: the colours, and alpha where the colours are premultiplied.
    pub(super) kept: usize,
    pub(super) photometric: Photometric,
    pub(super) planes: bool,
    pub(super) compression: Compression,
    /// Bytes are stored with their lowest bit first.
    pub(super) reversed: bool,
    pub(super) predictor: Predictor,
    /// Width and height of a strip or tile.
    pub(super) chunk: (u32, u32),
    pub(super) tiled: bool,
    pub(super) places: Vec<Place>,
    /// Luma samples for one of chroma, across and down; (1, 1) but for raw YCbCr.
    pub(super) subsampling: (u32, u32),
    pub(super) directory: Directory,
}

impl Page {
    /// Reads and checks the tags; nothing that the page allocates later exceeds the limits.
    pub(super) fn read(reader: &mut (impl Read + Seek), limits: &Limits) -> Result<Self, Fault> {
        let directory = Directory::read(reader, &TAGS)?;
        let length = reader.seek(SeekFrom::End(0))?;
        let required = |tag, name: &str| {
            let missing = || {
                if directory.cut_short {
                    Fault::cut_short()
                } else {
                    Fault::broken(format!("no {name}"))
                }
            };
            directory.number(tag).ok_or_else(missing)
        };
        let side = |tag, name| match u32::try_from(required(tag, name)?) {
            Ok(side @ 1..) => Ok(side),
            _ => Err(Fault::broken(format!("{name} is not in the range"))),
        };
        let (width, height) = (side(WIDTH, "ImageWidth")?, side(HEIGHT, "ImageLength")?);
        if directory.cut_short {
            return Err(Fault::cut_short());
        }
        let compression = compression(&directory)?;
        let (photometric, all_samples, bits) = pixel(&directory, compression)?;
        let float = sample_format(&directory, bits)?;
        let planes = directory.number(PLANAR) == Some(2) && all_samples > 1;
        let samples = if planes { 1 } else { all_samples };
        let colours = photometric.colours();
        let extra = directory.number(EXTRA_SAMPLES);
        let grey_or_rgb =
            !matches!(photometric, Photometric::Cmyk | Photometric::Palette | Photometric::YCbCr);
        let kept = colours + usize::from(extra == Some(1) && all_samples > colours && grey_or_rgb);
        let subsampling = match (photometric, compression) {
            (Photometric::YCbCr, Compression::Jpeg | Compression::WebP) => (1, 1), // handled by the codec
            (Photometric::YCbCr, _) => ycbcr::subsampling(&directory)?,
            _ => (1, 1),
        };
        let tile = directory.number(TILE_WIDTH).zip(directory.number(TILE_HEIGHT));
        let rows = directory.number(ROWS_PER_STRIP).filter(|&rows| rows > 0);
        let chunk = match tile {
            Some((w, h)) => (u32::try_from(w).unwrap_or(0), u32::try_from(h).unwrap_or(0)),
            None => (width, rows.map_or(height, |rows| rows.min(u64::from(height)) as u32)),
        };
        if chunk.0 == 0 || chunk.1 == 0 {
            return Err(Fault::broken("tiles of no size"));
        }
        let mut page = Self {
            width,
            height,
            orientation: metadata::orientation(directory.number(ORIENTATION).unwrap_or(1)),
            bits,
            float,
            samples,
            kept,
            photometric,
            planes,
            compression,
            reversed: directory.number(FILL_ORDER) == Some(2),
            predictor: Predictor::None,
            chunk,
            tiled: tile.is_some(),
            places: Vec::new(),
            subsampling,
            directory,
        };
        page.predictor = page.read_predictor()?;
        page.check_kind()?;
        page.check_size(limits)?;
        page.places = page.read_places(length)?;
        Ok(page)
    }

    /// Strips or tiles across and down.
    pub(super) fn grid(&self) -> (u32, u32) {
        (self.width.div_ceil(self.chunk.0), self.height.div_ceil(self.chunk.1))
    }

    /// Bytes of a row of a strip or tile; of raw YCbCr, of as many rows as share their chroma.
    pub(super) fn row_bytes(&self) -> u64 {
        let (across, down) = self.subsampling;
        if self.subsampling != (1, 1) {
            return u64::from(self.chunk.0.div_ceil(across)) * u64::from(across * down + 2);
        }
        (u64::from(self.chunk.0) * self.samples as u64 * u64::from(self.bits)).div_ceil(8)
    }

    /// Bytes of this many rows of a strip or tile.
    pub(super) fn bytes(&self, rows: u32) -> u64 {
        self.row_bytes().saturating_mul(u64::from(rows.div_ceil(self.subsampling.1)))
    }

    /// Tables that all JPEG strips share.
    pub(super) fn jpeg_tables(&self) -> &[u8] {
        self.directory.bytes(JPEG_TABLES).unwrap_or(&[])
    }

    /// The map of palette colours: all reds, all greens, all blues.
    pub(super) fn colour_map(&self) -> Result<Vec<u64>, Fault> {
        let map = self.directory.numbers(COLOUR_MAP).unwrap_or_default();
        if map.len() < 3 << self.bits {
            return Err(Fault::broken(format!(
                "a map of {} colours for {} bits",
                map.len() / 3,
                self.bits
            )));
        }
        Ok(map)
    }

    fn read_predictor(&self) -> Result<Predictor, Fault> {
        use Compression::{Deflate, Lzma, Lzw, Zstd};
        if !matches!(self.compression, Lzw | Deflate | Lzma | Zstd) {
            return Ok(Predictor::None); // the others have none, whatever the tag says
        }
        let (float, bits) = (self.float, self.bits);
        match self.directory.number(PREDICTOR).unwrap_or(1) {
            1 => Ok(Predictor::None),
            2 if matches!(bits, 8 | 16 | 32 | 64) && self.subsampling == (1, 1) => {
                Ok(Predictor::Horizontal)
            }
            2 => Err(Fault::unsupported(format!("horizontal differences of {bits} bits"))),
            3 if float => Ok(Predictor::Float),
            other => Err(Fault::unsupported(format!("predictor {other} of {bits} bits"))),
        }
    }

    /// Refuses what the tags put together in a way that is not read.
    fn check_kind(&self) -> Result<(), Fault> {
        use Compression::{Group3, Group4, Huffman, Jpeg, WebP};
        let fault = match (self.compression, self.bits, self.samples) {
            (Huffman { .. } | Group3 { .. } | Group4, bits, samples)
                if bits != 1 || samples != 1 =>
            {
                format!("CCITT compression of {samples} samples of {bits} bits")
            }
            (Jpeg, bits, _) if bits != 8 => format!("JPEG of {bits} bits a sample"),
            (Jpeg, _, samples) if !matches!(samples, 1 | 3 | 4) => {
                format!("JPEG of {samples} samples")
            }
            (WebP, bits, samples) if bits != 8 || !matches!(samples, 3 | 4) => {
                format!("WebP of {samples} samples of {bits} bits")
            }
            _ if self.photometric == Photometric::YCbCr && (self.bits != 8 || self.float) => {
                format!("YCbCr of {} bits", self.bits)
            }
            _ if self.subsampling != (1, 1) && self.samples != 3 => {
                "subsampled YCbCr in planes".to_owned()
            }
            _ if self.photometric == Photometric::Palette && self.float => {
                "float palette indices".to_owned()
            }
            _ => return Ok(()),
        };
        Err(Fault::Unsupported(fault))
    }

    fn check_size(&self, limits: &Limits) -> Result<(), Fault> {
        let (across, down) = self.grid();
        let chunk = self.bytes(self.chunk.1);
        let sample =
            if self.bits <= 8 { 1 } else { u64::from(self.bits.next_power_of_two() / 8).max(2) };
        let pixels = u64::from(self.width) * u64::from(self.height);
        let held = pixels
            .saturating_mul(self.kept as u64)
            .saturating_mul(sample.max(if self.float { 4 } else { 1 }));
        // A strip is held beside the page, once compressed and once not.
        limits.check(self.width, self.height, held.saturating_add(chunk))?;
        let planes = if self.planes { self.kept as u64 } else { 1 };
        let all = chunk
            .saturating_mul(u64::from(across))
            .saturating_mul(u64::from(down))
            .saturating_mul(planes);
        if all > limits.max_bytes {
            let what = format!("strips or tiles of {all} bytes together");
            return Err(Fault::TooLarge { what, limit: limits.max_bytes });
        }
        Ok(())
    }

    /// Where the strips or tiles of the kept planes lie in a file of this length. Lengths that are missing or zero
    /// reach to the next start.
    fn read_places(&self, file: u64) -> Result<Vec<Place>, Fault> {
        let numbers = |tiles, strips| {
            let tiles = self.directory.numbers(tiles);
            tiles.or_else(|| self.directory.numbers(strips)).unwrap_or_default()
        };
        let mut starts = numbers(TILE_OFFSETS, STRIP_OFFSETS);
        let lengths = numbers(TILE_LENGTHS, STRIP_LENGTHS);
        let (across, down) = self.grid();
        let planes = if self.planes { self.kept as u64 } else { 1 };
        let count = u64::from(across) * u64::from(down) * planes;
        if (starts.len() as u64) < count {
            let what = if self.tiled { "tiles" } else { "strips" };
            return Err(Fault::broken(format!("{} of {count} {what}", starts.len())));
        }
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        starts.truncate(count as usize);
        let place = |(index, start): (usize, u64)| {
            let end = match lengths.get(index) {
                Some(&length) if length > 0 => start.saturating_add(length),
                _ => sorted
                    .get(sorted.partition_point(|&other| other <= start))
                    .copied()
                    .unwrap_or(file),
            };
            Place { start, end: end.min(file) }
        };
        Ok(starts.into_iter().enumerate().map(place).collect())
    }
}
