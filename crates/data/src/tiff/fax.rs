//! CCITT modified Huffman, group 3 and group 4, with the code tables of the crate `fax`. Its own decoders know neither
//! two-dimensional group 3 nor rows without end-of-line codes, and fill up a file that was cut short.

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, Bits};

use super::kind::Compression;
use crate::error::Fault;

/// Bits of zero in front of the end-of-line code's one.
const ZEROS: u8 = 11;

/// Decodes rows of 1 bit, black set; returns them and how many the data held.
pub(super) fn decode(
    data: &[u8],
    width: u32,
    rows: u32,
    compression: Compression,
) -> Result<(Vec<u8>, u32), Fault> {
    let mut bits = Reader { data, at: 0 };
    let row_bytes = width.div_ceil(8) as usize;
    let mut pixels = vec![0; row_bytes * rows as usize];
    // The columns where the colour changes, starting with white.
    let (mut above, mut row) = (Vec::new(), Vec::new());
    for (done, line) in pixels.chunks_exact_mut(row_bytes).enumerate() {
        row.clear();
        let state = match compression {
            Compression::Group4 => two_dimensional_row(&mut bits, width, &above, &mut row)?,
            Compression::Group3 { two_dimensional } => {
                group_3_row(&mut bits, width, two_dimensional, &above, &mut row)?
            }
            _ => one_dimensional_row(&mut bits, width, &mut row),
        };
        match state {
            State::Whole => {}
            // Writers may leave out white rows before the mark of the end.
            State::End if done > 0 => return Ok((pixels, rows)),
            State::End => return Ok((pixels, done as u32)),
            State::Damaged if bits.is_at_end() => return Ok((pixels, done as u32)),
            State::Damaged => return Err(Fault::broken(format!("CCITT row {done} is damaged"))),
        }
        match compression {
            Compression::Huffman { words: false } => bits.align(8),
            Compression::Huffman { words: true } => bits.align(16),
            _ => {}
        }
        blacken(line, &row, width);
        std::mem::swap(&mut above, &mut row);
    }
    Ok((pixels, rows))
}

enum State {
    Whole,
    /// The mark of the end.
    End,
    Damaged,
}

fn one_dimensional_row(bits: &mut Reader<'_>, width: u32, row: &mut Vec<u32>) -> State {
    let mut at = 0;
    while at < width {
        let Some(length) = run(bits, row.len() % 2 == 1) else { return State::Damaged };
        at += length;
        change(row, at, width);
    }
    State::Whole
}

fn group_3_row(
    bits: &mut Reader<'_>,
    width: u32,
    two_dimensional: bool,
    above: &[u32],
    row: &mut Vec<u32>,
) -> Result<State, Fault> {
    let mut is_relative = false;
    for marks in 0.. {
        if !bits.skip_end_of_line() {
            break;
        }
        if marks > 0 {
            return Ok(State::End);
        }
        if two_dimensional {
            is_relative = bits.peek(1) == Some(0);
            bits.at += 1;
        }
    }
    if is_relative {
        two_dimensional_row(bits, width, above, row)
    } else {
        Ok(one_dimensional_row(bits, width, row))
    }
}

/// A row whose changes of colour are coded relative to those of the row above.
fn two_dimensional_row(
    bits: &mut Reader<'_>,
    width: u32,
    above: &[u32],
    row: &mut Vec<u32>,
) -> Result<State, Fault> {
    let (mut at, mut started, mut next) = (0, false, 0);
    while at < width {
        // The first change above that lies ahead and goes to the other colour.
        while next < above.len() && (above[next] < at || started && above[next] == at) {
            next += 1;
        }
        let first = next + usize::from(next % 2 != row.len() % 2);
        let position = |index: usize| above.get(index).copied().unwrap_or(width);
        match mode::decode(bits) {
            Some(Mode::Pass) => at = position(first + 1),
            Some(Mode::Vertical(delta)) => {
                let Some(to) = position(first).checked_add_signed(delta.into()) else {
                    return Ok(State::Damaged);
                };
                if to < at || to > width {
                    return Ok(State::Damaged);
                }
                at = to;
                change(row, at, width);
            }
            Some(Mode::Horizontal) => {
                let is_black = row.len() % 2 == 1;
                for is_black in [is_black, !is_black] {
                    let Some(length) = run(bits, is_black) else { return Ok(State::Damaged) };
                    at += length;
                    change(row, at, width);
                }
            }
            Some(Mode::Extension) => return Err(Fault::unsupported("CCITT uncompressed mode")),
            Some(Mode::EOF) if !started => return Ok(State::End),
            _ => return Ok(State::Damaged),
        }
        started = true;
    }
    Ok(State::Whole)
}

/// Records a change of colour. Two at one column cancel out, so the count of changes always tells the current colour.
fn change(row: &mut Vec<u32>, at: u32, width: u32) {
    if row.last() == Some(&at) {
        row.pop();
    } else if at < width {
        row.push(at);
    }
}

/// The length of a run, from make-up codes and a last one below 64.
fn run(bits: &mut Reader<'_>, is_black: bool) -> Option<u32> {
    let mut length = 0;
    while !bits.is_past_end() {
        let code = if is_black { black::decode(bits) } else { white::decode(bits) };
        let code = u32::from(code?);
        length += code;
        if code < 64 {
            return Some(length);
        }
    }
    None
}

fn blacken(line: &mut [u8], row: &[u32], width: u32) {
    for run in row.chunks(2) {
        let end = run.get(1).map_or(width, |&end| end);
        for x in run[0]..end {
            line[x as usize / 8] |= 0x80 >> (x % 8);
        }
    }
}

/// Bits from the highest of each byte on; zeros follow the last byte.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn is_past_end(&self) -> bool {
        self.at >= self.data.len() * 8
    }

    /// Whether less is left than the longest code needs.
    fn is_at_end(&self) -> bool {
        self.at + 16 >= self.data.len() * 8
    }

    fn align(&mut self, bits: usize) {
        self.at = self.at.next_multiple_of(bits);
    }

    /// Skips an end-of-line code and the fill bits before it, if they come next.
    fn skip_end_of_line(&mut self) -> bool {
        if self.peek(ZEROS) != Some(0) {
            return false;
        }
        while !self.is_past_end() {
            self.at += 1;
            if self.peek(1) == Some(1) {
                self.at += 1;
                return true;
            }
        }
        false
    }
}

impl BitReader for Reader<'_> {
    type Error = std::convert::Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |offset| u32::from(self.data.get(self.at / 8 + offset).copied().unwrap_or(0));
        let window = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shift = 24usize.checked_sub(self.at % 8 + usize::from(bits))?;
        Some((window >> shift & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), Self::Error> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn expect(&mut self, bits: Bits) -> Result<(), Option<Bits>> {
        match self.peek(bits.len) {
            Some(data) if data == bits.data => Ok(()),
            data => Err(data.map(|data| Bits { data, len: bits.len })),
        }
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (self.at.next_multiple_of(8) - self.at) as u8
    }
}
