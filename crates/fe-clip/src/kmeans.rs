//! Groups of points around their means.
//!
//! Source: Lloyd's algorithm from the starts of Arthur and Vassilvitskii, k-means++, SODA 2007, as
//! scikit-learn 1.9 has both (`sklearn/cluster/_kmeans.py`): given the same numbers for its random
//! ones it finds the same groups.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

const MOST_ROUNDS: usize = 300;
/// Of the mean variance of a channel: centres that move less stay.
const STILL: f64 = 1e-4;

/// The group of each point, counted from 0. The same points give the same groups: where the
/// algorithm draws random numbers, those of a sequence stand that fills [0, 1) evenly.
///
/// Points that are alike can leave groups empty.
///
/// # Shapes
/// - points: `[points, channels]`; at least one
pub(crate) fn groups(points: ArrayView2<'_, f64>, count: usize) -> Vec<usize> {
    let mut centres = starts(points, count.min(points.nrows()));
    let still = STILL * points.var_axis(Axis(0), 0.0).mean().unwrap_or(0.0);
    let mut last: Vec<usize> = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let groups = nearest(points, &centres);
        let moved = means(points, &groups, &centres);
        let way = (&moved - &centres).mapv(|x| x * x).sum();
        centres = moved;
        if groups == last {
            return groups;
        }
        last = groups;
        if way <= still {
            break;
        }
    }
    nearest(points, &centres)
}

/// Points as far from one another as chance has it: each is the best of a few that are drawn with
/// probabilities that grow with the squared distance from those before it.
fn starts(points: ArrayView2<'_, f64>, count: usize) -> Array2<f64> {
    let n = points.nrows();
    let mut numbers = Even::default();
    let first = ((numbers.draw() * n as f64) as usize).min(n - 1);
    let mut chosen = vec![first];
    let mut closest = distances(points, points.row(first));
    let tries = 2 + (count as f64).ln() as usize;
    while chosen.len() < count {
        let sums: Vec<f64> = closest
            .iter()
            .scan(0.0, |sum, d| {
                *sum += d;
                Some(*sum)
            })
            .collect();
        let all = sums.last().copied().unwrap_or(0.0);
        let candidate = |_| {
            let drawn = numbers.draw() * all;
            let point = sums.partition_point(|sum| *sum < drawn).min(n - 1);
            let with = distances(points, points.row(point));
            (point, ndarray::Zip::from(&closest).and(&with).map_collect(|a, b| a.min(*b)))
        };
        let tried: Vec<(usize, Array1<f64>)> = (0..tries).map(candidate).collect();
        // The first of equals.
        let best = tried.into_iter().min_by(|(_, a), (_, b)| a.sum().total_cmp(&b.sum()));
        let (point, left) = best.expect("there are two tries at least");
        chosen.push(point);
        closest = left;
    }
    points.select(Axis(0), &chosen)
}

/// Squared Euclidean distance of every point.
fn distances(points: ArrayView2<'_, f64>, from: ArrayView1<'_, f64>) -> Array1<f64> {
    let each = points.rows().into_iter();
    each.map(|point| point.iter().zip(from).map(|(a, b)| (a - b).powi(2)).sum()).collect()
}

fn nearest(points: ArrayView2<'_, f64>, centres: &Array2<f64>) -> Vec<usize> {
    let products = points.dot(&centres.t());
    let squares: Vec<f64> = centres.rows().into_iter().map(|c| c.dot(&c)).collect();
    let of_point = |products: ArrayView1<'_, f64>| {
        let each = squares.iter().zip(products).map(|(square, product)| square - 2.0 * product);
        let least = each.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        least.map_or(0, |(centre, _)| centre)
    };
    products.rows().into_iter().map(of_point).collect()
}

/// The means of groups; a group without points keeps its centre.
fn means(points: ArrayView2<'_, f64>, groups: &[usize], before: &Array2<f64>) -> Array2<f64> {
    let mut sums = Array2::zeros(before.raw_dim());
    let mut sizes = vec![0usize; before.nrows()];
    for (point, group) in points.rows().into_iter().zip(groups) {
        sums.row_mut(*group).scaled_add(1.0, &point);
        sizes[*group] += 1;
    }
    for ((mut sum, size), before) in sums.rows_mut().into_iter().zip(sizes).zip(before.rows()) {
        if size == 0 {
            sum.assign(&before);
        } else {
            sum /= size as f64;
        }
    }
    sums
}

/// Multiples of the golden ratio without their whole part.
#[derive(Default)]
struct Even(u32);

impl Even {
    fn draw(&mut self) -> f64 {
        self.0 += 1;
        (f64::from(self.0) * 0.618_033_988_749_894_9).fract()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn heaps_are_found_and_points_that_are_alike_are_one_group() {
        let heaps = array![[0.0, 0.0], [9.0, 0.1], [0.1, 0.0], [9.0, 0.0], [0.0, 0.1], [0.0, 9.0]];
        let found = groups(heaps.view(), 3);
        assert!(found[0] == found[2] && found[0] == found[4] && found[1] == found[3]);
        assert!(found[5] != found[0] && found[5] != found[1] && found[0] != found[1]);
        let alike = Array2::<f64>::ones((4, 3));
        assert_eq!(groups(alike.view(), 2), [0; 4]);
        assert_eq!(groups(heaps.slice(ndarray::s![..1, ..]), 20), [0]);
    }
}
