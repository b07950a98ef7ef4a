//! NumPy's file format, version 1.0, for float32 matrices.

use crate::own::Mark;

/// The bytes of a `.npy` file: magic, version, length of the header, the header padded so that
/// the values begin at a multiple of 64, the values row by row.
///
/// The format has no place for a mark, but white space that no reader looks at: a mark's bits are
/// the last characters before the newline, a tab for 1 and a space for 0.
pub(crate) fn encode(
    [rows, columns]: [usize; 2],
    values: impl Iterator<Item = f32>,
    mark: Option<Mark>,
) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let bits = mark.map_or(0, |_| u64::BITS as usize);
    header.push_str(&" ".repeat(63 - (10 + header.len() + bits) % 64));
    if let Some(Mark(mark)) = mark {
        header.extend((0..bits).map(|bit| if mark >> bit & 1 == 1 { '\t' } else { ' ' }));
    }
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// The mark in the start of a file, of which so much was read that it holds the header.
pub(crate) fn mark(start: &[u8]) -> Option<Mark> {
    let (length, rest) = start.strip_prefix(MAGIC)?.split_first_chunk()?;
    let header = rest.get(..u16::from_le_bytes(*length).into())?.strip_suffix(b"\n")?;
    let bits = header.last_chunk::<{ u64::BITS as usize }>()?;
    let bit = |(at, byte): (usize, &u8)| match byte {
        b'\t' => Some(1u64 << at),
        b' ' => Some(0),
        _ => None,
    };
    let mark = bits.iter().enumerate().map(bit).sum::<Option<u64>>()?;
    (mark != 0).then_some(Mark(mark))
}
