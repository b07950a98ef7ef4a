//! DICOM: a medical image as a viewer shows it first.
//!
//! Source: DICOM 2024, PS3.10 (files), PS3.5 (elements; RLE in annex G), PS3.3 C.7.6.3 (pixels).
//!
//! Crates read more of the standard; they bring tables of character sets, clocks and logging along, and change features
//! of crates that the tensor library is compiled with.

mod elements;
mod levels;

use std::io::Read;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use self::elements::{Elements, Pixels, Syntax};
use self::levels::{Levels, Stored};
use crate::error::Fault;
use crate::{Limits, jpeg};

/// What a file begins with, after 128 bytes of anything.
pub(crate) const MAGIC: &[u8] = b"DICM";
pub(crate) const MAGIC_AT: usize = 128;

const SAMPLES: u32 = 0x0028_0002;
const PHOTOMETRIC: u32 = 0x0028_0004;
const PLANAR: u32 = 0x0028_0006;
const FRAMES: u32 = 0x0028_0008;
const ROWS: u32 = 0x0028_0010;
const COLUMNS: u32 = 0x0028_0011;
const BITS_ALLOCATED: u32 = 0x0028_0100;

/// Size and orientation; the latter is always that of the pixels.
pub(crate) fn header(file: impl Read, limits: &Limits) -> Result<((u32, u32), Orientation), Fault> {
    let mut bytes = Vec::new();
    file.take(limits.max_bytes).read_to_end(&mut bytes)?;
    let picture = Picture::read(&Elements::read(&bytes)?, limits)?;
    Ok(((picture.width, picture.height), Orientation::NoTransforms))
}

/// The first frame, grey or RGB.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(DynamicImage, Orientation), Fault> {
    let elements = Elements::read(bytes)?;
    let picture = Picture::read(&elements, limits)?;
    Ok((picture.decode(&elements, limits)?, Orientation::NoTransforms))
}

/// What colours the samples are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    /// Grey, and whether the lowest value is white.
    Grey {
        inverted: bool,
    },
    Rgb,
    YCbCr,
}

struct Picture {
    width: u32,
    height: u32,
    colours: Colours,
    /// Bits of a word, 8 or 16.
    allocated: u32,
    /// Whether each colour has a plane of its own.
    planar: bool,
    frames: f64,
}

impl Picture {
    fn read(elements: &Elements<'_>, limits: &Limits) -> Result<Self, Fault> {
        let lacks = |what: &str| Fault::broken(format!("it does not tell {what}"));
        let side = |tag, what| elements.short(tag).filter(|n| *n > 0).ok_or_else(|| lacks(what));
        let (height, width) = (side(ROWS, "its rows")?, side(COLUMNS, "its columns")?);
        let allocated = side(BITS_ALLOCATED, "the bits of a sample")?;
        let name = elements.text(PHOTOMETRIC).ok_or_else(|| lacks("what its samples mean"))?;
        let samples = elements.short(SAMPLES).unwrap_or(1);
        let jpeg = elements.syntax == Syntax::Jpeg;
        let colours = match (name, samples, allocated) {
            ("MONOCHROME1" | "MONOCHROME2", 1, 8 | 16) => {
                Colours::Grey { inverted: name == "MONOCHROME1" }
            }
            ("RGB", 3, 8) if !jpeg => Colours::Rgb,
            ("YBR_FULL", 3, 8) => Colours::YCbCr,
            ("YBR_FULL_422", 3, 8) if jpeg => Colours::YCbCr,
            _ => {
                let what = format!("{name} of {samples} samples of {allocated} bits");
                return Err(Fault::unsupported(what));
            }
        };
        let (width, height) = (u32::from(width), u32::from(height));
        let pixel = u64::from(samples) * u64::from(allocated) / 8;
        limits.check(width, height, u64::from(width) * u64::from(height) * pixel)?;
        Ok(Self {
            width,
            height,
            colours,
            allocated: allocated.into(),
            planar: elements.short(PLANAR) == Some(1),
            frames: elements.number(FRAMES)?.unwrap_or(1.0),
        })
    }

    fn decode(&self, elements: &Elements<'_>, limits: &Limits) -> Result<DynamicImage, Fault> {
        let pixels = self.width as usize * self.height as usize;
        let samples = if matches!(self.colours, Colours::Grey { .. }) { 1 } else { 3 };
        let bytes = pixels * samples * self.allocated as usize / 8;
        let native = match (&elements.pixels, elements.syntax) {
            (Pixels::Native(data), Syntax::Implicit | Syntax::Explicit) => {
                data.get(..bytes).ok_or_else(Fault::cut_short)?.to_vec()
            }
            (Pixels::Encapsulated(fragments), Syntax::Rle) => {
                unpacked(fragments[0], pixels, samples * self.allocated as usize / 8)?
            }
            (Pixels::Encapsulated(fragments), Syntax::Jpeg) => {
                // Of several frames each has a fragment of its own, but for files that nobody writes.
                let of_frame = if self.frames > 1.0 { 1 } else { fragments.len() };
                let (image, _) = jpeg::decode(&fragments[..of_frame].concat(), limits)?;
                if (image.width(), image.height()) != (self.width, self.height) {
                    return Err(Fault::broken("two headers of different sizes"));
                }
                match (self.colours, image) {
                    (Colours::Grey { .. }, DynamicImage::ImageLuma8(image))
                        if self.allocated == 8 =>
                    {
                        image.into_raw()
                    }
                    (Colours::YCbCr, DynamicImage::ImageRgb8(image)) => return Ok(image.into()),
                    _ => return Err(Fault::broken("two headers of different colours")),
                }
            }
            _ => return Err(Fault::broken("its transfer syntax is not that of its pixels")),
        };
        let image = match self.colours {
            Colours::Grey { inverted } => {
                let grey = self.grey(&native, elements, inverted)?;
                GrayImage::from_raw(self.width, self.height, grey).map(DynamicImage::from)
            }
            colours => {
                let planar = self.planar || elements.syntax == Syntax::Rle;
                let sample = |pixel: usize, channel: usize| match planar {
                    true => native[channel * pixels + pixel],
                    false => native[3 * pixel + channel],
                };
                let rgb = (0..pixels).flat_map(|pixel| {
                    let samples = [0, 1, 2].map(|channel| sample(pixel, channel));
                    if colours == Colours::YCbCr { to_rgb(samples) } else { samples }
                });
                RgbImage::from_raw(self.width, self.height, rgb.collect()).map(DynamicImage::from)
            }
        };
        image.ok_or_else(Fault::cut_short)
    }

    fn grey(
        &self,
        native: &[u8],
        elements: &Elements<'_>,
        inverted: bool,
    ) -> Result<Vec<u8>, Fault> {
        let stored = Stored::read(elements, self.allocated)?;
        let levels = Levels::read(elements, stored, inverted)?;
        let (low, high) = stored.range();
        let table: Vec<u8> = (low..=high).map(|value| levels.of(value)).collect();
        let level = |word: u16| table[(stored.value(word) - low) as usize];
        Ok(match self.allocated {
            8 => native.iter().map(|byte| level((*byte).into())).collect(),
            _ => native.as_chunks().0.iter().map(|word| level(u16::from_le_bytes(*word))).collect(),
        })
    }
}

/// PS3.3 C.7.6.3.1.2, inverted.
fn to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f64::from(y), f64::from(cb) - 128.0, f64::from(cr) - 128.0);
    let green = y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr;
    [y + 1.402 * cr, green, y + 1.772 * cb].map(|level| level.round().clamp(0.0, 255.0) as u8)
}

/// A frame in run lengths: a segment for every byte of a pixel, of each sample the highest first. Bytes of words come
/// out the lowest first, samples as planes.
fn unpacked(frame: &[u8], pixels: usize, bytes: usize) -> Result<Vec<u8>, Fault> {
    let number = |at: usize| {
        let bytes = frame.get(4 * at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_le_bytes(*bytes) as usize).ok_or_else(Fault::cut_short)
    };
    if number(0)? != bytes {
        return Err(Fault::broken(format!("{} segments for {bytes} bytes a pixel", number(0)?)));
    }
    // Grey words are the only ones of several bytes here.
    let words = bytes == 2;
    let mut output = vec![0; pixels * bytes];
    for segment in 0..bytes {
        let (start, end) = (
            number(1 + segment)?,
            match segment + 1 < bytes {
                true => number(2 + segment)?,
                false => frame.len(),
            },
        );
        let mut packed = frame.get(start..end).ok_or_else(Fault::cut_short)?.iter().copied();
        let mut next = || packed.next().ok_or_else(Fault::cut_short);
        let mut done = 0;
        let mut put = |byte: u8, at: usize| {
            let place = if words { 2 * at + 1 - segment } else { segment * pixels + at };
            output[place] = byte;
        };
        while done < pixels {
            let length = next()?;
            match length {
                0..=127 => {
                    for _ in 0..(usize::from(length) + 1).min(pixels - done) {
                        put(next()?, done);
                        done += 1;
                    }
                }
                128 => {}
                _ => {
                    let byte = next()?;
                    for _ in 0..(257 - usize::from(length)).min(pixels - done) {
                        put(byte, done);
                        done += 1;
                    }
                }
            }
        }
    }
    Ok(output)
}
