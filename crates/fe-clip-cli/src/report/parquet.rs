//! Parquet files of one row group: plain encoding, no compression, one page a column.
//!
//! The crate `parquet` reads and writes all of the format; of it this program needs flat tables
//! of a few thousand rows. It would bring ten packages and change features of crates that the
//! tensor library is compiled with.
//!
//! Source: apache/parquet-format 2.12, README.md, Encodings.md and parquet.thrift; Thrift's
//! compact protocol.

/// Values of one column; `None` is null.
pub(crate) enum Values<'a> {
    Text(Vec<Option<&'a str>>),
    Float(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
    Integer(Vec<Option<i32>>),
}

/// A column and its name.
pub(crate) struct Column<'a> {
    pub(crate) name: &'static str,
    pub(crate) values: Values<'a>,
}

const MAGIC: &[u8] = b"PAR1";
/// Numbers of parquet.thrift.
const INT32: i64 = 1;
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const OPTIONAL: i64 = 1;
const UTF8: i64 = 0;
const PLAIN: i64 = 0;
const RLE: i64 = 3;

/// The file's bytes.
///
/// # Panics
/// If the columns differ in length.
pub(crate) fn encode(columns: &[Column<'_>], creator: &str) -> Vec<u8> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    let mut file = MAGIC.to_vec();
    let mut chunks = Vec::new();
    for column in columns {
        let length = column.values.len();
        assert!(length == rows, "parquet: expected {rows} values, got {length}");
        let data = page(&column.values);
        let mut header = Thrift::default();
        header.integer(1, 0); // a data page
        header.integer(2, data.len() as i64);
        header.integer(3, data.len() as i64);
        header.structure(5, |page| {
            page.integer(1, rows as i64);
            page.integer(2, PLAIN);
            page.integer(3, RLE);
            page.integer(4, RLE);
        });
        let header = header.end();
        let chunk = Chunk { offset: file.len() as i64, size: (header.len() + data.len()) as i64 };
        file.extend(header);
        file.extend(data);
        chunks.push(chunk);
    }
    let footer = footer(columns, &chunks, rows as i64, creator);
    let length = footer.len() as u32;
    file.extend(footer);
    file.extend(length.to_le_bytes());
    file.extend(MAGIC);
    file
}

/// Where a column's only page lies in the file, its header included.
struct Chunk {
    offset: i64,
    size: i64,
}

fn footer(columns: &[Column<'_>], chunks: &[Chunk], rows: i64, creator: &str) -> Vec<u8> {
    let mut footer = Thrift::default();
    footer.integer(1, 1); // version
    footer.structures(2, columns.len() + 1, |i, element| match i.checked_sub(1) {
        None => {
            element.text(4, "results");
            element.integer(5, columns.len() as i64);
        }
        Some(i) => {
            element.integer(1, columns[i].values.kind());
            element.integer(3, OPTIONAL);
            element.text(4, columns[i].name);
            if columns[i].values.kind() == BYTE_ARRAY {
                element.integer(6, UTF8);
            }
        }
    });
    footer.long(3, rows);
    footer.structures(4, 1, |_, group| {
        group.structures(1, columns.len(), |i, chunk| {
            chunk.long(2, chunks[i].offset);
            chunk.structure(3, |meta| {
                meta.integer(1, columns[i].values.kind());
                meta.integers(2, &[PLAIN, RLE]);
                meta.texts(3, &[columns[i].name]);
                meta.integer(4, 0); // not compressed
                meta.long(5, rows);
                meta.long(6, chunks[i].size);
                meta.long(7, chunks[i].size);
                meta.long(9, chunks[i].offset);
            });
        });
        group.long(2, chunks.iter().map(|chunk| chunk.size).sum());
        group.long(3, rows);
    });
    footer.text(6, creator);
    footer.end()
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Integer(values) => values.len(),
        }
    }

    fn kind(&self) -> i64 {
        match self {
            Self::Text(_) => BYTE_ARRAY,
            Self::Float(_) => FLOAT,
            Self::Double(_) => DOUBLE,
            Self::Integer(_) => INT32,
        }
    }
}

/// A data page: which values are there, one bit each, then the values.
fn page(values: &Values<'_>) -> Vec<u8> {
    let mut plain = Vec::new();
    let present: Vec<bool> = match values {
        Values::Text(values) => {
            for text in values.iter().flatten() {
                plain.extend((text.len() as u32).to_le_bytes());
                plain.extend(text.as_bytes());
            }
            values.iter().map(Option::is_some).collect()
        }
        Values::Float(values) => {
            plain.extend(values.iter().flatten().flat_map(|v| v.to_le_bytes()));
            values.iter().map(Option::is_some).collect()
        }
        Values::Double(values) => {
            plain.extend(values.iter().flatten().flat_map(|v| v.to_le_bytes()));
            values.iter().map(Option::is_some).collect()
        }
        Values::Integer(values) => {
            plain.extend(values.iter().flatten().flat_map(|v| v.to_le_bytes()));
            values.iter().map(Option::is_some).collect()
        }
    };
    // One bit-packed run of the RLE hybrid: its length in groups of eight, then the bits.
    let mut levels = Vec::new();
    varint(&mut levels, (present.len().div_ceil(8) as u64) << 1 | 1);
    levels.extend(
        present.chunks(8).map(|bits| {
            bits.iter().enumerate().fold(0, |byte, (i, set)| byte | u8::from(*set) << i)
        }),
    );
    let mut page = (levels.len() as u32).to_le_bytes().to_vec();
    page.extend(levels);
    page.extend(plain);
    page
}

/// A structure in Thrift's compact protocol.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    /// Number of the last field.
    last: u8,
}

impl Thrift {
    const I32: u8 = 5;
    const I64: u8 = 6;
    const BINARY: u8 = 8;
    const LIST: u8 = 9;
    const STRUCT: u8 = 12;

    /// Fields come in ascending order, less than 16 apart.
    fn field(&mut self, number: u8, kind: u8) {
        self.bytes.push((number - self.last) << 4 | kind);
        self.last = number;
    }

    fn integer(&mut self, number: u8, value: i64) {
        self.field(number, Self::I32);
        self.signed(value);
    }

    fn long(&mut self, number: u8, value: i64) {
        self.field(number, Self::I64);
        self.signed(value);
    }

    fn text(&mut self, number: u8, value: &str) {
        self.field(number, Self::BINARY);
        self.binary(value);
    }

    fn integers(&mut self, number: u8, values: &[i64]) {
        self.list(number, values.len(), Self::I32);
        values.iter().for_each(|value| self.signed(*value));
    }

    fn texts(&mut self, number: u8, values: &[&str]) {
        self.list(number, values.len(), Self::BINARY);
        values.iter().for_each(|value| self.binary(value));
    }

    fn structure(&mut self, number: u8, fill: impl FnOnce(&mut Self)) {
        self.field(number, Self::STRUCT);
        self.nested(fill);
    }

    fn structures(&mut self, number: u8, count: usize, mut fill: impl FnMut(usize, &mut Self)) {
        self.list(number, count, Self::STRUCT);
        (0..count).for_each(|i| self.nested(|inner| fill(i, inner)));
    }

    fn nested(&mut self, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes.extend(inner.end());
    }

    fn list(&mut self, number: u8, count: usize, kind: u8) {
        self.field(number, Self::LIST);
        if count < 15 {
            self.bytes.push((count as u8) << 4 | kind);
        } else {
            self.bytes.push(15 << 4 | kind);
            varint(&mut self.bytes, count as u64);
        }
    }

    fn binary(&mut self, value: &str) {
        varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend(value.as_bytes());
    }

    /// Zigzag: small numbers of either sign are short.
    fn signed(&mut self, value: i64) {
        varint(&mut self.bytes, (value << 1 ^ value >> 63) as u64);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed file was read back with pyarrow by tests/golden/check_parquet.py.
    #[test]
    fn a_table_is_the_file_that_pyarrow_reads() {
        let paths: Vec<String> = (0..20).map(|i| format!("parts/ü{i}, \"x\".png")).collect();
        let columns = [
            Column {
                name: "path",
                values: Values::Text(paths.iter().map(|p| Some(p.as_str())).collect()),
            },
            Column {
                name: "score",
                values: Values::Float(
                    (0..20).map(|i| (i % 3 > 0).then_some(i as f32 / 8.0)).collect(),
                ),
            },
            Column {
                name: "width",
                values: Values::Integer(
                    (0..20).map(|i| (i != 7).then_some(i * 100_000 - 5)).collect(),
                ),
            },
            Column { name: "error", values: Values::Text(vec![None; 20]) },
            Column {
                name: "exact",
                values: Values::Double(
                    (0..20).map(|i| (i % 4 > 0).then(|| 1.0 - 0.25 / f64::from(i))).collect(),
                ),
            },
        ];
        let bytes = encode(&columns, "fe-clip");
        let golden: &[u8] = include_bytes!("../../tests/golden/table.parquet");
        if bytes != golden {
            let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/table.parquet");
            std::fs::write(place, &bytes).unwrap();
            panic!("other bytes than tests/golden/table.parquet: see target/table.parquet");
        }
    }
}
