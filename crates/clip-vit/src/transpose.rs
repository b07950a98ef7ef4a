//! A matrix with its axes exchanged.

use rayon::prelude::*;

/// Side of the squares that are moved at once: a cache line of each row.
const TILE: usize = 16;
/// Rows that are gone through before the next ones: they stay in the second-level cache, their pages in the TLB.
const ROWS: usize = 4 * TILE;

/// The columns of a matrix, one after the other, from parts of its rows of `width` elements.
///
/// # Panics
/// If a row of a part is not whole.
pub(crate) fn transpose(parts: &[impl AsRef<[f32]> + Sync], width: usize) -> Vec<f32> {
    let parts = || parts.iter().map(AsRef::as_ref);
    assert!(
        parts().all(|rows: &[f32]| rows.len().is_multiple_of(width.max(1))),
        "transpose: expected whole rows"
    );
    let len = parts().map(<[f32]>::len).sum();
    let mut columns = vec![0f32; len];
    if len == 0 {
        return columns;
    }
    let height = len / width;
    let share = width.div_ceil(rayon::current_num_threads()).next_multiple_of(TILE);
    columns.par_chunks_mut(share * height).enumerate().for_each(|(index, columns)| {
        let mut top = 0;
        for rows in parts().flat_map(|rows| rows.chunks(ROWS * width)) {
            for (columns, left) in columns.chunks_mut(TILE * height).zip((0..).step_by(TILE)) {
                for (rows, top) in rows.chunks(TILE * width).zip((top..).step_by(TILE)) {
                    tile(rows, width, index * share + left, columns, height, top);
                }
            }
            top += rows.len() / width;
        }
    });
    columns
}

/// Moves up to [`TILE`] rows, from column `left` on, into as many columns as there are, from their element `top` on.
/// Zeros after a short tile are overwritten by the next one.
fn tile(rows: &[f32], width: usize, left: usize, columns: &mut [f32], height: usize, top: usize) {
    let mut tile = [[0f32; TILE]; TILE];
    for (line, row) in tile.iter_mut().zip(rows.chunks_exact(width)) {
        match row[left..].first_chunk() {
            Some(whole) => *line = *whole,
            None => line[..width - left].copy_from_slice(&row[left..]),
        }
    }
    for (j, column) in columns.chunks_exact_mut(height).enumerate() {
        let line: [f32; TILE] = std::array::from_fn(|i| tile[i][j]);
        let column = &mut column[top..];
        match column.first_chunk_mut() {
            Some(whole) => *whole = line,
            None => column.copy_from_slice(&line[..height - top]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_finds_its_place() {
        for (height, width) in [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (50, 31), (150, 70)] {
            let rows: Vec<f32> = (0..height * width).map(|i| i as f32).collect();
            let (first, second) = rows.split_at(height / 3 * width);
            for columns in [transpose(&[&rows], width), transpose(&[first, second], width)] {
                for i in 0..height {
                    for j in 0..width {
                        assert_eq!(columns[j * height + i], rows[i * width + j]);
                    }
                }
            }
        }
        assert!(transpose(&[[]], 0).is_empty());
    }
}
