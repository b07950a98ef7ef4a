//! Paths as text without loss: on Unix a name is bytes, JSON and CSV hold Unicode.
//!
//! A byte that is not part of valid UTF-8 is written `\xhh`, two hexadecimal digits; a backslash
//! that would read as such an escape is written `\x5c`. Every other name stands for itself.
//! The bytes come back by replacing every `\xhh`, from left to right, by its byte.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serializer};

/// A path as text; see the [module](self) for names that are not UTF-8.
///
/// ```
/// # #[cfg(unix)] {
/// use std::ffi::OsStr;
/// use std::os::unix::ffi::OsStrExt;
/// use std::path::Path;
/// assert_eq!(data::path_text::to_text(Path::new("parts/ü.png")), "parts/ü.png");
/// let latin1 = Path::new(OsStr::from_bytes(b"caf\xe9.png"));
/// assert_eq!(data::path_text::to_text(latin1), r"caf\xe9.png");
/// assert_eq!(data::path_text::from_text(r"caf\xe9.png"), latin1);
/// # }
/// ```
pub fn to_text(path: &Path) -> Cow<'_, str> {
    match path.to_str() {
        Some(text) if !text.contains(r"\x") => return Cow::Borrowed(text),
        _ => {}
    }
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(r"\x") {
            text += &rest[..at];
            text += if escaped(&rest.as_bytes()[at..]).is_some() { r"\x5c" } else { r"\" };
            rest = &rest[at + 1..];
        }
        text += rest;
        for byte in chunk.invalid() {
            write!(text, r"\x{byte:02x}").expect("a string takes any text");
        }
    }
    Cow::Owned(text)
}

/// The path that [`to_text`] wrote.
pub fn from_text(text: &str) -> PathBuf {
    let (text, mut bytes, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let byte = escaped(&text[at..]);
        bytes.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    from_bytes(bytes)
}

/// The byte that an escape at the start of a text stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = *text else { return None };
    let digit = |d: u8| char::from(d).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// The path that consists of these bytes on Unix; elsewhere the bytes are taken for UTF-8 and invalid ones replaced.
pub fn from_bytes(bytes: Vec<u8>) -> PathBuf {
    #[cfg(unix)]
    {
        <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
    }
    #[cfg(not(unix))]
    {
        String::from_utf8_lossy(&bytes).into_owned().into()
    }
}

/// For `#[serde(with = "data::path_text")]`.
///
/// # Errors
/// Those of the format.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(path))
}

/// For `#[serde(with = "data::path_text")]`.
///
/// # Errors
/// Those of the format.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    String::deserialize(deserializer).map(|text| from_text(&text))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_no_two_share_a_text() {
        let names: [&[u8]; 12] = [
            b"plain.png",
            "ü \u{1b}[31m\n.png".as_bytes(),
            b"caf\xe9.png",
            b"caf\xe8.png",
            br"caf\xe9.png",
            br"caf\x5cxe9.png",
            br"a\b\\c\x",
            b"\\\xe9",
            b"\\x\xe9",
            b"\\x4\xe9",
            b"\xff\xfe\\xFF",
            b"\xc3",
        ];
        let mut texts: Vec<String> = Vec::new();
        for name in names {
            let path = from_bytes(name.to_vec());
            let text = to_text(&path).into_owned();
            assert_eq!(from_text(&text), path, "{text}");
            texts.push(text);
        }
        assert_eq!(texts[0], "plain.png");
        assert_eq!(texts[2..5], [r"caf\xe9.png", r"caf\xe8.png", r"caf\x5cxe9.png"]);
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), names.len());
    }
}
