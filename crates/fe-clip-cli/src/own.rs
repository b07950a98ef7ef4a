//! Files that this program made, known again by marks inside: no run takes its pictures for
//! inputs, and nothing is replaced but what was made of the same input.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::bail;
use data::path_text::to_text;
use fe_clip::files::{sha256_of_lines, write_atomic, write_new};

use crate::{boxes, names, npy, remote};

/// Value of PNG's keyword `Software` and of TIFF's tag of that name.
pub(crate) const SOFTWARE: &str = "fe-clip";
/// PNG's keyword of a [`Mark`], which is 16 hexadecimal digits.
const INPUT: &str = "fe-clip-input";
const DIGITS: usize = 16;
/// Where the first chunk after the header of a PNG begins.
const AFTER_HEADER: usize = 33;
/// TIFF's tag Software, and DocumentName, which holds a [`Mark`].
const TIFF_SOFTWARE: u16 = 305;
pub(crate) const TIFF_MARK: u16 = 269;
/// TIFF's type of text.
const TIFF_ASCII: u16 = 2;
/// Bytes from a file's start on that hold every mark but TIFF's.
const START: u64 = 1024;

/// Why a file is not replaced.
pub(crate) const NOT_OURS: &str = "there is a file of this name that fe-clip did not make; it stays as it is, choose another --out";

/// Which input a picture or map was made of: a hash of its absolute path, so that a picture that
/// is passed on does not tell how its maker's folders are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u64);

impl Mark {
    pub(crate) fn of(input: &Path) -> Self {
        let hash = sha256_of_lines(&[to_text(&names::absolute(input)).into_owned()]);
        // 0 stands for no mark in maps.
        Self(u64::from_str_radix(&hash[..DIGITS], 16).unwrap_or(0).max(1))
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(Self)
    }

    /// White space that stands for it where a format has no other place: a tab for a bit that is
    /// set, a space for one that is not, the lowest first.
    pub(crate) fn blank(self) -> String {
        (0..u64::BITS).map(|bit| if self.0 >> bit & 1 == 1 { '\t' } else { ' ' }).collect()
    }

    /// The mark that the white space at the end of a line stands for.
    pub(crate) fn parse_blank(line: &[u8]) -> Option<Self> {
        let bits = line.last_chunk::<{ u64::BITS as usize }>()?;
        let bit = |(at, byte): (usize, &u8)| match byte {
            b'\t' => Some(1u64 << at),
            b' ' => Some(0),
            _ => None,
        };
        let mark = bits.iter().enumerate().map(bit).sum::<Option<u64>>()?;
        (mark != 0).then_some(Self(mark))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a name is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupant {
    Nothing,
    /// A folder, a device or a pipe.
    NotAFile,
    /// What this program made, and of which input, if it says so.
    Ours(Option<Mark>),
    /// A file that this program did not make.
    Foreign,
}

/// Finds out by what a path is taken.
pub(crate) fn occupant(path: &Path) -> Occupant {
    if path.symlink_metadata().is_err() {
        return Occupant::Nothing;
    }
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Occupant::NotAFile;
    }
    // What cannot be read is nothing to replace either.
    File::open(path).and_then(read_marks).unwrap_or(Occupant::Foreign)
}

/// Who made a file, by its content.
pub(crate) fn maker(content: &[u8]) -> Occupant {
    read_marks(Cursor::new(content)).unwrap_or(Occupant::Foreign)
}

/// Whether a file is a picture with the mark; not if it cannot be read.
pub(crate) fn is_own(path: &Path) -> bool {
    matches!(occupant(path), Occupant::Ours(_))
}

/// Marks a PNG as this program's, and as made of an input, if one is given.
pub(crate) fn mark_png(mut png: Vec<u8>, mark: Option<Mark>) -> Vec<u8> {
    let input = mark.map(|mark| text_chunk(INPUT, &mark.to_string()));
    let chunks = [text_chunk("Software", SOFTWARE), input.unwrap_or_default()].concat();
    png.splice(AFTER_HEADER..AFTER_HEADER, chunks);
    png
}

/// PNG's chunk `tEXt`.
fn text_chunk(keyword: &str, text: &str) -> Vec<u8> {
    let content = [b"tEXt", keyword.as_bytes(), b"\0", text.as_bytes()].concat();
    let length = (content.len() - 4) as u32;
    let crc = crc32fast::hash(&content);
    [&length.to_be_bytes()[..], &content, &crc.to_be_bytes()].concat()
}

/// Writes what was made of an input, in place of what was made of the same before. Returns whether
/// it did: not where another input's output stands.
///
/// # Errors
/// If there is a file that this program did not make, or the file cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8], mark: Mark) -> anyhow::Result<bool> {
    if remote::is_address(path) {
        return remote::write(path, bytes, mark);
    }
    loop {
        match occupant(path) {
            // Another run may be quicker; then the next look finds its file.
            Occupant::Nothing if !write_new(path, bytes)? => {}
            Occupant::Nothing => return Ok(true),
            Occupant::Ours(found) if found != Some(mark) => return Ok(false),
            Occupant::Ours(_) | Occupant::NotAFile => {
                return Ok(write_atomic(path, bytes).map(|()| true)?);
            }
            Occupant::Foreign => bail!("{}: {NOT_OURS}", path.display()),
        }
    }
}

/// Reads the marks in a file.
fn read_marks(mut file: impl Read + Seek) -> std::io::Result<Occupant> {
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start)?;
    let mark = match start[..] {
        [0x89, b'P', b'N', b'G', ..] => {
            let chunks = start.get(AFTER_HEADER..).unwrap_or(&[]);
            let own = chunks.strip_prefix(&text_chunk("Software", SOFTWARE)[..]);
            own.map(png_mark)
        }
        [b'I', b'I', 42, 0, ..] => tiff_mark(&mut file, &start)?,
        _ => npy::mark(&start).or_else(|| boxes::mark(&start)).map(Some),
    };
    Ok(mark.map_or(Occupant::Foreign, Occupant::Ours))
}

/// The mark in the chunk that these bytes begin with.
fn png_mark(chunks: &[u8]) -> Option<Mark> {
    let digits = chunks.get(4..)?.strip_prefix(b"tEXt")?.strip_prefix(INPUT.as_bytes())?;
    Mark::parse(digits.strip_prefix(b"\0")?.get(..DIGITS)?)
}

/// Looks for the tags in the first directory of a little-endian TIFF, as this program writes it;
/// `None` where it is not this program's.
fn tiff_mark(file: &mut (impl Read + Seek), start: &[u8]) -> std::io::Result<Option<Option<Mark>>> {
    let short = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let long = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let Some(directory) = start.get(4..8) else { return Ok(None) };
    file.seek(SeekFrom::Start(long(directory).into()))?;
    let mut count = [0; 2];
    file.read_exact(&mut count)?;
    let mut entries = vec![0; usize::from(short(&count)) * 12];
    file.read_exact(&mut entries)?;
    let mut text = |tag: u16, length: usize| -> std::io::Result<Option<Vec<u8>>> {
        let kind = (tag, TIFF_ASCII, length as u32 + 1);
        let entry = entries
            .chunks_exact(12)
            .find(|entry| (short(entry), short(&entry[2..]), long(&entry[4..])) == kind);
        let Some(entry) = entry else { return Ok(None) };
        file.seek(SeekFrom::Start(long(&entry[8..]).into()))?;
        let mut text = vec![0; length];
        file.read_exact(&mut text)?;
        Ok(Some(text))
    };
    if text(TIFF_SOFTWARE, SOFTWARE.len())?.as_deref() != Some(SOFTWARE.as_bytes()) {
        return Ok(None);
    }
    let digits = text(TIFF_MARK, DIGITS)?;
    Ok(Some(digits.as_deref().and_then(Mark::parse)))
}
