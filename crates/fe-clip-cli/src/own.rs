//! Pictures that this program made, known again by a mark inside: no run takes them for inputs,
//! and nothing else is replaced by a picture.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::bail;

/// Value of PNG's keyword `Software` and of TIFF's tag of that name.
pub(crate) const SOFTWARE: &str = "fe-clip";
/// Where the first chunk after the header of a PNG begins.
const AFTER_HEADER: usize = 33;
/// TIFF's tag Software.
const TIFF_SOFTWARE: u16 = 305;
/// TIFF's type of text.
const TIFF_ASCII: u16 = 2;

/// Puts the mark into a PNG.
pub(crate) fn mark_png(mut png: Vec<u8>) -> Vec<u8> {
    png.splice(AFTER_HEADER..AFTER_HEADER, png_mark());
    png
}

/// The chunk `tEXt` with the mark.
fn png_mark() -> Vec<u8> {
    let text = [b"tEXtSoftware\0", SOFTWARE.as_bytes()].concat();
    let length = (text.len() - 4) as u32;
    let crc = crc32fast::hash(&text);
    [&length.to_be_bytes()[..], &text, &crc.to_be_bytes()].concat()
}

/// Whether a file is a picture with the mark; not if it cannot be read.
pub(crate) fn is_own(path: &Path) -> bool {
    let found = File::open(path).and_then(|mut file| {
        let mut start = vec![0; AFTER_HEADER + png_mark().len()];
        file.read_exact(&mut start)?;
        match start[..4] {
            [0x89, b'P', b'N', b'G'] => Ok(start[AFTER_HEADER..] == png_mark()),
            [b'I', b'I', 42, 0] => tiff_is_own(&mut file, &start),
            _ => Ok(false),
        }
    });
    found.unwrap_or(false)
}

/// Looks for the tag in the first directory of a little-endian TIFF, as this program writes it.
fn tiff_is_own(file: &mut File, start: &[u8]) -> std::io::Result<bool> {
    let short = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let long = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    file.seek(SeekFrom::Start(long(&start[4..8]).into()))?;
    let mut count = [0; 2];
    file.read_exact(&mut count)?;
    let mut entries = vec![0; usize::from(short(&count)) * 12];
    file.read_exact(&mut entries)?;
    let length = SOFTWARE.len() + 1;
    let wanted = |entry: &&[u8]| {
        let kind = (short(&entry[..2]), short(&entry[2..4]));
        kind == (TIFF_SOFTWARE, TIFF_ASCII) && long(&entry[4..8]) as usize == length
    };
    let Some(entry) = entries.chunks_exact(12).find(wanted) else { return Ok(false) };
    file.seek(SeekFrom::Start(long(&entry[8..12]).into()))?;
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    Ok(text.strip_suffix(b"\0") == Some(SOFTWARE.as_bytes()))
}

/// Refuses to replace a picture that this program did not make.
///
/// # Errors
/// If there is one.
pub(crate) fn check(target: &Path) -> anyhow::Result<()> {
    if target.is_file() && !is_own(target) {
        bail!(
            "{}: there is a file of this name that fe-clip did not make; it stays as it is, \
             choose another --out",
            target.display()
        );
    }
    Ok(())
}
