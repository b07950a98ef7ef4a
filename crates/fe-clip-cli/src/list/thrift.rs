//! Reading structures in Thrift's compact protocol.
//!
//! Source: <https://github.com/apache/thrift/blob/0.22.0/doc/specs/thrift-compact-protocol.md>.

use super::parquet::Damaged;

/// A value; those that Parquet's columns of text do not need are skipped.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Structure(Structure<'a>),
    Other,
}

/// Fields by number.
#[derive(Debug, Default)]
pub(super) struct Structure<'a>(Vec<(i16, Value<'a>)>);

impl<'a> Structure<'a> {
    fn field(&self, number: i16) -> Option<&Value<'a>> {
        self.0.iter().find(|(found, _)| *found == number).map(|(_, value)| value)
    }

    pub(super) fn bool(&self, number: i16) -> Option<bool> {
        match self.field(number)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// # Errors
    /// If there is no such field.
    pub(super) fn integer(&self, number: i16) -> Result<i64, Damaged> {
        self.integer_if_any(number).ok_or(Damaged("a number is missing"))
    }

    pub(super) fn integer_if_any(&self, number: i16) -> Option<i64> {
        match self.field(number)? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A size or a position.
    ///
    /// # Errors
    /// If there is no such field, or it is negative.
    pub(super) fn size(&self, number: i16) -> Result<usize, Damaged> {
        usize::try_from(self.integer(number)?).map_err(|_| Damaged("a size is negative"))
    }

    /// # Errors
    /// If there is no such field.
    pub(super) fn structure(&self, number: i16) -> Result<&Structure<'a>, Damaged> {
        match self.field(number) {
            Some(Value::Structure(structure)) => Ok(structure),
            _ => Err(Damaged("a part of a description is missing")),
        }
    }

    pub(super) fn bytes(&self, number: i16) -> Option<&'a [u8]> {
        match self.field(number)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// # Errors
    /// If there is no such field.
    pub(super) fn list(&self, number: i16) -> Result<&[Value<'a>], Damaged> {
        match self.field(number) {
            Some(Value::List(values)) => Ok(values),
            _ => Err(Damaged("a list is missing")),
        }
    }

    /// # Errors
    /// If there is no such field.
    pub(super) fn structures(
        &self,
        number: i16,
    ) -> Result<impl Iterator<Item = &Structure<'a>>, Damaged> {
        Ok(self.list(number)?.iter().filter_map(|value| match value {
            Value::Structure(structure) => Some(structure),
            _ => None,
        }))
    }
}

/// Deepest nesting; Parquet's own structures need six.
const DEEPEST: usize = 16;

/// Bytes that are still to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes a structure.
    ///
    /// # Errors
    /// If the bytes are none.
    pub(super) fn structure(&mut self) -> Result<Structure<'a>, Damaged> {
        self.structure_within(DEEPEST)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged("a number is too long"))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.take(1)?[0])
    }

    fn structure_within(&mut self, depth: usize) -> Result<Structure<'a>, Damaged> {
        let mut fields = Vec::new();
        let mut number: i16 = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Structure(fields));
            }
            number = match head >> 4 {
                0 => self.signed()? as i16,
                step => number.wrapping_add(i16::from(step)),
            };
            let value = match head & 15 {
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.push((number, value));
        }
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value<'a>, Damaged> {
        let depth = depth.checked_sub(1).ok_or(Damaged("its description is nested too deeply"))?;
        Ok(match kind {
            1 | 2 => Value::Bool(self.byte()? == 1), // in a list
            3 => Value::Integer(i64::from(self.byte()? as i8)),
            4..=6 => Value::Integer(self.signed()?),
            7 => self.take(8).map(|_| Value::Other)?,
            8 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.varint()?,
                    short => u64::from(short),
                };
                // An element has a byte at least: the list grows no faster than it is read.
                let mut values = Vec::new();
                for _ in 0..length {
                    values.push(self.value(head & 15, depth)?);
                }
                Value::List(values)
            }
            11 => {
                let length = self.varint()?;
                let kinds = if length > 0 { self.byte()? } else { 0 };
                for _ in 0..length {
                    self.value(kinds >> 4, depth)?;
                    self.value(kinds & 15, depth)?;
                }
                Value::Other
            }
            12 => Value::Structure(self.structure_within(depth)?),
            13 => self.take(16).map(|_| Value::Other)?,
            _ => return Err(Damaged("its description has a value of no known kind")),
        })
    }
}
