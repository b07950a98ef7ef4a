//! Weights in the order in which the CPU's kernels read them.

use std::sync::{Arc, Weak};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use ndarray::Array2;
use rayon::prelude::*;

use crate::transpose::transpose;
use crate::{Arithmetic, bfloat16, int8};

/// Columns of a panel: two vectors of AVX2, one of AVX-512.
pub(crate) const COLUMNS: usize = 16;

/// A panel's row.
pub(crate) type Row = [f32; COLUMNS];

/// Words of a panel's row: each holds numbers that follow one another in a column.
pub(crate) type Words = [u32; COLUMNS];

/// A matrix in panels of sixteen columns.
#[derive(Debug)]
pub(crate) enum Packed {
    /// `[columns / 16, rows]`
    Float32(Array2<Row>),
    /// `[columns / 16, rows / 2]`: two numbers a word.
    Bfloat16(Array2<Words>),
    /// `[columns / 16, words]`: groups of `depth` rows, four numbers a word; before each what is to be added to its sums
    /// where the other factor has 128 added to every step, and its scales.
    Int8 {
        /// The panels.
        panels: Array2<Words>,
        /// Rows of the matrix.
        depth: usize,
    },
}

/// Words before a group of a panel.
pub(crate) const HEAD: usize = 2;

impl Packed {
    /// Panels of a matrix that is stored as its columns of `rows` elements, one after the other in several parts; `None`
    /// unless each part makes whole panels, and the rows whole words.
    pub(crate) fn of_columns(
        parts: &[impl AsRef<[f32]> + Sync],
        rows: usize,
        arithmetic: Arithmetic,
    ) -> Option<Self> {
        let panel = COLUMNS * rows;
        let parts: Vec<&[f32]> = parts.iter().map(AsRef::as_ref).collect();
        if panel == 0 || parts.iter().any(|part| !part.len().is_multiple_of(panel)) {
            return None;
        }
        let columns: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks(panel)).collect();
        match arithmetic {
            Arithmetic::Float32 => {
                let take = |columns: &[f32], panel: &mut [Row]| interleave(columns, panel);
                Some(Self::Float32(packed(&columns, rows, [0.0; COLUMNS], take)))
            }
            Arithmetic::Bfloat16 if !rows.is_multiple_of(2) => None,
            Arithmetic::Bfloat16 => {
                let take = |columns: &[f32], panel: &mut [Words]| {
                    let pairs = columns.as_chunks().0.iter().map(|[a, b]| bfloat16::pair(*a, *b));
                    interleave(&pairs.collect::<Vec<u32>>(), panel);
                };
                Some(Self::Bfloat16(packed(&columns, rows / 2, [0; COLUMNS], take)))
            }
            Arithmetic::Int8 if !rows.is_multiple_of(16) => None,
            Arithmetic::Int8 => {
                let height = int8::words(rows, HEAD);
                let take = |columns: &[f32], panel: &mut [Words]| {
                    let mut words = vec![0; COLUMNS * height];
                    for (words, column) in words.chunks_exact_mut(height).zip(columns.chunks(rows))
                    {
                        int8::pack(column, words, 0, |scale, sum| {
                            [(-128 * sum).cast_unsigned(), scale.to_bits()]
                        });
                    }
                    interleave(&words, panel);
                };
                let panels = packed(&columns, height, [0; COLUMNS], take);
                Some(Self::Int8 { panels, depth: rows })
            }
        }
    }

    pub(crate) fn arithmetic(&self) -> Arithmetic {
        match self {
            Self::Float32(_) => Arithmetic::Float32,
            Self::Bfloat16(_) => Arithmetic::Bfloat16,
            Self::Int8 { .. } => Arithmetic::Int8,
        }
    }

    /// The matrix, `[rows, columns]`, row by row.
    pub(crate) fn matrix(&self, rows: usize, columns: usize) -> Vec<f32> {
        let by_rows = |number: &(dyn Fn(usize, usize) -> Row + Sync)| {
            let mut matrix = vec![0f32; rows * columns];
            matrix.par_chunks_mut(columns).enumerate().for_each(|(k, row)| {
                for (p, row) in row.as_chunks_mut().0.iter_mut().enumerate() {
                    *row = number(p, k);
                }
            });
            matrix
        };
        match self {
            Self::Float32(panels) => by_rows(&|p, k| panels[[p, k]]),
            Self::Bfloat16(panels) => {
                by_rows(&|p, k| panels[[p, k / 2]].map(|word| bfloat16::unpair(word)[k % 2]))
            }
            Self::Int8 { panels, .. } => {
                let mut matrix = vec![0f32; rows * columns];
                matrix.par_chunks_mut(rows).enumerate().for_each(|(c, column)| {
                    let panel = panels.row(c / COLUMNS);
                    let words: Vec<u32> = panel.iter().map(|words| words[c % COLUMNS]).collect();
                    int8::unpack::<HEAD>(&words, column, |head| f32::from_bits(head[1]));
                });
                transpose(&[matrix], rows)
            }
        }
    }
}

/// Panels of `height` rows from the columns of each.
fn packed<T: Copy + Send + Sync>(
    columns: &[&[f32]],
    height: usize,
    zero: T,
    take: impl Fn(&[f32], &mut [T]) + Sync,
) -> Array2<T> {
    let mut panels = vec![zero; columns.len() * height];
    let each = panels.par_chunks_mut(height).zip(columns);
    each.for_each(|(panel, columns)| take(columns, panel));
    Array2::from_shape_vec((columns.len(), height), panels).expect("whole panels")
}

/// A matrix in panels, which stand in for a linear layer's weights until its parameter is accessed.
///
/// The matrix is a parameter that is not yet initialised and owns the panels; this type only finds them. When the matrix
/// is computed (for training, saving or another device) or replaced, the panels are dropped: weights are not in memory
/// twice for long, and panels are never used in place of a matrix that has been changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    owner: Option<ParamId>,
    packed: Weak<Packed>,
}

impl Panels {
    /// A matrix, `[rows, columns]`, as a parameter that is made when it is first looked at, and its panels.
    ///
    /// # Panics
    /// When it is made, unless `D` is 2.
    pub(crate) fn parameter<const D: usize>(
        packed: Packed,
        shape: Shape,
        device: &Device,
    ) -> (Param<Tensor<D>>, Self) {
        let packed = Arc::new(packed);
        let owner = ParamId::new();
        let panels = Self { owner: Some(owner), packed: Arc::downgrade(&packed) };
        let of_matrix = shape.clone();
        let matrix = move |device: &Device, require_grad: bool| {
            let values = packed.matrix(of_matrix[0], of_matrix[1]);
            let data = TensorData::new(values, of_matrix);
            Tensor::from_data(data, device).set_require_grad(require_grad)
        };
        (Param::uninitialized(owner, matrix, device.clone(), true, shape), panels)
    }

    /// The panels, if they are those of this parameter and it has not been initialised since.
    pub(crate) fn of<const D: usize>(&self, parameter: &Param<Tensor<D>>) -> Option<Arc<Packed>> {
        let untouched = self.owner == Some(parameter.id)
            && !parameter.is_initialized()
            && parameter.adapter().is_none();
        if untouched { self.packed.upgrade() } else { None }
    }
}

/// Puts rows that follow one another side by side, element by element; there are at most `N`.
#[inline(always)]
pub(crate) fn interleave<T: Copy, const N: usize>(rows: &[T], tile: &mut [[T; N]]) {
    let depth = tile.len();
    if rows.len() == N * depth {
        let rows: [&[T]; N] = std::array::from_fn(|r| &rows[r * depth..][..depth]);
        for (i, column) in tile.iter_mut().enumerate() {
            *column = std::array::from_fn(|r| rows[r][i]);
        }
    } else {
        for (r, row) in rows.chunks_exact(depth).enumerate() {
            for (column, x) in tile.iter_mut().zip(row) {
                column[r] = *x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_takes_the_panels_away() {
        let device = Device::flex();
        let (rows, columns) = (48, 48);
        let stored: Vec<f32> = (0..rows * columns).map(|i| (i % 1000) as f32 * 1.01).collect();
        let (first, others) = stored.split_at(COLUMNS * rows);
        for arithmetic in [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8] {
            let packed = Packed::of_columns(&[first, others], rows, arithmetic).unwrap();
            assert_eq!(packed.arithmetic(), arithmetic);
            let shape = Shape::new([rows, columns]);
            let (parameter, panels) = Panels::parameter::<2>(packed, shape, &device);
            let copy = parameter.clone();
            assert!(panels.of(&parameter).is_some(), "nobody has looked at the matrix");

            let matrix = parameter.val().into_data().try_to_vec::<f32>().unwrap();
            for (k, row) in matrix.chunks(columns).enumerate() {
                for (c, x) in row.iter().enumerate() {
                    let exact = stored[c * rows + k];
                    match arithmetic {
                        Arithmetic::Float32 => assert_eq!(*x, exact),
                        Arithmetic::Bfloat16 => {
                            assert_eq!(*x, half::bf16::from_f32(exact).to_f32())
                        }
                        // Half a step in each of 32 rotated numbers of at most 32 * 1010 / sqrt(32).
                        Arithmetic::Int8 => assert!((x - exact).abs() < 32.0 * 1010.0 / 254.0),
                    }
                }
            }
            assert!(panels.of(&copy).is_none());
            assert_eq!(panels.packed.strong_count(), 0, "weights are in memory twice");
            assert_eq!(copy.val().into_data().try_to_vec::<f32>().unwrap(), matrix);
        }
    }

    #[test]
    fn parts_of_panels_and_of_words_are_refused() {
        assert!(Packed::of_columns(&[[0f32; 40]], 5, Arithmetic::Float32).is_none());
        assert!(Packed::of_columns(&[[0f32; 0]], 0, Arithmetic::Float32).is_none());
        assert!(Packed::of_columns(&[[0f32; 80]], 5, Arithmetic::Bfloat16).is_none());
        assert!(Packed::of_columns(&[[0f32; 320]], 20, Arithmetic::Int8).is_none());
    }
}
