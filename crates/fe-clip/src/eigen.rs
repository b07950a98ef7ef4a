//! Eigenvalues and eigenvectors of a symmetric matrix.

use ndarray::{Array1, Array2, Axis, s};

/// Most steps for one eigenvalue; two are usual.
const STEPS: usize = 50;

/// Eigenvalues, the largest first, and their unit eigenvectors as rows.
///
/// By Householder reflections to three diagonals, then implicit QL. About `10 n^3` operations:
/// some seconds for 1,024 channels.
///
/// # Shapes
/// - matrix: `[n, n]`, symmetric
///
/// # Panics
/// If the matrix is not square or holds a number that is not finite.
pub(crate) fn symmetric(matrix: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let (mut diagonal, mut beside, mut vectors) = three_diagonals(matrix);
    diagonalise(&mut diagonal, &mut beside, &mut vectors);
    let mut order: Vec<usize> = (0..diagonal.len()).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]));
    (Array1::from(diagonal).select(Axis(0), &order), vectors.select(Axis(0), &order))
}

/// Diagonal, what is beside it, and the basis, as rows, in which the matrix has these.
fn three_diagonals(mut a: Array2<f64>) -> (Vec<f64>, Vec<f64>, Array2<f64>) {
    let n = a.nrows();
    assert!(a.is_square(), "symmetric: expected a square matrix, got {:?}", a.dim());
    assert!(a.iter().all(|x| x.is_finite()), "symmetric: expected finite numbers");
    let mut basis = Array2::eye(n);
    let mut beside = vec![0.0; n];
    for (k, beside) in beside.iter_mut().enumerate().take(n.saturating_sub(1)) {
        let mut v = a.slice(s![k + 1.., k]).to_owned();
        let length = v.dot(&v).sqrt();
        // The reflection takes the column to `(head, 0, 0, …)`.
        let head = if v[0] > 0.0 { -length } else { length };
        *beside = head;
        v[0] -= head;
        let length = v.dot(&v).sqrt();
        if length == 0.0 {
            continue;
        }
        v /= length;
        let mut rest = a.slice_mut(s![k + 1.., k + 1..]);
        let product = rest.dot(&v);
        let w = &product - &(&v * v.dot(&product));
        for ((mut row, v_i), w_i) in rest.rows_mut().into_iter().zip(&v).zip(&w) {
            row.scaled_add(-2.0 * v_i, &w);
            row.scaled_add(-2.0 * w_i, &v);
        }
        let mut rows = basis.slice_mut(s![k + 1.., ..]);
        let along = v.dot(&rows);
        for (mut row, v_i) in rows.rows_mut().into_iter().zip(&v) {
            row.scaled_add(-2.0 * v_i, &along);
        }
    }
    (a.diag().to_vec(), beside, basis)
}

/// Source: Bowdler, Martin, Reinsch, Wilkinson, The QR and QL algorithms for symmetric matrices,
/// Numerische Mathematik 11, 1968: `tql2`.
fn diagonalise(d: &mut [f64], e: &mut [f64], vectors: &mut Array2<f64>) {
    let n = d.len();
    for l in 0..n {
        for _ in 0..STEPS {
            let negligible =
                |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(negligible).unwrap_or(n - 1);
            if m == l {
                break;
            }
            step(d, e, vectors, l, m);
        }
    }
}

/// A step of QL with a shift on the part from `l` to `m`.
fn step(d: &mut [f64], e: &mut [f64], vectors: &mut Array2<f64>, l: usize, m: usize) {
    let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let mut g = d[m] - d[l] + e[l] / (shift + shift.hypot(1.0).copysign(shift));
    let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (sine * e[i], cosine * e[i]);
        let r = f.hypot(g);
        e[i + 1] = r;
        if r == 0.0 {
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = d[i + 1] - p;
        let r = (d[i] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        d[i + 1] = g + p;
        g = cosine * r - b;
        let (mut low, mut high) = vectors.multi_slice_mut((s![i, ..], s![i + 1, ..]));
        for (low, high) in low.iter_mut().zip(&mut high) {
            (*low, *high) = (cosine * *low - sine * *high, sine * *low + cosine * *high);
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn worst(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |worst, x| x.abs().max(worst))
    }

    #[test]
    fn values_and_vectors_make_the_matrix_again() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (n, rank) in [(1, 1), (2, 2), (3, 1), (40, 40), (64, 5)] {
            let x = Array2::from_shape_fn((rank, n), |_| rng.random_range(-1.0..1.0));
            let matrix = x.t().dot(&x);
            let (values, vectors) = symmetric(matrix.clone());
            assert!(values.windows(2).into_iter().all(|pair| pair[0] >= pair[1]));
            let largest = values[0];
            assert!(values.iter().skip(rank).all(|v| v.abs() < 1e-13 * largest), "{values}");
            assert!(worst(&vectors.dot(&vectors.t()), &Array2::eye(n)) < 1e-13);
            let again = vectors.t().dot(&Array2::from_diag(&values)).dot(&vectors);
            assert!(worst(&again, &matrix) < 1e-13 * largest, "{n} of rank {rank}");
        }
    }

    #[test]
    fn a_diagonal_matrix_is_its_own() {
        let (values, vectors) =
            symmetric(Array2::from_diag(&Array1::from(vec![1.0, 3.0, 2.0, 0.0])));
        assert_eq!(values, Array1::from(vec![3.0, 2.0, 1.0, 0.0]));
        assert_eq!(vectors.mapv(f64::abs).row(0).to_vec(), [0.0, 1.0, 0.0, 0.0]);
    }
}
