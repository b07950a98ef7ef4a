//! PyTorch's zip archives: state dicts (`.bin`, `.pt`) and OpenAI's TorchScript files.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickled, Value};
use super::refuse_impostor;
use super::tensors::{Tensors, View};
use crate::Error;

/// Most bytes of a pickle. It holds names and shapes alone; a CLIP's is far smaller.
const LARGEST_PICKLE: usize = 64 << 20;
/// How files from before PyTorch 1.6 start: a pickle of a ten-byte number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a";
/// Deepest nesting of modules and dictionaries.
const DEEPEST: usize = 32;
/// Most values that are visited; shared ones count each time.
const MOST_VALUES: usize = 1 << 20;

/// Adds the tensors of an archive under their dotted names.
pub(super) fn add<'a>(
    tensors: &mut Tensors<'a>,
    path: &Path,
    bytes: &'a [u8],
) -> Result<(), Error> {
    refuse_impostor(bytes, path)?;
    let error = |problem: String| Error::Archive { path: path.to_path_buf(), problem };
    let archive = Archive::open(bytes).map_err(error)?;
    let data = archive.entry("data.pkl").map_err(error)?;
    if data.len() > LARGEST_PICKLE {
        return Err(error(format!(
            "data.pkl has {} bytes, more than {LARGEST_PICKLE}",
            data.len()
        )));
    }
    let pickled = pickle::read(data).map_err(|e| error(format!("data.pkl: {e}")))?;
    let mut collector = Collector { pickled: &pickled, found: Vec::new(), seen: 0 };
    collector.collect(&pickled.root, String::new(), 0).map_err(error)?;
    for (name, tensor) in collector.found {
        let view = archive.view(tensor).map_err(|e| error(format!("{name}: {e}")))?;
        tensors.add(path, name, view)?;
    }
    Ok(())
}

/// Gathers tensors with the path of attributes and keys that leads to them.
struct Collector<'p> {
    pickled: &'p Pickled,
    found: Vec<(String, &'p pickle::Tensor)>,
    seen: usize,
}

impl<'p> Collector<'p> {
    fn collect(&mut self, value: &'p Value, name: String, depth: usize) -> Result<(), String> {
        self.seen += 1;
        if self.seen > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
        match value {
            Value::Tensor(tensor) => self.found.push((name, &self.pickled.tensors[*tensor])),
            Value::Dict(_) | Value::Object(_) if depth == DEEPEST => {
                return Err(format!("nested deeper than {DEEPEST}: {name}"));
            }
            Value::Dict(items) | Value::Object(items) => {
                for pair in self.pickled.items[*items].chunks_exact(2) {
                    // An optimizer's state has integer keys; it is not wanted here.
                    let Value::Text(key) = &pair[0] else { continue };
                    let name =
                        if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
                    self.collect(&pair[1], name, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The entries of a zip file.
struct Archive<'a> {
    bytes: &'a [u8],
    /// Name without the archive's top folder, and range of bytes; none if it is compressed, as code may be.
    entries: HashMap<String, Option<Range<usize>>>,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(LEGACY) {
            let entries = legacy_entries(bytes)?;
            return Ok(Self { bytes, entries });
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        let mut entries = HashMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(|e| e.to_string())?;
            let name = entry.name().map_err(|e| e.to_string())?.into_owned();
            let is_stored = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
            let range = if is_stored { Some(range(&entry, bytes.len())?) } else { None };
            let (_, rest) = name.split_once('/').unwrap_or(("", &name));
            if entries.insert(rest.to_string(), range).is_some() {
                return Err(format!("entry {name} is there twice"));
            }
        }
        let archive = Self { bytes, entries };
        match archive.entry("byteorder") {
            Ok(order) if order != b"little" => Err("its numbers are not little-endian".into()),
            _ => Ok(archive),
        }
    }

    fn entry(&self, name: &str) -> Result<&'a [u8], String> {
        match self.entries.get(name) {
            Some(Some(range)) => Ok(&self.bytes[range.clone()]),
            Some(None) => Err(format!("entry {name} is compressed or encrypted")),
            None => Err(format!("no entry {name}")),
        }
    }

    /// The bytes of a tensor, checked against its storage.
    fn view(&self, tensor: &pickle::Tensor) -> Result<View<'a>, String> {
        let pickle::Tensor { storage, offset, shape, strides } = tensor;
        let storage_bytes = self.entry(&format!("data/{}", storage.key))?;
        let size = storage.dtype.bitsize() / 8;
        let last = shape.iter().zip(strides).try_fold(*offset, |last, (n, stride)| {
            last.checked_add(n.checked_sub(1)?.checked_mul(*stride)?)
        });
        let range = match last {
            // No element at all.
            None if shape.contains(&0) => Some(0..0),
            None => None,
            Some(last) => offset
                .checked_mul(size)
                .zip(last.checked_add(1).and_then(|end| end.checked_mul(size)))
                .map(|(start, end)| start..end),
        };
        let bytes = range.and_then(|range| storage_bytes.get(range)).ok_or_else(|| {
            format!(
                "shape {shape:?}, strides {strides:?} and offset {offset} reach beyond the {} bytes of its storage",
                storage_bytes.len()
            )
        })?;
        let contiguous = contiguous_strides(shape);
        let strides = (contiguous.as_deref() != Some(strides)).then(|| strides.clone());
        let elements = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        // A stride of zero repeats elements; their number is bounded by the file's size all the same.
        if elements.and_then(|n| n.checked_mul(size)).is_none_or(|n| n > storage_bytes.len()) {
            return Err(format!("shape {shape:?} has more elements than its storage"));
        }
        Ok(View { bytes, dtype: storage.dtype, shape: shape.clone(), strides })
    }
}

/// Where pickle and storages lie in a file from before PyTorch 1.6: four pickles (magic number, version of
/// the format, sizes of the system, the object), one with the storages' keys, then each storage's number of
/// elements and its bytes.
///
/// Source: PyTorch `torch/serialization.py`, `_legacy_save`.
fn legacy_entries(bytes: &[u8]) -> Result<HashMap<String, Option<Range<usize>>>, String> {
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    if bytes.get(LEGACY.len()..LEGACY.len() + MAGIC.len()) != Some(&MAGIC) {
        return Err("its magic number is not PyTorch's".into());
    }
    // PROTO, LONG1 with the magic number, STOP.
    let mut at = LEGACY.len() + MAGIC.len() + 1;
    let mut next = || -> Result<(Pickled, Range<usize>), String> {
        let rest = bytes.get(at..).ok_or("it ends too early")?;
        let (pickled, length) = pickle::read_first(&rest[..rest.len().min(LARGEST_PICKLE)])?;
        let range = at..at + length;
        at = range.end;
        Ok((pickled, range))
    };
    if !matches!(next()?.0.root, Value::Int(1001)) {
        return Err("another version of the format than 1001".into());
    }
    next()?;
    let (object, data) = next()?;
    let keys = next()?.0;
    let Value::List(list) = keys.root else { return Err("no list of storages".into()) };
    let mut entries = HashMap::from([("data.pkl".to_string(), Some(data))]);
    let sizes: HashMap<&str, usize> = object
        .tensors
        .iter()
        .map(|tensor| (tensor.storage.key.as_str(), tensor.storage.dtype.bitsize() / 8))
        .collect();
    for key in &keys.items[list] {
        let Value::Text(key) = key else { return Err("a storage's key is no text".into()) };
        let size = *sizes.get(&**key).ok_or_else(|| format!("storage {key} has no tensor"))?;
        let count = bytes.get(at..).and_then(<[u8]>::first_chunk);
        let count = u64::from_le_bytes(*count.ok_or("it ends too early")?);
        let start = at + size_of::<u64>();
        let end = usize::try_from(count).ok().and_then(|n| n.checked_mul(size)?.checked_add(start));
        let end = end.filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| format!("storage {key} reaches beyond the end of the file"))?;
        if entries.insert(format!("data/{key}"), Some(start..end)).is_some() {
            return Err(format!("storage {key} is there twice"));
        }
        at = end;
    }
    Ok(entries)
}

/// Where the bytes of a stored entry lie.
fn range<R: Read>(entry: &ZipFile<'_, R>, length: usize) -> Result<Range<usize>, String> {
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
    let size = usize::try_from(entry.size()).ok();
    let end = start.zip(size).and_then(|(start, size)| start.checked_add(size));
    match (start, end) {
        (Some(start), Some(end)) if end <= length => Ok(start..end),
        _ => Err("an entry reaches beyond the end of the file".into()),
    }
}

fn contiguous_strides(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].checked_mul(strides[axis])?;
    }
    Some(strides)
}

/// The element type that a storage class of PyTorch stands for.
pub(super) fn storage_dtype(class: &str) -> Option<Dtype> {
    Some(match class {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "DoubleStorage" => Dtype::F64,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}
