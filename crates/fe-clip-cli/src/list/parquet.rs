//! One column of texts out of a Parquet file, as pandas, Polars, Spark, DuckDB and this program
//! write it: not nested, plain or with a dictionary, uncompressed or in Snappy, gzip or Zstandard.
//!
//! The crate `parquet` reads everything; it changes features of crates that the tensor library is
//! compiled with, and is three times as large as all of the rest that reads files.
//!
//! Source: apache/parquet-format 2.12, README.md and parquet.thrift.

use super::pages::{Codec, Page, texts};
use super::thrift::{Reader, Structure, Value};

pub(super) const MAGIC: &[u8] = b"PAR1";
/// Longest description of a file; a column of a row group takes a hundred bytes.
const LONGEST_FOOTER: usize = 16 << 20;

/// Why there is no column.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("not read as Parquet: {0}")]
    Damaged(&'static str),
    #[error("no column {0}")]
    NoColumn(String),
    #[error("column {0}: expected text that is not nested")]
    NoText(String),
    #[error("row {0} has no path")]
    Null(usize),
    #[error(
        "{what} number {number} is not read; write it with Snappy, gzip, Zstandard or none, and with a dictionary or plain"
    )]
    Unsupported { what: &'static str, number: i64 },
    #[error("decompressing a page")]
    Decompress(#[source] std::io::Error),
}

/// What is wrong with bytes that are no Parquet.
#[derive(Debug)]
pub(super) struct Damaged(pub(super) &'static str);

impl From<Damaged> for Error {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged.0)
    }
}

/// The values of a column, row by row.
///
/// # Errors
/// If the file is damaged, its column is missing, of another type or written otherwise, or a row
/// has none.
pub(super) fn column(file: &[u8], name: &str) -> Result<Vec<Vec<u8>>, Error> {
    let tail = file.len().checked_sub(8).ok_or(Damaged("it is cut off"))?;
    let (length, magic) = file[tail..].split_at(4);
    if magic != MAGIC {
        return Err(Damaged("it is cut off, or encrypted").into());
    }
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let start = tail.checked_sub(length).filter(|_| length <= LONGEST_FOOTER);
    let footer = &file[start.ok_or(Damaged("the length of its description is wrong"))?..tail];
    let footer = Reader(footer).structure()?;

    let optional = is_optional(&footer, name)?;
    let mut values = Vec::new();
    for group in footer.structures(4)? {
        let rows = group.size(3)?;
        // Files of a list differ, so that each takes a byte at least.
        if values.len().saturating_add(rows) > file.len() {
            return Err(Damaged("it has more rows than bytes").into());
        }
        let before = values.len();
        let chunk = chunk(group, name)?;
        read_chunk(file, chunk, optional, rows, &mut values)?;
        if values.len() - before != rows {
            return Err(Damaged("a column has fewer values than rows").into());
        }
    }
    Ok(values)
}

/// Whether a column may hold nulls.
fn is_optional(footer: &Structure<'_>, name: &str) -> Result<bool, Error> {
    const BYTE_ARRAY: i64 = 6;
    let mut elements = footer.structures(2)?.skip(1); // the root
    while let Some(element) = elements.next() {
        // What is below an element that is no column is passed over.
        let mut below = element.integer_if_any(5).unwrap_or_default();
        let is_column = below == 0;
        while below > 0 {
            let inner = elements.next().ok_or(Damaged("its schema is cut off"))?;
            below += inner.integer_if_any(5).unwrap_or_default().max(0) - 1;
        }
        if element.bytes(4) == Some(name.as_bytes()) {
            let (kind, repetition) = (element.integer_if_any(1), element.integer_if_any(3));
            return match (is_column, kind, repetition) {
                (true, Some(BYTE_ARRAY), Some(repetition @ (0 | 1))) => Ok(repetition == 1),
                _ => Err(Error::NoText(name.into())),
            };
        }
    }
    Err(Error::NoColumn(name.into()))
}

/// The description of a column's values in a group of rows.
fn chunk<'a, 'b>(group: &'b Structure<'a>, name: &str) -> Result<&'b Structure<'a>, Error> {
    for column in group.structures(1)? {
        let chunk = column.structure(3)?;
        if let [Value::Bytes(path)] = chunk.list(3)?
            && *path == name.as_bytes()
        {
            return Ok(chunk);
        }
    }
    Err(Error::NoColumn(name.into()))
}

fn read_chunk(
    file: &[u8],
    chunk: &Structure<'_>,
    optional: bool,
    rows: usize,
    values: &mut Vec<Vec<u8>>,
) -> Result<(), Error> {
    let codec = Codec::of(chunk.integer(4)?)?;
    let data = chunk.size(9)?;
    let start = match chunk.integer_if_any(11) {
        // Some writers say 0 where there is none.
        Some(dictionary) if dictionary > 0 => data.min(dictionary as usize),
        _ => data,
    };
    let bytes = file.get(start..).ok_or(Damaged("a column begins behind the end"))?;
    let mut reader = Reader(bytes);
    let mut dictionary: Option<Vec<Vec<u8>>> = None;
    let end = values.len() + rows;
    while values.len() < end {
        let page = Page::read(&mut reader, codec)?;
        match page {
            Page::Dictionary { values, .. } if values > rows => {
                return Err(Damaged("a dictionary has more values than the column").into());
            }
            Page::Dictionary { values, plain } => dictionary = Some(texts(&plain, values)?),
            Page::Data(data) => {
                if values.len() + data.values > end {
                    return Err(Damaged("a column has more values than rows").into());
                }
                data.decode(optional, dictionary.as_deref(), values)?;
            }
            Page::Other => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::parquet::{Column, Values, encode};

    #[test]
    fn what_this_program_writes_is_read() {
        let names: Vec<String> = (0..300).map(|n| format!("parts/{n}.png")).collect();
        let texts = names.iter().map(|name| Some(name.as_str())).collect();
        let numbers = (0..300).map(Some).collect();
        let file = encode(
            &[
                Column { name: "score", values: Values::Integer(numbers) },
                Column { name: "path", values: Values::Text(texts) },
            ],
            "test",
        );
        let found = column(&file, "path").unwrap();
        assert!(found.iter().map(Vec::as_slice).eq(names.iter().map(String::as_bytes)));
        let no_text = column(&file, "score").unwrap_err().to_string();
        assert!(no_text.contains("score") && no_text.contains("text"), "{no_text}");
        assert!(matches!(column(&file, "file"), Err(Error::NoColumn(_))));
        let holes = Column { name: "path", values: Values::Text(vec![Some("a"), None]) };
        assert!(matches!(column(&encode(&[holes], "test"), "path"), Err(Error::Null(2))));
        // Damage is an error and nothing else.
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0xff;
            _ = column(&damaged, "path");
            assert!(column(&file[..at], "path").is_err());
        }
    }

    #[test]
    fn what_the_usual_writers_write_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lists");
        let expected: Vec<Vec<u8>> =
            (0..40).map(|i| format!("parts/ü{}/image, {i}.png", i % 9).into_bytes()).collect();
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "parquet") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let file = std::fs::read(&path).unwrap();
            let found = column(&file, "path");
            match name {
                "brotli" | "delta" => {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains("is not read"), "{name}: {error}");
                    continue;
                }
                _ => assert_eq!(found.unwrap(), expected, "{name}"),
            }
            read += 1;
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] = damaged[at].wrapping_add(1);
                _ = column(&damaged, "path");
            }
        }
        assert_eq!(read, 9);
    }
}
