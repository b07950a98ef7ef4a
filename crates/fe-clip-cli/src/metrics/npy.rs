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
    /// bool or uint8
    Byte,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Byte => 1,
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
        let (element, big_endian) = match entry(header, "descr")?.trim_matches(['\'', '"']) {
            "<f2" => (Element::Half, false),
            ">f2" => (Element::Half, true),
            "<f4" => (Element::Single, false),
            ">f4" => (Element::Single, true),
            "<f8" => (Element::Double, false),
            ">f8" => (Element::Double, true),
            "|b1" | "|u1" => (Element::Byte, false),
            other => {
                bail!("expected float16, float32, float64, bool or uint8, got the type {other}")
            }
        };
        let shape = entry(header, "shape")?.trim_matches(['(', ')']);
        let axes = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape: Vec<usize> = axes.map(str::parse).collect::<Result<_, _>>().context("shape")?;
        ensure!(
            entry(header, "fortran_order")? == "False" || shape.len() < 2,
            "is in Fortran order; save numpy.ascontiguousarray(array)"
        );
        let length = shape.iter().try_fold(element.size(), |size, &axis| size.checked_mul(axis));
        let there = map.len() - offset;
        let length = length.context("its shape is larger than any memory")?;
        ensure!(
            length == there,
            "expected {length} bytes of data for the shape {shape:?}, got {there}"
        );
        Ok(Self { path: path.to_owned(), map, offset, shape, element, big_endian })
    }

    /// The shape, if it has `N` axes.
    pub(crate) fn shape<const N: usize>(&self) -> Result<[usize; N]> {
        self.shape.as_slice().try_into().ok().with_context(|| {
            format!("{}: expected {N} axes, got the shape {:?}", self.path.display(), self.shape)
        })
    }

    pub(crate) fn require(&self, float: bool) -> Result<()> {
        let (kind, is) =
            if float { ("floats", "truth values") } else { ("bool or uint8", "floats") };
        ensure!(
            (self.element != Element::Byte) == float,
            "{}: expected {kind}, got {is}",
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

    /// Whether some elements of bool or uint8 differ from 0, in row order.
    pub(crate) fn truths(&self, range: Range<usize>) -> Vec<bool> {
        self.bytes(range).iter().map(|&byte| byte != 0).collect()
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
        &self.map[self.offset + range.start * size..self.offset + range.end * size]
    }
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
