//! YCbCr that the codec leaves unconverted: the integer arithmetic of libtiff's `tif_color.c`.

use super::directory::Directory;
use crate::error::Fault;

pub(super) const COEFFICIENTS: u16 = 529;
pub(super) const SUBSAMPLING: u16 = 530;
pub(super) const REFERENCE: u16 = 532;

const SHIFT: u32 = 16;
const HALF: i32 = 1 << (SHIFT - 1);

/// Luma samples for one of chroma, across and down.
pub(super) fn subsampling(directory: &Directory) -> Result<(u32, u32), Fault> {
    let steps = directory.numbers(SUBSAMPLING).unwrap_or_else(|| vec![2, 2]);
    match *steps {
        [across @ (1 | 2 | 4), down @ (1 | 2 | 4), ..] => Ok((across as u32, down as u32)),
        _ => Err(Fault::unsupported(format!("YCbCr subsampled by {steps:?}"))),
    }
}

/// Y, Cb and Cr of each pixel, from blocks of luma samples that are each followed by their chroma.
pub(super) fn expand(
    blocks: &[u8],
    width: usize,
    rows: usize,
    (across, down): (u32, u32),
) -> Vec<u8> {
    let (across, down) = (across as usize, down as usize);
    let (block, per_row) = (across * down + 2, width.div_ceil(across));
    let mut pixels = vec![0; width * rows * 3];
    for (y, row) in pixels.chunks_exact_mut(width * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let block = &blocks[(y / down * per_row + x / across) * block..][..block];
            let luma = block[y % down * across + x % across];
            pixel.copy_from_slice(&[luma, block[block.len() - 2], block[block.len() - 1]]);
        }
    }
    pixels
}

/// Tables of the sums in the conversion.
pub(super) struct Converter {
    luma: [i32; 256],
    red: [i32; 256],
    blue: [i32; 256],
    green_of_red: [i32; 256],
    green_of_blue: [i32; 256],
}

impl Converter {
    pub(super) fn new(directory: &Directory) -> Self {
        let stored = |tag, otherwise: &[f32]| {
            let numbers =
                directory.fractions(tag).filter(|numbers| numbers.len() >= otherwise.len());
            numbers.unwrap_or_else(|| otherwise.to_vec())
        };
        let luma = stored(COEFFICIENTS, &[0.299, 0.587, 0.114]);
        let range = stored(REFERENCE, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]);
        let fixed = |factor: f32| (factor.clamp(0.0, 2.0) * (1 << SHIFT) as f32 + 0.5) as i32;
        let (red, blue) = (2.0 - 2.0 * luma[0], 2.0 - 2.0 * luma[2]);
        let (of_red, of_blue) = (-fixed(luma[0] * red / luma[1]), -fixed(luma[2] * blue / luma[1]));
        let (red, blue) = (fixed(red), fixed(blue));
        /// A code between two reference codes, as a value from 0 to `most`.
        fn value(code: f32, black: f32, white: f32, most: f32) -> i32 {
            let span = if white == black { 1.0 } else { white - black };
            ((code - black) * most / span).clamp(-128.0 * 32.0, 128.0 * 32.0) as i32
        }
        let chroma = |code: usize, at: usize| {
            value(code as f32 - 128.0, range[at] - 128.0, range[at + 1] - 128.0, 127.0)
        };
        Self {
            luma: std::array::from_fn(|code| value(code as f32, range[0], range[1], 255.0)),
            red: std::array::from_fn(|code| (red * chroma(code, 4) + HALF) >> SHIFT),
            blue: std::array::from_fn(|code| (blue * chroma(code, 2) + HALF) >> SHIFT),
            green_of_red: std::array::from_fn(|code| of_red * chroma(code, 4)),
            green_of_blue: std::array::from_fn(|code| of_blue * chroma(code, 2) + HALF),
        }
    }

    pub(super) fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (self.luma[usize::from(y)], usize::from(cb), usize::from(cr));
        let green = (self.green_of_blue[cb] + self.green_of_red[cr]) >> SHIFT;
        [y + self.red[cr], y + green, y + self.blue[cb]].map(|level| level.clamp(0, 255) as u8)
    }
}
