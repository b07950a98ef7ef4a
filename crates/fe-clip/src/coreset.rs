//! A few of many points that stand for all of them.

use burn::tensor::{Int, Tensor, TensorData};
use ndarray::{Array2, ArrayView1, ArrayView2};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use crate::tensors::floats;

/// Distances are compared in so many channels; those of more are mixed at random into these.
///
/// Source: PatchCore, section 3.2.
const CHANNELS: usize = 128;

/// The rows to keep of a memory bank that has more than `limit`: greedy k-centre from a row drawn
/// by `seed`. All rows where `limit` is 0 or they are no more.
///
/// # Shapes
/// - rows: `[n, channels]`
/// - output: `[at most limit, channels]`
pub(crate) fn reduced(rows: Tensor<2>, limit: usize, seed: u64) -> Tensor<2> {
    let [n, channels] = rows.dims();
    if limit == 0 || n <= limit {
        return rows;
    }
    let device = rows.device();
    let values = Array2::from_shape_vec((n, channels), floats(rows.clone()));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let points = mixed(values.expect("a row has as many channels as all"), &mut rng);
    let mut kept = k_centre(points.view(), limit, rng.random_range(0..n));
    kept.sort_unstable();
    let kept: Vec<i64> = kept.into_iter().map(|row| row as i64).collect();
    rows.select(0, Tensor::<1, Int>::from_data(TensorData::new(kept, [limit]), &device))
}

/// Random sums and differences of channels, where there are many of them.
fn mixed(points: Array2<f32>, rng: &mut ChaCha8Rng) -> Array2<f32> {
    let channels = points.ncols();
    if channels <= CHANNELS {
        return points;
    }
    let sign = |_| if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    points.dot(&Array2::from_shape_fn((channels, CHANNELS), sign))
}

/// Rows one after the other, each the farthest from all before it; of several the first.
///
/// # Panics
/// If there is no row `first`, or fewer than `count` rows.
fn k_centre(points: ArrayView2<'_, f32>, count: usize, first: usize) -> Vec<usize> {
    assert!(first < points.nrows() && count <= points.nrows(), "k_centre: expected more rows");
    let mut nearest = vec![f32::INFINITY; points.nrows()];
    let mut chosen = vec![first];
    while chosen.len() < count {
        let last = points.row(chosen[chosen.len() - 1]);
        let farthest = nearest
            .par_iter_mut()
            .enumerate()
            .map(|(row, nearest)| {
                *nearest = nearest.min(squared_distance(points.row(row), last));
                (row, *nearest)
            })
            .reduce(
                || (usize::MAX, f32::NEG_INFINITY),
                |a, b| match a.1.total_cmp(&b.1) {
                    std::cmp::Ordering::Greater => a,
                    std::cmp::Ordering::Less => b,
                    std::cmp::Ordering::Equal if a.0 < b.0 => a,
                    std::cmp::Ordering::Equal => b,
                },
            );
        chosen.push(farthest.0);
    }
    chosen
}

/// In sixteen sums side by side, which a processor adds at once.
fn squared_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    let slice = "rows are contiguous";
    let (a, a_rest) = a.to_slice().expect(slice).as_chunks::<16>();
    let (b, b_rest) = b.to_slice().expect(slice).as_chunks::<16>();
    let mut sums = [0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::golden::few;

    /// Against NumPy (`golden_methods/few.py`).
    #[test]
    fn the_rows_are_those_of_a_plain_loop() {
        let (shape, points) = few("coreset.points");
        let points = Array2::from_shape_vec((shape[0], shape[1]), points).unwrap();
        let expected: Vec<usize> =
            few("coreset.chosen").1.iter().map(|row| *row as usize).collect();
        assert_eq!(k_centre(points.view(), expected.len(), expected[0]), expected);
    }

    /// The largest distance of a row from the nearest kept one.
    fn radius(rows: &Tensor<2>, kept: &Tensor<2>) -> f32 {
        let [n, channels] = rows.dims();
        let array = |x: &Tensor<2>| {
            Array2::from_shape_vec((x.dims()[0], channels), floats(x.clone())).unwrap()
        };
        let (rows, kept) = (array(rows), array(kept));
        (0..n).fold(0f32, |largest, row| {
            let to = |kept| squared_distance(rows.row(row), kept);
            let nearest = kept.rows().into_iter().map(to).fold(f32::INFINITY, f32::min);
            largest.max(nearest.sqrt())
        })
    }

    #[test]
    fn what_is_kept_covers_the_rest_in_many_channels_too() {
        let device = Device::flex();
        // Forty clusters: as many rows are one of each.
        let centres = Tensor::<2>::random([40, 300], Distribution::Normal(0.0, 1.0), &device);
        let noise = Tensor::random([400, 300], Distribution::Normal(0.0, 0.05), &device);
        let rows = centres.repeat(&[10, 1]) + noise;
        let kept = reduced(rows.clone(), 40, 0);
        assert_eq!(kept.dims(), [40, 300]);
        let (own, first) = (radius(&rows, &kept), radius(&rows, &rows.clone().narrow(0, 0, 39)));
        assert!(own < 2.5 && first > 15.0, "{own} of {first}");
        assert_eq!(floats(reduced(rows.clone(), 40, 0)), floats(kept.clone()));
        assert_ne!(floats(reduced(rows.clone(), 40, 1)), floats(kept));
        for limit in [0, 400, 500] {
            assert_eq!(reduced(rows.clone(), limit, 0).dims(), [400, 300]);
        }
    }
}
