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
    let blank = mark.map(Mark::blank).unwrap_or_default();
    header.push_str(&" ".repeat(63 - (10 + header.len() + blank.len()) % 64));
    header.push_str(&blank);
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
    Mark::parse_blank(header)
}
