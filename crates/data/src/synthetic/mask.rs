//! The ground truth: where two exposures of a scene visibly differ.

use std::ops::Range;

use ndarray::Array2;

/// Largest share of the picture that a defect may cover.
const LARGEST: f32 = 0.4;

/// Runs of `wanted` grow by `reach` pixels along rows and columns: a square dilates the mask
/// (`wanted` true) or erodes it (false).
fn spread(mask: &mut [bool], size: usize, reach: usize, wanted: bool) {
    let mut line = vec![false; size];
    let mut run = |mask: &mut [bool], start: usize, step: usize| {
        for (i, value) in line.iter_mut().enumerate() {
            *value = mask[start + i * step];
        }
        if !line.contains(&wanted) {
            return;
        }
        let (mut painted, mut i) = (0, 0);
        while i < size {
            if line[i] == wanted {
                let end = (i + reach + 1).min(size);
                for j in painted.max(i.saturating_sub(reach))..end {
                    mask[start + j * step] = wanted;
                }
                painted = end;
            }
            i += 1;
        }
    };
    for k in 0..size {
        run(mask, k * size, 1);
    }
    for k in 0..size {
        run(mask, k, size);
    }
}

/// Fills the holes that are smaller than half of the mask.
fn fill(mask: &mut [bool], size: usize, count: usize) {
    let mut seen = mask.to_vec();
    let mut stack = Vec::new();
    let mut hole = Vec::new();
    for start in 0..mask.len() {
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
            open |= x == 0 || y == 0 || x + 1 == size || y + 1 == size;
            let near = [
                (x > 0).then(|| i - 1),
                (x + 1 < size).then_some(i + 1),
                (y > 0).then(|| i - size),
                (y + 1 < size).then_some(i + size),
            ];
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
pub(super) fn changed(
    clean: &[[f32; 3]],
    exposed: &[[f32; 3]],
    rows: &Range<usize>,
    size: usize,
    visible: f32,
) -> Option<Array2<bool>> {
    let mut mask = vec![false; size * size];
    let band = rows.start * size..rows.end * size;
    let mut raw = 0;
    for ((m, a), b) in mask[band.clone()].iter_mut().zip(&clean[band]).zip(exposed) {
        let difference = (a[0] - b[0]).abs().max((a[1] - b[1]).abs()).max((a[2] - b[2]).abs());
        *m = difference > visible;
        raw += usize::from(*m);
    }
    let least = 6 + size * size / 12_000;
    if raw < least {
        return None;
    }
    let reach = (size / 100).max(1);
    spread(&mut mask, size, reach, true);
    spread(&mut mask, size, reach, false);
    let closed = mask.iter().filter(|&&m| m).count();
    fill(&mut mask, size, closed);
    let count = mask.iter().filter(|&&m| m).count();
    let fits = count >= least && (count as f32) < LARGEST * (size * size) as f32;
    fits.then(|| Array2::from_shape_vec((size, size), mask).ok()).flatten()
}

/// Puts the changed rows into the clean picture, within two pixels of the mask only.
pub(super) fn compose(
    mut clean: Vec<[f32; 3]>,
    exposed: &[[f32; 3]],
    rows: &Range<usize>,
    mask: &Array2<bool>,
) -> Vec<[f32; 3]> {
    let size = mask.nrows();
    let mut near: Vec<bool> = mask.iter().copied().collect();
    spread(&mut near, size, 2, true);
    let band = rows.start * size..rows.end * size;
    for ((pixel, changed), near) in clean[band.clone()].iter_mut().zip(exposed).zip(&near[band]) {
        if *near {
            *pixel = *changed;
        }
    }
    clean
}
