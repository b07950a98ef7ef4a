//! Graph and constants into files, one constant after the other.
//!
//! A model is one protobuf message whose constants are looked up as they are written: what comes
//! before them holds their lengths alone. Beyond the limit of a message the weights lie in a file
//! beside it, at offsets that a runtime can map into memory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use prost::{Message, encode_length_delimiter, length_delimiter_len};

use super::initializer::Initializer;
use super::proto::{
    EXTERNAL, GRAPH_KEY, GraphProto, INITIALIZER_KEY, ModelProto, RAW_DATA_KEY,
    StringStringEntryProto,
};
use super::settings::{Exported, data_file};
use crate::Error;
use crate::files::AtomicFile;

/// Smaller weights stay in the model's own file.
const SMALL: u64 = 1024;
/// Weights begin at multiples of a page.
const PAGE: u64 = 4096;

/// A constant as it stands in the model's own file.
struct Piece<'a> {
    constant: &'a Initializer<'a>,
    /// The encoded message without the numbers.
    head: Vec<u8>,
    /// Where the numbers begin in the other file, if they lie there.
    offset: Option<u64>,
}

impl Piece<'_> {
    /// Length of the message.
    fn len(&self) -> usize {
        let numbers = self.constant.len() as usize;
        let inline = 1 + length_delimiter_len(numbers) + numbers;
        self.head.len() + if self.offset.is_none() { inline } else { 0 }
    }

    /// All of the message but numbers that are in it, with its key and length.
    fn frame(&self) -> Vec<u8> {
        let mut bytes = vec![INITIALIZER_KEY];
        put_length(self.len(), &mut bytes);
        bytes.extend(&self.head);
        if self.offset.is_none() {
            bytes.push(RAW_DATA_KEY);
            put_length(self.constant.len() as usize, &mut bytes);
        }
        bytes
    }

    /// Length with key and length.
    fn framed_len(&self) -> usize {
        1 + length_delimiter_len(self.len()) + self.len()
    }
}

/// Writes a model; `model` has no graph and `graph` no constants.
pub(super) fn write(
    path: &Path,
    model: &ModelProto,
    graph: &GraphProto,
    constants: &[Initializer<'_>],
    inline_limit: u64,
) -> Result<Exported, Error> {
    let (model, graph) = (model.encode_to_vec(), graph.encode_to_vec());
    let length =
        |pieces: &[Piece<'_>]| graph.len() + pieces.iter().map(Piece::framed_len).sum::<usize>();
    let total = |pieces: &[Piece<'_>]| {
        let graph = length(pieces);
        (model.len() + 1 + length_delimiter_len(graph) + graph) as u64
    };
    let mut pieces: Vec<Piece<'_>> = constants
        .iter()
        .map(|constant| Piece { constant, head: constant.head().encode_to_vec(), offset: None })
        .collect();
    let mut file = AtomicFile::create(path)?;
    let mut bytes = 0;
    let data = if total(&pieces) > inline_limit {
        if file.is_direct() {
            let reason = "weights of this size go to a file beside it: expected a regular file";
            return Err(Error::invalid(path, reason));
        }
        place(&mut pieces, path)?;
        let data = write_data(path, &pieces)?;
        bytes += pieces.iter().filter_map(end).max().unwrap_or(0);
        Some(data)
    } else {
        None
    };
    bytes += total(&pieces);

    let mut head = model;
    head.push(GRAPH_KEY);
    put_length(length(&pieces), &mut head);
    head.extend(graph);
    file.write(&head)?;
    for piece in &pieces {
        file.write(&piece.frame())?;
        if piece.offset.is_none() {
            file.write(&piece.constant.bytes()?)?;
        }
    }
    let data = match data {
        Some(data) => {
            // No moment at which an old model stands beside new weights.
            match fs::remove_file(path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(path, e)),
                _ => {}
            }
            data.finish()?;
            Some(data_file(path))
        }
        None => None,
    };
    file.finish()?;
    Ok(Exported { bytes, data })
}

/// Gives each large weight its place in the other file.
fn place(pieces: &mut [Piece<'_>], path: &Path) -> Result<(), Error> {
    let data = data_file(path);
    let location = data.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::invalid(path, "the file of the weights is named inside the model: expected UTF-8")
    })?;
    let mut at = 0u64;
    for piece in pieces {
        let length = piece.constant.len();
        if !piece.constant.is_weight() || length < SMALL {
            continue;
        }
        at = at.next_multiple_of(PAGE);
        let mut head = piece.constant.head();
        let entry =
            |(key, value): (&str, String)| StringStringEntryProto { key: key.into(), value };
        let entries = [
            ("location", location.to_owned()),
            ("offset", at.to_string()),
            ("length", length.to_string()),
        ];
        head.external_data = entries.into_iter().map(entry).collect();
        head.data_location = Some(EXTERNAL);
        piece.head = head.encode_to_vec();
        piece.offset = Some(at);
        at += length;
    }
    Ok(())
}

fn write_data(path: &Path, pieces: &[Piece<'_>]) -> Result<AtomicFile, Error> {
    let mut data = AtomicFile::create(&data_file(path))?;
    let mut at = 0;
    for piece in pieces {
        let Some(offset) = piece.offset else { continue };
        data.write(&vec![0; (offset - at) as usize])?;
        data.write(&piece.constant.bytes()?)?;
        at = offset + piece.constant.len();
    }
    Ok(data)
}

/// Where the numbers of a constant end in the other file.
fn end(piece: &Piece<'_>) -> Option<u64> {
    piece.offset.map(|offset| offset + piece.constant.len())
}

fn put_length(length: usize, bytes: &mut Vec<u8>) {
    encode_length_delimiter(length, bytes).expect("a vector grows");
}
