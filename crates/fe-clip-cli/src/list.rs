//! `--list FILE`: paths of images from a text, a table or a dump of JSON.

mod pages;
mod parquet;
mod thrift;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use data::path_text::{from_bytes, from_text};

use crate::remote;

/// Name of the column, or of the key, that holds the paths.
const COLUMN: &str = "path";

/// The paths of a file: of its column `path` if it is Parquet, known by its content, or ends in
/// `.csv`, `.jsonl` or `.ndjson`; else of its lines, as on standard input.
///
/// # Errors
/// If it cannot be read, or a row has no path.
pub(crate) fn paths(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let content = match remote::is_address(file) {
        true => remote::read(file).context("--list")?,
        false => std::fs::read(file).with_context(|| format!("--list {}", file.display()))?,
    };
    let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let paths = match ending.as_deref() {
        _ if content.starts_with(parquet::MAGIC) => parquet::column(&content, COLUMN)
            .map(|texts| texts.iter().map(|text| path(text)).collect())
            .map_err(anyhow::Error::from),
        Some("csv") => csv(&content),
        Some("jsonl" | "ndjson") => jsonl(&content),
        _ => Ok(lines(content)),
    };
    let paths = paths.with_context(|| format!("--list {}", file.display()))?;
    if paths.is_empty() {
        bail!("--list {}: no path in it", file.display());
    }
    Ok(paths)
}

/// The path that a table's text stands for; bytes that are no text are taken as they are.
fn path(text: &[u8]) -> PathBuf {
    std::str::from_utf8(text).map_or_else(|_| from_bytes(text.to_vec()), from_text)
}

fn csv(content: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(content);
    let place = reader.byte_headers()?.iter().position(|name| name == COLUMN.as_bytes());
    let place = place.with_context(|| format!("no column {COLUMN} in its first line"))?;
    let mut paths = Vec::new();
    for row in reader.byte_records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        match row.get(place) {
            Some(text) if !text.is_empty() => paths.push(path(text)),
            _ => bail!("line {line} has no {COLUMN}"),
        }
    }
    Ok(paths)
}

fn jsonl(content: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Row {
        path: String,
    }
    let mut paths = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_slice(line).with_context(|| format!("line {number}"))?;
        paths.push(from_text(&row.path));
    }
    Ok(paths)
}

/// The paths of a list: a line each, or with a NUL behind each, as `find -print0` writes it. A
/// path is bytes, whatever they mean; only UTF-16, known by its byte order mark, is decoded.
pub(crate) fn lines(list: Vec<u8>) -> Vec<PathBuf> {
    let list = match &list[..] {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] => text.to_vec(),
        _ => list,
    };
    let separator = if list.contains(&0) { 0 } else { b'\n' };
    let paths = list.split(|byte| *byte == separator).map(|path| match separator {
        0 => path,
        _ => path.strip_suffix(b"\r").unwrap_or(path),
    });
    let paths = paths.filter(|path| !path.is_empty());
    paths.map(|path| from_bytes(path.to_vec())).collect()
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units: Vec<u16> = text.as_chunks().0.iter().map(|bytes| unit(*bytes)).collect();
    String::from_utf16_lossy(&units).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_kind_are_read() {
        let expected = ["a b.png", "ü/c.png"].map(PathBuf::from);
        let text = "a b.png\r\nü/c.png\n\n";
        let units = |bytes: fn(u16) -> [u8; 2]| {
            "\u{feff}a b.png\r\nü/c.png".encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
        };
        for list in [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            units(u16::to_le_bytes),
            units(u16::to_be_bytes),
            "a b.png\0ü/c.png\0".as_bytes().to_vec(),
        ] {
            assert_eq!(lines(list), expected);
        }
        let latin1 = lines(b"caf\xe9.png\nnew\n".to_vec());
        assert_eq!(latin1, [from_bytes(b"caf\xe9.png".to_vec()), PathBuf::from("new")]);
        assert_eq!(lines(b"new\nline.png\0".to_vec()), [PathBuf::from("new\nline.png")]);
        assert!(lines(Vec::new()).is_empty());
    }

    /// What is read of a file, or why not.
    fn read(name: &str, content: &[u8]) -> Result<Vec<PathBuf>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        paths(&file).map_err(|error| {
            let text = format!("{error:#}");
            assert!(text.contains(file.to_str().unwrap()), "{text}");
            text
        })
    }

    #[test]
    fn tables_and_json_have_a_column_of_paths() {
        let latin1 = from_bytes(b"caf\xe9.png".to_vec());
        let expected = vec![PathBuf::from("a, b.png"), latin1];
        let csv = b"\xef\xbb\xbfscore,path\r\n0.5,\"a, b.png\"\r\n0.1,caf\\xe9.png\r\n";
        assert_eq!(read("list.CSV", csv), Ok(expected.clone()));
        assert_eq!(read("list.csv", b"path\n\"a, b.png\"\ncaf\xe9.png\n"), Ok(expected.clone()));
        let json = br#"{"path": "a, b.png", "score": 1}

{"path":"caf\\xe9.png"}"#;
        assert_eq!(read("list.jsonl", json), Ok(expected.clone()));
        assert_eq!(read("list.ndjson", json), Ok(expected));
        assert_eq!(read("list.txt", b"path\na\n").unwrap().len(), 2);
    }

    #[test]
    fn what_has_no_paths_is_named_with_its_line() {
        for (name, content, words) in [
            ("a.csv", &b"file\nx.png\n"[..], "no column path"),
            ("a.csv", b"path,x\na,1\n,2\n", "line 3 has no path"),
            ("a.csv", b"x,path\n1,a\n2\n", "line 3 has no path"),
            ("a.jsonl", b"{\"path\":\"a\"}\n{\"file\":\"b\"}\n", "line 2"),
            ("a.jsonl", b"a.png\n", "line 1"),
            ("a.jsonl", b"\n\n", "no path in it"),
            ("a.txt", b"", "no path in it"),
            ("a.parquet", b"PAR1", "cut off"),
        ] {
            let error = read(name, content).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let missing = paths(Path::new("missing.txt")).unwrap_err();
        assert!(format!("{missing:#}").contains("missing.txt"), "{missing:#}");
    }
}
