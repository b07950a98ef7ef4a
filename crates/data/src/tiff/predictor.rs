//! Rows stored as differences.

use super::directory::unsigned;
use super::kind::Predictor;
use super::page::Page;

/// Turns the rows of a strip or tile back into samples.
pub(super) fn undo(page: &Page, chunk: &mut [u8]) {
    let (sample, row) = ((page.bits / 8) as usize, page.row_bytes() as usize);
    for row in chunk.chunks_exact_mut(row) {
        match page.predictor {
            Predictor::None => {}
            Predictor::Horizontal if sample == 1 => add_bytes(row, page.samples),
            Predictor::Horizontal => add_numbers(row, sample, page.samples, page.directory.little),
            Predictor::Float => add_planes(row, sample, page.samples, page.directory.little),
        }
    }
}

fn add_bytes(row: &mut [u8], stride: usize) {
    for at in stride..row.len() {
        row[at] = row[at].wrapping_add(row[at - stride]);
    }
}

fn add_numbers(row: &mut [u8], sample: usize, stride: usize, little: bool) {
    for at in (stride * sample..row.len()).step_by(sample) {
        let before = unsigned(&row[at - stride * sample..][..sample], little);
        let place = &mut row[at..][..sample];
        store(unsigned(place, little).wrapping_add(before), place, little);
    }
}

/// The highest bytes of all samples come first, then the next ones, all as differences.
fn add_planes(row: &mut [u8], sample: usize, stride: usize, little: bool) {
    add_bytes(row, stride);
    let planes = row.to_vec();
    let count = row.len() / sample;
    for (index, place) in row.chunks_exact_mut(sample).enumerate() {
        for (rank, byte) in place.iter_mut().enumerate() {
            let plane = if little { sample - 1 - rank } else { rank };
            *byte = planes[plane * count + index];
        }
    }
}

/// Stores the lowest bytes of a number.
fn store(number: u64, place: &mut [u8], little: bool) {
    let width = place.len();
    for (rank, byte) in place.iter_mut().enumerate() {
        let shift = 8 * if little { rank } else { width - 1 - rank };
        *byte = (number >> shift) as u8;
    }
}
