//! The data elements of a file, as far as they decide its picture.

use std::collections::HashMap;

use crate::error::Fault;

/// A group and an element within, as one number.
pub(super) type Tag = u32;

const PIXEL_DATA: Tag = 0x7fe0_0010;
const TRANSFER_SYNTAX: Tag = 0x0002_0010;
const ITEM: Tag = 0xfffe_e000;
const ITEM_END: Tag = 0xfffe_e00d;
const SEQUENCE_END: Tag = 0xfffe_e0dd;
/// The length of what ends with a mark.
const OPEN: u32 = u32::MAX;
/// Sequences within sequences, more than any file has.
const DEEPEST: usize = 64;
/// The kinds of values whose length has four bytes, after two that are reserved.
const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Implicit,
    Explicit,
    Jpeg,
    Rle,
}

impl Syntax {
    fn parse(uid: &str) -> Result<Self, Fault> {
        Ok(match uid {
            "1.2.840.10008.1.2" => Self::Implicit,
            "1.2.840.10008.1.2.1" => Self::Explicit,
            "1.2.840.10008.1.2.4.50" => Self::Jpeg,
            "1.2.840.10008.1.2.5" => Self::Rle,
            _ => return Err(Fault::unsupported(format!("transfer syntax {uid}"))),
        })
    }
}

/// The pixel data.
pub(super) enum Pixels<'a> {
    Native(&'a [u8]),
    /// Fragments of compressed frames.
    Encapsulated(Vec<&'a [u8]>),
}

/// The elements of the top level before the pixels, and these.
pub(super) struct Elements<'a> {
    pub(super) syntax: Syntax,
    values: HashMap<Tag, &'a [u8]>,
    pub(super) pixels: Pixels<'a>,
}

impl<'a> Elements<'a> {
    /// Reads a file; what is behind the pixels is left alone.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let body =
            bytes.get(super::MAGIC_AT + super::MAGIC.len()..).ok_or_else(Fault::cut_short)?;
        // The head of a file is explicit whatever comes behind it.
        let mut reader = Reader { bytes: body, at: 0, explicit: true, unknown: false };
        let mut values = HashMap::new();
        while reader.group()? == 2 {
            let (tag, length) = reader.head()?;
            values.insert(tag, reader.take(length as usize)?);
        }
        let uid = values.get(&TRANSFER_SYNTAX).map(|value| text(value));
        let uid = uid.ok_or_else(|| Fault::broken("it names no transfer syntax"))?;
        let syntax = Syntax::parse(uid)?;
        reader.explicit = syntax != Syntax::Implicit;
        while !reader.is_at_end() {
            let (tag, length) = reader.head()?;
            match (tag, length) {
                (PIXEL_DATA, OPEN) => {
                    let pixels = Pixels::Encapsulated(reader.fragments()?);
                    return Ok(Self { syntax, values, pixels });
                }
                (PIXEL_DATA, _) => {
                    let pixels = Pixels::Native(reader.take(length as usize)?);
                    return Ok(Self { syntax, values, pixels });
                }
                (_, OPEN) => {
                    reader.skip_sequence(DEEPEST)?;
                    values.insert(tag, &[]);
                }
                _ => {
                    values.insert(tag, reader.take(length as usize)?);
                }
            }
        }
        Err(Fault::unsupported("a file without pixels"))
    }

    pub(super) fn has(&self, tag: Tag) -> bool {
        self.values.contains_key(&tag)
    }

    /// A whole number of two bytes.
    pub(super) fn short(&self, tag: Tag) -> Option<u16> {
        let bytes = self.values.get(&tag)?.first_chunk()?;
        Some(u16::from_le_bytes(*bytes))
    }

    /// A text without the padding around it, the first one of several.
    pub(super) fn text(&self, tag: Tag) -> Option<&'a str> {
        self.values.get(&tag).map(|value| text(value)).filter(|text| !text.is_empty())
    }

    /// A number that is written as text, the first one of several.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<f64>, Fault> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(Fault::broken(format!("{text} is no number"))),
        }
    }
}

fn text(value: &[u8]) -> &str {
    let first = value.split(|byte| *byte == b'\\').next().unwrap_or(value);
    std::str::from_utf8(first).unwrap_or("").trim_matches(['\0', ' '])
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether elements say what kind their value is of.
    explicit: bool,
    /// Whether the last head was that of a sequence that nobody knew: it is stored implicitly.
    unknown: bool,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).ok_or_else(Fault::cut_short)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(Fault::cut_short)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.first_chunk().copied().ok_or_else(Fault::cut_short)
    }

    /// The group of the next element.
    fn group(&self) -> Result<u16, Fault> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or_else(Fault::cut_short)?;
        Ok(u16::from_le_bytes(*bytes))
    }

    /// The tag of an element and the length of its value, which is next.
    fn head(&mut self) -> Result<(Tag, u32), Fault> {
        let (group, element) = (self.array()?, self.array()?);
        let tag =
            Tag::from(u16::from_le_bytes(group)) << 16 | Tag::from(u16::from_le_bytes(element));
        if !self.explicit || tag >> 16 == ITEM >> 16 {
            return Ok((tag, u32::from_le_bytes(self.array()?)));
        }
        let kind: [u8; 2] = self.array()?;
        self.unknown = kind == *b"UN";
        if LONG.contains(&&kind) {
            self.take(2)?;
            return Ok((tag, u32::from_le_bytes(self.array()?)));
        }
        Ok((tag, u16::from_le_bytes(self.array()?).into()))
    }

    /// Passes the items of a sequence that ends with a mark.
    fn skip_sequence(&mut self, depth: usize) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or_else(|| Fault::broken("sequences without end"))?;
        let explicit = self.explicit;
        self.explicit &= !self.unknown;
        loop {
            match self.head()? {
                (SEQUENCE_END, _) => {
                    self.explicit = explicit;
                    return Ok(());
                }
                (ITEM, OPEN) => self.skip_item(depth)?,
                (ITEM, length) => _ = self.take(length as usize)?,
                _ => return Err(Fault::broken("a sequence holds something else than items")),
            }
        }
    }

    /// Passes the elements of an item that ends with a mark.
    fn skip_item(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            match self.head()? {
                (ITEM_END, _) => return Ok(()),
                (_, OPEN) => self.skip_sequence(depth)?,
                (_, length) => _ = self.take(length as usize)?,
            }
        }
    }

    /// The items of compressed pixels but for the first, a table of where frames start.
    fn fragments(&mut self) -> Result<Vec<&'a [u8]>, Fault> {
        let mut found = Vec::new();
        loop {
            match self.head()? {
                (SEQUENCE_END, _) => break,
                (ITEM, length) => found.push(self.take(length as usize)?),
                _ => return Err(Fault::broken("compressed pixels hold something else than items")),
            }
        }
        if found.len() < 2 {
            return Err(Fault::cut_short());
        }
        Ok(found.split_off(1))
    }
}
