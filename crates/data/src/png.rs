//! PNG: the critical chunks, for the decoder, and the orientation from whichever chunk holds it.

use std::io::{BufRead, Cursor, ErrorKind, Read, Seek};

use flate2::read::ZlibDecoder;

use crate::error::Fault;
use crate::metadata::Metadata;

/// Most bytes of a text or of EXIF that are looked into.
const MAX_TEXT: u64 = 4 << 20;
const SIGNATURE: u64 = 8;
const XMP: &[u8] = b"XML:com.adobe.xmp";

/// A PNG file without its ancillary chunks, and what those say about the image.
pub(crate) struct Chunks {
    /// Signature and critical chunks. Ancillary ones may be broken without harm to the pixels.
    pub(crate) critical: Vec<u8>,
    pub(crate) metadata: Metadata,
}

/// Reads all chunks up to the end mark; the pixels' own stay empty unless `pixels` is set.
pub(crate) fn chunks(mut reader: impl BufRead + Seek, pixels: bool) -> Result<Chunks, Fault> {
    let mut critical = Vec::new();
    reader.by_ref().take(SIGNATURE).read_to_end(&mut critical)?;
    let (mut metadata, mut started) = (Metadata::default(), false);
    loop {
        let mut head = [0; 8];
        match reader.read_exact(&mut head) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => break, // the decoder reports what is missing
            other => other?,
        }
        let [length @ .., a, b, c, d] = head;
        let (length, kind) = (u64::from(u32::from_be_bytes(length)), [a, b, c, d]);
        let wanted = match &kind {
            b"IDAT" => pixels || !started,
            _ if kind[0].is_ascii_uppercase() => true,
            b"eXIf" | b"tEXt" | b"zTXt" | b"iTXt" => false,
            _ => {
                reader.seek_relative(length as i64 + 4)?;
                continue;
            }
        };
        if wanted {
            critical.extend_from_slice(&head);
            let most = if kind == *b"IDAT" && !pixels { 0 } else { length + 4 };
            reader.by_ref().take(most).read_to_end(&mut critical)?;
            if most == 0 {
                reader.seek_relative(length as i64 + 4)?;
            }
            started |= kind == *b"IDAT";
        } else if kind == *b"IDAT" || length > MAX_TEXT {
            reader.seek_relative(length as i64 + 4)?;
        } else {
            let mut content = Vec::new();
            reader.by_ref().take(length).read_to_end(&mut content)?;
            reader.seek_relative(4)?;
            read_metadata(kind, content, &mut metadata);
        }
        if kind == *b"IEND" {
            break;
        }
    }
    Ok(Chunks { critical, metadata })
}

/// Keeps EXIF and XMP; a chunk that makes no sense counts as missing.
fn read_metadata(kind: [u8; 4], content: Vec<u8>, metadata: &mut Metadata) {
    if kind == *b"eXIf" {
        metadata.exif = Some(content);
        return;
    }
    let Some((keyword, rest)) = cut(&content) else { return };
    let text = match &kind {
        b"tEXt" => Some(rest.to_vec()),
        b"zTXt" => rest.strip_prefix(&[0]).and_then(inflate),
        _ => international(rest),
    };
    match (keyword, text) {
        (XMP, Some(text)) => metadata.xmp = Some(text),
        // As ImageMagick writes them, the latter with the six bytes that JPEG has before EXIF.
        (b"Raw profile type exif" | b"Raw profile type APP1", Some(text)) => {
            let exif = raw_profile(&text);
            if metadata.exif.is_none() {
                metadata.exif = exif;
            }
        }
        _ => {}
    }
}

/// The text of an iTXt chunk behind its keyword.
fn international(rest: &[u8]) -> Option<Vec<u8>> {
    let (&[compressed, _], rest) = rest.split_first_chunk()?;
    let (_language, rest) = cut(rest)?;
    let (_translated, text) = cut(rest)?;
    if compressed == 1 { inflate(text) } else { Some(text.to_vec()) }
}

/// A newline, the profile's name, its length, then its bytes in hexadecimal digits over many lines.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digit = |&byte: &u8| Some((byte as char).to_digit(16)? as u8);
    let digits: Vec<u8> =
        digits.iter().filter(|b| !b.is_ascii_whitespace()).map_while(digit).collect();
    Some(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect())
}

/// What comes before and after the first zero byte.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(Cursor::new(bytes)).take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(text)
}
