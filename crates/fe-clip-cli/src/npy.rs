//! NumPy's file format, version 1.0, for float32 matrices.

/// The bytes of a `.npy` file: magic, version, length of the header, the header padded so that
/// the values begin at a multiple of 64, the values row by row.
pub(crate) fn encode([rows, columns]: [usize; 2], values: impl Iterator<Item = f32>) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}
