//! Where the object of an image is: the side of the first principal component of its tokens that
//! has most of the middle.
//!
//! Source: Damm et al., AnomalyDINO, WACV 2025, and its code, whose threshold is made for DINOv2's
//! tokens; here it is their mean, and the middle decides by majority.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// Share of a side that belongs to no middle, at each end.
const BORDER: f64 = 0.2;
/// Most steps to the first component.
const ROUNDS: usize = 500;
/// Squared way of a unit vector below which it stays.
const STILL: f32 = 1e-12;

/// True where the object is, a little wider than that, without small holes; everywhere where
/// tokens do not differ.
///
/// # Shapes
/// - tokens: `[height * width, channels]`, row by row
/// - output: `[height, width]`
pub(crate) fn foreground(
    tokens: ArrayView2<'_, f32>,
    (height, width): (usize, usize),
) -> Array2<bool> {
    let all = Array2::from_elem((height, width), true);
    let Some(along) = first_component(tokens) else { return all };
    let side = along.mapv(|x| x > 0.0).into_shape_with_order((height, width));
    let mut side = side.expect("a token a place");
    let inner = |n: usize| (n as f64 * BORDER) as usize..(n as f64 * (1.0 - BORDER)) as usize;
    let middle = side.slice(s![inner(height), inner(width)]);
    let taken = middle.iter().filter(|taken| **taken).count();
    let even = 2 * taken == middle.len();
    if 2 * taken < middle.len() || even && !side[[height / 2, width / 2]] {
        side.mapv_inplace(|taken| !taken);
    }
    let wide = wider(&wider(&side));
    // Beyond the image there is nothing to shrink from.
    wider(&wide.mapv(|taken| !taken)).mapv(|free| !free)
}

/// How far tokens are along the direction in which they differ most, from their mean; none where
/// they do not differ.
fn first_component(tokens: ArrayView2<'_, f32>) -> Option<Array1<f32>> {
    let centred = &tokens - &tokens.mean_axis(Axis(0))?;
    let lengths = centred.rows().into_iter().map(|row| row.dot(&row));
    let (farthest, length) =
        lengths.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).filter(|(_, l)| *l > 0.0)?;
    let mut direction = &centred.row(farthest) / length.sqrt();
    for _ in 0..ROUNDS {
        let next = centred.t().dot(&centred.dot(&direction));
        let next = &next / next.dot(&next).sqrt();
        let way = &next - &direction;
        direction = next;
        if way.dot(&way) < STILL {
            break;
        }
    }
    Some(centred.dot(&direction))
}

/// With all neighbours.
fn wider(side: &Array2<bool>) -> Array2<bool> {
    let (height, width) = side.dim();
    let near = |i: usize, n: usize| i.saturating_sub(1)..(i + 2).min(n);
    Array2::from_shape_fn((height, width), |(i, j)| {
        side.slice(s![near(i, height), near(j, width)]).iter().any(|taken| *taken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::few;

    /// Against scikit-learn and SciPy (`golden_methods/few.py`).
    #[test]
    fn objects_are_those_of_scikit_learn() {
        for case in ["disc", "frame", "noise"] {
            let (shape, tokens) = few(&format!("foreground.{case}.tokens"));
            let (grid, expected) = few(&format!("foreground.{case}.mask"));
            let tokens = Array2::from_shape_vec((shape[0], shape[1]), tokens).unwrap();
            let found = foreground(tokens.view(), (grid[0], grid[1]));
            let found: Vec<f32> = found.iter().map(|taken| f32::from(u8::from(*taken))).collect();
            assert_eq!(found, expected, "{case}");
            assert!(found.contains(&1.0));
        }
    }

    #[test]
    fn tokens_that_do_not_differ_are_all_of_the_object() {
        assert!(foreground(Array2::ones((12, 4)).view(), (3, 4)).iter().all(|taken| *taken));
    }
}
