//! Weights in the order in which the CPU's kernels read them.

use std::sync::{Arc, Weak};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rayon::prelude::*;

/// Columns of a panel: two vectors of AVX2, one of AVX-512.
pub(crate) const COLUMNS: usize = 16;

/// A panel's row.
pub(crate) type Row = [f32; COLUMNS];

/// The columns of a matrix in panels of sixteen, `[columns / 16, rows]`: which stand in for a linear layer's weights
/// until its parameter is accessed.
///
/// The matrix is a parameter that is not yet initialised and owns the panels; this type only finds them. When the matrix
/// is computed (for training, saving or another device) or replaced, the panels are dropped: weights are not in memory
/// twice for long, and panels are never used in place of a matrix that has been changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    owner: Option<ParamId>,
    rows: Weak<Vec<Row>>,
}

impl Panels {
    /// A matrix, `[rows, columns]`, as a parameter that is made when it is first looked at, and its panels.
    ///
    /// # Panics
    /// When it is made, unless `D` is 2.
    pub(crate) fn parameter<const D: usize>(
        rows: Vec<Row>,
        shape: Shape,
        device: &Device,
    ) -> (Param<Tensor<D>>, Self) {
        let rows = Arc::new(rows);
        let owner = ParamId::new();
        let panels = Self { owner: Some(owner), rows: Arc::downgrade(&rows) };
        let of_matrix = shape.clone();
        let matrix = move |device: &Device, require_grad: bool| {
            let values = matrix(&rows, of_matrix[0], of_matrix[1]);
            let data = TensorData::new(values, of_matrix);
            Tensor::from_data(data, device).set_require_grad(require_grad)
        };
        (Param::uninitialized(owner, matrix, device.clone(), true, shape), panels)
    }

    /// The panels, if they are those of this parameter and it has not been initialised since.
    pub(crate) fn of<const D: usize>(&self, parameter: &Param<Tensor<D>>) -> Option<Arc<Vec<Row>>> {
        let untouched = self.owner == Some(parameter.id)
            && !parameter.is_initialized()
            && parameter.adapter().is_none();
        if untouched { self.rows.upgrade() } else { None }
    }
}

/// Panels of a matrix that is stored as its columns of `rows` elements, one after the other in several parts; `None`
/// unless each part makes whole panels.
pub(crate) fn of_columns(parts: &[impl AsRef<[f32]> + Sync], rows: usize) -> Option<Vec<Row>> {
    let panel = COLUMNS * rows;
    let parts: Vec<&[f32]> = parts.iter().map(AsRef::as_ref).collect();
    if panel == 0 || parts.iter().any(|part| !part.len().is_multiple_of(panel)) {
        return None;
    }
    let columns: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks(panel)).collect();
    let mut panels = vec![[0.0; COLUMNS]; columns.len() * rows];
    let shares = panels.par_chunks_mut(rows).zip(columns);
    shares.for_each(|(panel, columns)| interleave(columns, panel));
    Some(panels)
}

/// Puts rows that follow one another side by side, element by element; there are at most `N`.
#[inline(always)]
pub(crate) fn interleave<const N: usize>(rows: &[f32], tile: &mut [[f32; N]]) {
    let depth = tile.len();
    if rows.len() == N * depth {
        let rows: [&[f32]; N] = std::array::from_fn(|r| &rows[r * depth..][..depth]);
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

fn matrix(panels: &[Row], rows: usize, columns: usize) -> Vec<f32> {
    let mut matrix = vec![0f32; rows * columns];
    matrix.par_chunks_mut(columns).enumerate().for_each(|(k, row)| {
        for (p, row) in row.chunks_exact_mut(COLUMNS).enumerate() {
            row.copy_from_slice(&panels[p * rows + k]);
        }
    });
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_takes_the_panels_away() {
        let device = Device::flex();
        let (rows, columns) = (5, 48);
        let stored: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let (first, others) = stored.split_at(COLUMNS * rows);
        let panels = of_columns(&[first, others], rows).expect("whole panels");
        let shape = Shape::new([rows, columns]);
        let (parameter, panels) = Panels::parameter::<2>(panels, shape, &device);
        let copy = parameter.clone();
        let kept = panels.of(&parameter).expect("nobody has looked at the matrix");
        assert_eq!(kept[2 * rows + 3][7], stored[(2 * COLUMNS + 7) * rows + 3]);
        drop(kept);

        let matrix = parameter.val().into_data().try_to_vec::<f32>().expect("f32");
        for (k, row) in matrix.chunks(columns).enumerate() {
            for (c, x) in row.iter().enumerate() {
                assert_eq!(*x, stored[c * rows + k]);
            }
        }
        assert!(panels.of(&copy).is_none());
        assert_eq!(panels.rows.strong_count(), 0, "weights are in memory twice");
        assert_eq!(copy.val().into_data().try_to_vec::<f32>().expect("f32"), matrix);
    }

    #[test]
    fn parts_of_panels_are_refused() {
        assert!(of_columns(&[[0f32; 40]], 5).is_none());
        assert!(of_columns(&[[0f32; 0]], 0).is_none());
    }
}
