use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use memmap2::Mmap;

/// A memory-mapped `.npy` file of floats or truth values, read piece by piece.
pub(crate) struct Npy {
    pub(crate) path: PathBuf,
    map: Mmap,
    /// The elements in row order, where the file has them column by column.
    rows: Option<Vec<u8>>,
    /// Where the elements start.
    offset: usize,
    shape: Vec<usize>,
    pub(crate) element: Element,
    big_endian: bool,
}

/// Types of elements that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Half,
    Single,
    Double,
    /// bool, or an integer of so many bytes
    Integer(usize),
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Integer(size) => size,
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
        }
    }
}

impl Npy {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::map(path).with_context(|| path.display().to_string())
    }

    fn map(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read. As with every mapped file, another program must not truncate or change the
        // file meanwhile; the documentation of the command says so.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        let (header, offset) = header(&map)?;
        let dtype = entry(header, "descr")?.trim_matches(['\'', '"']);
        let big_endian = dtype.starts_with('>');
        let element = match dtype.trim_start_matches(['<', '>', '|', '=']) {
            "f2" => Element::Half,
            "f4" => Element::Single,
            "f8" => Element::Double,
            "b1" | "i1" | "u1" => Element::Integer(1),
            "i2" | "u2" => Element::Integer(2),
            "i4" | "u4" => Element::Integer(4),
            "i8" | "u8" => Element::Integer(8),
            "O" => bail!("holds Python objects, which are not read; save array.astype(float)"),
            _ => bail!(
                "expected bool, an integer, float16, float32 or float64, got the type {dtype}"
            ),
        };
        let shape = entry(header, "shape")?.trim_matches(['(', ')']);
        // Python 2 wrote 3L.
        let axes = shape.split(',').map(|axis| axis.trim().trim_end_matches('L'));
        let axes = axes.filter(|axis| !axis.is_empty());
        let shape: Vec<usize> = axes.map(str::parse).collect::<Result<_, _>>().context("shape")?;
        let fortran = entry(header, "fortran_order")? == "True" && shape.len() > 1;
        let length = shape.iter().try_fold(element.size(), |size, &axis| size.checked_mul(axis));
        let there = map.len() - offset;
        let length = length.context("its shape is larger than any memory")?;
        ensure!(
            length == there,
            "expected {length} bytes of data for the shape {shape:?}, got {there}"
        );
        let rows = fortran.then(|| in_row_order(&map[offset..], &shape, element.size()));
        Ok(Self { path: path.to_owned(), map, rows, offset, shape, element, big_endian })
    }

    /// The shape, if it has `N` axes.
    pub(crate) fn shape<const N: usize>(&self) -> Result<[usize; N]> {
        self.shape.as_slice().try_into().ok().with_context(|| {
            format!("{}: expected {N} axes, got the shape {:?}", self.path.display(), self.shape)
        })
    }

    pub(crate) fn require_floats(&self) -> Result<()> {
        ensure!(
            !matches!(self.element, Element::Integer(_)),
            "{}: expected floats, got truth values or integers",
            self.path.display()
        );
        Ok(())
    }

    /// Some elements of float16 or float32, in row order.
    pub(crate) fn singles(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        match self.element {
            Element::Half => {
                let half = |bytes| f16::from_bits(u16::from_le_bytes(bytes)).to_f32();
                Cow::Owned(self.decode(range, half))
            }
            _ => self.borrow(range, f32::from_le_bytes),
        }
    }

    /// Some elements of float64, in row order.
    pub(crate) fn doubles(&self, range: Range<usize>) -> Cow<'_, [f64]> {
        self.borrow(range, f64::from_le_bytes)
    }

    /// Whether some elements differ from 0, in row order.
    ///
    /// # Errors
    /// If floats are others than 0, 1 and 255: then they are no truth values but scores.
    pub(crate) fn truths(&self, range: Range<usize>) -> Result<Vec<bool>> {
        let truth = |value: f64| match value {
            0.0 => Ok(false),
            1.0 | 255.0 => Ok(true),
            _ => bail!("{}: expected truth values, 0 or 1, got {value}", self.path.display()),
        };
        match self.element {
            Element::Integer(1) => Ok(self.bytes(range).iter().map(|&byte| byte != 0).collect()),
            Element::Integer(size) => {
                let elements = self.bytes(range).chunks_exact(size);
                Ok(elements.map(|bytes| bytes.iter().any(|&byte| byte != 0)).collect())
            }
            Element::Double => self.doubles(range).iter().map(|&value| truth(value)).collect(),
            _ => self.singles(range).iter().map(|&value| truth(value.into())).collect(),
        }
    }

    /// Elements in place where the file stores them as the machine does.
    fn borrow<const SIZE: usize, T: bytemuck::AnyBitPattern>(
        &self,
        range: Range<usize>,
        from_little_endian: impl Fn([u8; SIZE]) -> T,
    ) -> Cow<'_, [T]> {
        match bytemuck::try_cast_slice(self.bytes(range.clone())) {
            Ok(elements) if self.big_endian == cfg!(target_endian = "big") => {
                Cow::Borrowed(elements)
            }
            _ => Cow::Owned(self.decode(range, from_little_endian)),
        }
    }

    fn decode<const SIZE: usize, T>(
        &self,
        range: Range<usize>,
        from_little_endian: impl Fn([u8; SIZE]) -> T,
    ) -> Vec<T> {
        let (elements, _) = self.bytes(range).as_chunks::<SIZE>();
        let decode = |&(mut bytes): &[u8; SIZE]| {
            if self.big_endian {
                bytes.reverse();
            }
            from_little_endian(bytes)
        };
        elements.iter().map(decode).collect()
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let size = self.element.size();
        let elements = self.rows.as_deref().unwrap_or(&self.map[self.offset..]);
        &elements[range.start * size..range.end * size]
    }
}

/// Elements of `size` bytes that lie with the first axis fastest, with the last one fastest.
fn in_row_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    let strides = shape.iter().scan(size, |stride, axis| {
        let own = *stride;
        *stride *= axis;
        Some(own)
    });
    let strides: Vec<usize> = strides.collect();
    let mut place = 0;
    while rows.len() < bytes.len() {
        rows.extend_from_slice(&bytes[place..place + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            place += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            place -= index[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    rows
}

/// The header, a Python dictionary, and where the elements start.
///
/// Source: NumPy's NEP 1, versions 1.0 to 3.0.
fn header(bytes: &[u8]) -> Result<(&str, usize)> {
    let (start, length) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            (10, u16::from_le_bytes([*a, *b]).into())
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => bail!("is not an .npy file"),
    };
    let text = bytes[start..].get(..length).context("ends inside its header")?;
    Ok((std::str::from_utf8(text).context("header")?, start + length))
}

/// The value of a key of the header, up to the comma that follows it.
fn entry<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    let (_, rest) =
        header.split_once(key).with_context(|| format!("its header lacks the key {key}"))?;
    let value = rest.trim_start_matches(['\'', '"', ' ', ':']);
    let end = if value.starts_with('(') { value.find(')') } else { value.find([',', '}']) };
    Ok(value[..end.unwrap_or(value.len())].trim_end())
}
