//! JPEG, alone and inside TIFF: samples through libjpeg-turbo-rs, which gives those of libjpeg-turbo and so of Pillow to
//! the bit, in its strict mode: damaged data is an error.

use std::io::{self, Cursor, Read};

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, Decoder, JpegError, PixelFormat};

use crate::Limits;
use crate::colour::cmyk_to_rgb;
use crate::error::Fault;
use crate::metadata::Metadata;

/// Most scans of a progressive file: each costs a walk over all blocks for a few bytes. Encoders write about ten.
const MAX_SCANS: usize = 500;
/// Most bytes of EXIF, which may fill several segments.
const MAX_EXIF: usize = 1 << 20;
/// Bytes that decoding takes for a sample: a progressive file keeps all coefficients, 2 bytes each, until the last scan.
const BYTES: u64 = 3;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const APP1: u8 = 0xe1;

/// What stands before the first scan.
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Samples a pixel: 1, 3 or 4.
    pub(crate) components: usize,
    metadata: Metadata,
}

impl Header {
    /// Reads up to the first scan; kinds of JPEG that are not read are refused.
    pub(crate) fn read(mut reader: impl Read) -> Result<Self, Fault> {
        let mut start = [0; 2];
        reader.read_exact(&mut start)?;
        if start != [0xff, START_OF_IMAGE] {
            return Err(Fault::broken("no JPEG header"));
        }
        let (mut frame, mut metadata) = (None, Metadata::default());
        loop {
            let kind = next_marker(&mut reader)?;
            match kind {
                START_OF_SCAN => break,
                END_OF_IMAGE => return Err(Fault::broken("no image between its marks")),
                0x01 | 0xd0..=START_OF_IMAGE => continue, // marks without a segment
                _ => {}
            }
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            let Some(length) = u16::from_be_bytes(length).checked_sub(2) else {
                return Err(Fault::broken("a segment of no length"));
            };
            let mut segment = reader.by_ref().take(u64::from(length));
            // All frames but tables: DHT, JPG and DAC have numbers among those of frames. 0xf7 is JPEG-LS.
            if matches!(kind, 0xc0..=0xcf | 0xf7) && !matches!(kind, 0xc4 | 0xc8 | 0xcc) {
                frame = Some(read_frame(kind, &mut segment)?);
            } else if kind == APP1 {
                read_app1(&mut segment, &mut metadata)?;
            }
            io::copy(&mut segment, &mut io::sink())?;
            if segment.limit() > 0 {
                return Err(Fault::cut_short());
            }
        }
        let (width, height, components) = frame.ok_or_else(|| Fault::broken("no frame header"))?;
        Ok(Self { width, height, components, metadata })
    }

    /// The size, within the limits.
    pub(crate) fn size(&self, limits: &Limits) -> Result<(u32, u32), Fault> {
        let samples = u64::from(self.width) * u64::from(self.height) * self.components as u64;
        limits.check(self.width, self.height, samples * BYTES)?;
        Ok((self.width, self.height))
    }

    pub(crate) fn orientation(&self) -> Orientation {
        self.metadata.orientation()
    }
}

/// Grey or RGB samples and the orientation still to be applied.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(DynamicImage, Orientation), Fault> {
    let header = Header::read(Cursor::new(bytes))?;
    let (width, height) = header.size(limits)?;
    let samples = samples(bytes, &header, limits)?;
    let image = match header.components {
        1 => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        3 => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        _ => {
            // Ink is stored inverted, as Adobe does and Pillow assumes.
            let ink = |pixel: &[u8; 4]| cmyk_to_rgb(pixel.map(|sample| 255 - sample));
            let rgb = samples.as_chunks().0.iter().flat_map(ink).collect();
            RgbImage::from_raw(width, height, rgb).map(DynamicImage::from)
        }
    };
    let image = image.ok_or_else(|| Fault::broken("two headers of different sizes"))?;
    Ok((image, header.orientation()))
}

/// The samples of a stream with this header, interleaved: grey, RGB, or ink as stored.
pub(crate) fn samples(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Vec<u8>, Fault> {
    if !has_end(bytes) {
        return Err(Fault::cut_short()); // the decoder would invent up to a row of blocks
    }
    let bounds = DecodeLimits {
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_bytes),
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, bounds).map_err(fault)?;
    let format = match decoder.header().components.as_slice() {
        [_] => PixelFormat::Grayscale,
        [first, second, third, fourth] => {
            let sampling = |c: &ComponentInfo| [c.horizontal_sampling, c.vertical_sampling];
            let mut steps = sampling(first).into_iter().zip(sampling(second));
            // The decoder takes this for granted.
            if sampling(first) != sampling(fourth)
                || sampling(second) != sampling(third)
                || steps.any(|(fine, coarse)| coarse == 0 || fine % coarse != 0)
            {
                return Err(Fault::unsupported("CMYK of unusual sampling"));
            }
            PixelFormat::Cmyk
        }
        _ => PixelFormat::Rgb,
    };
    decoder.set_output_format(format);
    decoder.set_stop_on_warning(true);
    let samples = decoder.decode_image().map_err(fault)?.data;
    if samples.len() != header.width as usize * header.height as usize * header.components {
        return Err(Fault::broken("two headers of different sizes"));
    }
    Ok(samples)
}

/// The colour model that a TIFF names for the JPEG streams in it, whatever the streams say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// Samples are given as stored.
    Stored,
    /// Y, Cb and Cr, to be converted.
    YCbCr,
}

/// One stream from a TIFF's shared tables and a strip or tile, which says by Adobe's marker what its colours are.
pub(crate) fn abbreviated(tables: &[u8], part: &[u8], model: Model) -> Vec<u8> {
    let mut stream = vec![0xff, START_OF_IMAGE, 0xff, 0xee, 0, 14];
    stream.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
    stream.push(u8::from(model == Model::YCbCr));
    push_segments(tables, &mut stream);
    let scans = push_segments(part, &mut stream);
    stream.extend_from_slice(scans);
    stream
}

/// Copies the segments before the first scan, all but applications' own. Returns the rest.
fn push_segments<'a>(bytes: &'a [u8], stream: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = bytes.get(2..).unwrap_or(&[]); // behind the start mark
    while let [mark, kind, high, low, ..] = *rest {
        if mark != 0xff || matches!(kind, 0x00 | 0x01 | 0xd0..=START_OF_IMAGE | 0xff) {
            rest = &rest[1..]; // filling
            continue;
        }
        if matches!(kind, END_OF_IMAGE | START_OF_SCAN) {
            break;
        }
        let length = (2 + usize::from(u16::from_be_bytes([high, low]))).min(rest.len());
        let (segment, behind) = rest.split_at(length);
        if !matches!(kind, 0xe0..=0xef) {
            stream.extend_from_slice(segment);
        }
        rest = behind;
    }
    rest
}

fn next_marker(reader: &mut impl Read) -> Result<u8, Fault> {
    let mut byte = [0];
    loop {
        while byte != [0xff] {
            reader.read_exact(&mut byte)?;
        }
        while byte == [0xff] {
            reader.read_exact(&mut byte)?;
        }
        if byte != [0] {
            return Ok(byte[0]);
        }
    }
}

/// Width, height and number of components.
fn read_frame(kind: u8, segment: &mut impl Read) -> Result<(u32, u32, usize), Fault> {
    let mut fields = [0; 6];
    segment.read_exact(&mut fields)?;
    let [bits, height @ .., _, _, _] = fields;
    let [_, _, _, width @ .., components] = fields;
    match kind {
        0xc3 => return Err(Fault::unsupported("lossless")),
        0xcb => return Err(Fault::unsupported("lossless, arithmetic coding")),
        0xc5..=0xc7 | 0xcd..=0xcf => return Err(Fault::unsupported("hierarchical")),
        0xf7 => return Err(Fault::unsupported("JPEG-LS")),
        _ => {}
    }
    if bits != 8 {
        return Err(Fault::unsupported(format!("{bits} bits a sample")));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(Fault::unsupported(format!("{components} components")));
    }
    let (width, height) = (u16::from_be_bytes(width), u16::from_be_bytes(height));
    if height == 0 {
        return Err(Fault::unsupported("a height that stands behind the first scan"));
    }
    if width == 0 {
        return Err(Fault::broken("a width of 0"));
    }
    Ok((width.into(), height.into(), components.into()))
}

fn read_app1(segment: &mut impl Read, metadata: &mut Metadata) -> Result<(), Fault> {
    let mut content = Vec::new();
    segment.read_to_end(&mut content)?;
    if let Some(part) = content.strip_prefix(b"Exif\0\0") {
        let exif = metadata.exif.get_or_insert_default();
        if exif.len() + part.len() <= MAX_EXIF {
            exif.extend_from_slice(part);
        }
    } else if let Some(xmp) = content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
        metadata.xmp = Some(xmp.to_vec());
    }
    Ok(())
}

/// Whether an end mark follows the start of the first scan. In the segments before, a thumbnail may hold one.
fn has_end(bytes: &[u8]) -> bool {
    let scans = push_segments(bytes, &mut Vec::new());
    scans.windows(2).any(|pair| pair == [0xff, END_OF_IMAGE])
}

fn fault(error: JpegError) -> Fault {
    match error {
        JpegError::Unsupported(what) => Fault::Unsupported(what),
        JpegError::LimitExceeded { what, actual, limit } => {
            Fault::TooLarge { what: format!("{what} of {actual}"), limit }
        }
        JpegError::UnexpectedEof => Fault::cut_short(),
        other => Fault::broken(other.to_string()),
    }
}
