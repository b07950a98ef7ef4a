//! The ground truth: where two exposures of a scene visibly differ.

use std::ops::Range;

use ndarray::{Array2, s};

/// Largest share of the picture that a defect may cover.
const LARGEST: f32 = 0.4;

/// Pixels that are `wanted` spread by `reach` pixels along rows and columns: a square dilates the mask (`wanted` true) or
/// erodes it (false).
fn spread(mask: &mut [bool], size: usize, reach: usize, wanted: bool) {
    let join = |to: &mut [bool], from: &[bool]| {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = if wanted { *to | from } else { *to & from };
        }
    };
    let old = mask.to_vec();
    for (row, old) in mask.chunks_exact_mut(size).zip(old.chunks_exact(size)) {
        for shift in 1..=reach.min(size - 1) {
            join(&mut row[shift..], old);
            join(row, &old[shift..]);
        }
    }
    let old = mask.to_vec();
    let rows = mask.len() / size;
    for (y, row) in mask.chunks_exact_mut(size).enumerate() {
        let near = y.saturating_sub(reach)..(y + reach + 1).min(rows);
        for old in old[near.start * size..near.end * size].chunks_exact(size) {
            join(row, old);
        }
    }
}

/// The columns and rows that hold the mask, and one more on each side that has one.
fn frame(mask: &[bool], size: usize) -> (Range<usize>, Range<usize>) {
    let rows = || mask.chunks_exact(size);
    let first = rows().position(|row| row.contains(&true)).unwrap_or(0);
    let last = rows().rposition(|row| row.contains(&true)).unwrap_or(0);
    let left = rows().filter_map(|row| row.iter().position(|&m| m)).min().unwrap_or(0);
    let right = rows().filter_map(|row| row.iter().rposition(|&m| m)).max().unwrap_or(0);
    let wide = |low: usize, high: usize, end: usize| low.saturating_sub(1)..(high + 2).min(end);
    (wide(left, right, size), wide(first, last, mask.len() / size))
}

/// Fills the holes that are smaller than half of the mask.
fn fill(mask: &mut [bool], size: usize, count: usize) {
    // What reaches the edge of the frame is no hole.
    let (columns, rows) = frame(mask, size);
    let mut seen = mask.to_vec();
    let mut stack = Vec::new();
    let mut hole = Vec::new();
    for start in rows.clone().flat_map(|y| columns.clone().map(move |x| y * size + x)) {
        if seen[start] {
            continue;
        }
        hole.clear();
        stack.push(start);
        seen[start] = true;
        let mut open = false;
        while let Some(i) = stack.pop() {
            hole.push(i);
            let (x, y) = (i % size, i / size);
            let near = [
                (x > columns.start).then(|| i - 1),
                (x + 1 < columns.end).then_some(i + 1),
                (y > rows.start).then(|| i - size),
                (y + 1 < rows.end).then_some(i + size),
            ];
            open |= near.contains(&None);
            for j in near.into_iter().flatten() {
                if !seen[j] {
                    seen[j] = true;
                    stack.push(j);
                }
            }
        }
        if !open && hole.len() * 2 < count {
            hole.iter().for_each(|&i| mask[i] = true);
        }
    }
}

/// The mask of the change, narrow gaps closed and small holes filled; `None` if too little or too
/// much changed. `exposed` holds only the given rows; the others did not change.
pub(crate) fn changed(
    clean: &[[f32; 3]],
    exposed: &[[f32; 3]],
    rows: &Range<usize>,
    size: usize,
    visible: f32,
) -> Option<Array2<bool>> {
    let reach = (size / 100).max(1);
    // Nothing grows out of these rows, and the outermost inside the picture stay clear.
    let window = near(rows, 2 * reach + 1, size);
    let mut mask = vec![false; window.len() * size];
    let band = rows.start * size..rows.end * size;
    let mut raw = 0;
    let changing = mask[(rows.start - window.start) * size..].iter_mut();
    for ((m, a), b) in changing.zip(&clean[band]).zip(exposed) {
        let difference = (a[0] - b[0]).abs().max((a[1] - b[1]).abs()).max((a[2] - b[2]).abs());
        *m = difference > visible;
        raw += usize::from(*m);
    }
    let least = 6 + size * size / 12_000;
    if raw < least {
        return None;
    }
    spread(&mut mask, size, reach, true);
    spread(&mut mask, size, reach, false);
    let closed = mask.iter().filter(|&&m| m).count();
    fill(&mut mask, size, closed);
    let count = mask.iter().filter(|&&m| m).count();
    let fits = count >= least && (count as f32) < LARGEST * (size * size) as f32;
    if !fits {
        return None;
    }
    let mut whole = Array2::from_elem((size, size), false);
    whole.slice_mut(s![window, ..]).iter_mut().zip(mask).for_each(|(to, from)| *to = from);
    Some(whole)
}

/// The rows and up to so many more on either side, inside the picture.
fn near(rows: &Range<usize>, more: usize, size: usize) -> Range<usize> {
    rows.start.saturating_sub(more)..(rows.end + more).min(size)
}

/// Puts the changed rows into the clean picture, within two pixels of the mask only.
pub(crate) fn compose(
    mut clean: Vec<[f32; 3]>,
    exposed: &[[f32; 3]],
    rows: &Range<usize>,
    mask: &Array2<bool>,
) -> Vec<[f32; 3]> {
    const REACH: usize = 2;
    let size = mask.nrows();
    let window = near(rows, REACH, size);
    let mut shown: Vec<bool> = mask.slice(s![window.clone(), ..]).iter().copied().collect();
    spread(&mut shown, size, REACH, true);
    let band = rows.start * size..rows.end * size;
    let shown = &shown[(rows.start - window.start) * size..];
    for ((pixel, changed), shown) in clean[band].iter_mut().zip(exposed).zip(shown) {
        if *shown {
            *pixel = *changed;
        }
    }
    clean
}
