//! What a page's pixels are and how they are compressed, as the tags say.

use super::directory::Directory;
use crate::error::Fault;

pub(super) const BITS: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
pub(super) const SAMPLES: u16 = 277;
pub(super) const FAX3_OPTIONS: u16 = 292;
pub(super) const INK_SET: u16 = 332;
pub(super) const SAMPLE_FORMAT: u16 = 339;

/// Most samples a pixel, as Pillow; each costs a chunk of its own in planes.
const MAX_SAMPLES: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// CCITT modified Huffman; each row begins at a byte, or at a word of two bytes.
    Huffman {
        words: bool,
    },
    /// CCITT group 3; in the two-dimensional form rows may be coded relative to the row above.
    Group3 {
        two_dimensional: bool,
    },
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Lzma,
    Zstd,
    WebP,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    Float,
}

impl Photometric {
    /// Samples of the colour.
    pub(super) fn colours(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

pub(super) fn compression(directory: &Directory) -> Result<Compression, Fault> {
    let name = match directory.number(COMPRESSION).unwrap_or(1) {
        1 => return Ok(Compression::None),
        2 => return Ok(Compression::Huffman { words: false }),
        32771 => return Ok(Compression::Huffman { words: true }),
        3 => {
            let two_dimensional = directory.number(FAX3_OPTIONS).unwrap_or(0) & 1 == 1;
            return Ok(Compression::Group3 { two_dimensional });
        }
        4 => return Ok(Compression::Group4),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        34925 => return Ok(Compression::Lzma),
        50000 | 34926 => return Ok(Compression::Zstd),
        50001 | 34927 => return Ok(Compression::WebP),
        6 => "old-style JPEG",
        9 | 10 | 34661 => "JBIG",
        32766 => "NeXT",
        32809 => "ThunderScan",
        32908 => "PixarFilm",
        32909 => "PixarLog",
        33003 | 33004 | 33005 | 34712 => "JPEG 2000",
        34676 | 34677 => "SGILog",
        34887 => "LERC",
        34892 => "lossy JPEG of DNG",
        50002 | 52546 => "JPEG XL",
        other => return Err(Fault::unsupported(format!("compression {other}"))),
    };
    Err(Fault::unsupported(format!("{name} compression")))
}

/// Colours, samples a pixel and bits a sample.
pub(super) fn pixel(
    directory: &Directory,
    compression: Compression,
) -> Result<(Photometric, usize, u32), Fault> {
    let stored = directory.numbers(BITS).filter(|bits| !bits.is_empty()).unwrap_or_else(|| vec![1]);
    let samples = directory.number(SAMPLES);
    let photometric = match directory.number(PHOTOMETRIC) {
        Some(number) => photometric(number)?,
        // As libtiff guesses.
        None if samples.is_some_and(|samples| samples >= 3) => Photometric::Rgb,
        None => match compression {
            Compression::Huffman { .. } | Compression::Group3 { .. } | Compression::Group4 => {
                Photometric::WhiteIsZero
            }
            _ => Photometric::BlackIsZero,
        },
    };
    let colours = photometric.colours();
    let samples = samples.unwrap_or(colours as u64);
    if samples < colours as u64 {
        return Err(Fault::broken(format!("{samples} samples a pixel for {colours} colours")));
    }
    if samples > MAX_SAMPLES {
        return Err(Fault::unsupported(format!("{samples} samples a pixel")));
    }
    if photometric == Photometric::Cmyk && directory.number(INK_SET).is_some_and(|set| set > 1) {
        return Err(Fault::unsupported("inks other than CMYK"));
    }
    let bits = &stored[..stored.len().min(samples as usize)];
    if bits.iter().any(|&other| other != bits[0]) {
        return Err(Fault::unsupported(format!("samples of different depths, {bits:?} bits")));
    }
    Ok((photometric, samples as usize, u32::try_from(bits[0]).unwrap_or(u32::MAX)))
}

fn photometric(number: u64) -> Result<Photometric, Fault> {
    let name = match number {
        0 => return Ok(Photometric::WhiteIsZero),
        1 => return Ok(Photometric::BlackIsZero),
        2 => return Ok(Photometric::Rgb),
        3 => return Ok(Photometric::Palette),
        5 => return Ok(Photometric::Cmyk),
        6 => return Ok(Photometric::YCbCr),
        4 => "a transparency mask",
        8 => "CIE L*a*b* colours",
        9 => "ICC L*a*b* colours",
        10 => "ITU L*a*b* colours",
        32803 => "a colour filter array",
        32844 => "LogL luminance",
        32845 => "LogLuv colours",
        34892 => "linear raw colours",
        51177 => "a depth map",
        other => return Err(Fault::unsupported(format!("photometric interpretation {other}"))),
    };
    Err(Fault::unsupported(name))
}

/// Whether samples are floats.
pub(super) fn sample_format(directory: &Directory, bits: u32) -> Result<bool, Fault> {
    match directory.number(SAMPLE_FORMAT).unwrap_or(1) {
        1 | 4 if (1..=16).contains(&bits) => Ok(false),
        1 | 4 => Err(Fault::unsupported(format!("integers of {bits} bits"))),
        2 => Err(Fault::unsupported(format!("signed integers of {bits} bits"))),
        3 if matches!(bits, 16 | 24 | 32 | 64) => Ok(true),
        3 => Err(Fault::unsupported(format!("floats of {bits} bits"))),
        5 | 6 => Err(Fault::unsupported("complex numbers")),
        other => Err(Fault::unsupported(format!("sample format {other}"))),
    }
}
