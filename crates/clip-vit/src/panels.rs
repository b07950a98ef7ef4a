//! Weights in the order in which the CPU's kernels read them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rayon::prelude::*;

/// Columns of a panel: two vectors of AVX2, one of AVX-512.
pub(crate) const COLUMNS: usize = 16;

/// A panel's row.
pub(crate) type Row = [f32; COLUMNS];

/// The columns of a matrix in panels of sixteen, `[columns / 16, rows]`: what stands for a linear layer's weights until
/// someone looks at them.
///
/// The matrix is a parameter that is not yet initialised. When it is, for training, saving or another device, it takes
/// the panels away: they are never in memory twice for long, and cannot differ from a matrix that has been changed.
#[derive(Clone, Default)]
pub(crate) struct Panels(Arc<Mutex<Option<Arc<Vec<Row>>>>>);

impl Panels {
    /// Panels of a matrix that is stored as its columns of `rows` elements, one after the other in several parts;
    /// `None` unless each part makes whole panels.
    pub(crate) fn of_columns(parts: &[impl AsRef<[f32]> + Sync], rows: usize) -> Option<Self> {
        let panel = COLUMNS * rows;
        let parts: Vec<&[f32]> = parts.iter().map(AsRef::as_ref).collect();
        if panel == 0 || parts.iter().any(|part| !part.len().is_multiple_of(panel)) {
            return None;
        }
        let columns: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks(panel)).collect();
        let mut panels = vec![[0.0; COLUMNS]; columns.len() * rows];
        let shares = panels.par_chunks_mut(rows).zip(columns);
        shares.for_each(|(panel, columns)| interleave(columns, panel));
        Some(Self(Arc::new(Mutex::new(Some(Arc::new(panels))))))
    }

    /// The panels, unless the matrix has taken them.
    pub(crate) fn get(&self) -> Option<Arc<Vec<Row>>> {
        self.lock().clone()
    }

    /// The matrix, `[rows, columns]`, as a parameter that is made when it is first looked at.
    ///
    /// # Panics
    /// When it is made, unless `D` is 2.
    pub(crate) fn parameter<const D: usize>(
        &self,
        shape: Shape,
        device: &Device,
    ) -> Param<Tensor<D>> {
        let panels = self.clone();
        let of_matrix = shape.clone();
        let matrix = move |device: &Device, require_grad: bool| {
            let panels = panels.lock().take().expect("a parameter is initialised once");
            let values = matrix(&panels, of_matrix[0], of_matrix[1]);
            let data = TensorData::new(values, of_matrix);
            Tensor::from_data(data, device).set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), matrix, device.clone(), true, shape)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Vec<Row>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panels").field(&self.get().map(|panels| panels.len())).finish()
    }
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
        let panels = Panels::of_columns(&[first, others], rows).expect("whole panels");
        let parameter = panels.parameter::<2>(Shape::new([rows, columns]), &device);
        let copy = parameter.clone();
        let kept = panels.get().expect("nobody has looked at the matrix");
        assert_eq!(kept[2 * rows + 3][7], stored[(2 * COLUMNS + 7) * rows + 3]);

        let matrix = parameter.val().into_data().try_to_vec::<f32>().expect("f32");
        for (k, row) in matrix.chunks(columns).enumerate() {
            for (c, x) in row.iter().enumerate() {
                assert_eq!(*x, stored[c * rows + k]);
            }
        }
        assert!(panels.get().is_none());
        assert_eq!(copy.val().into_data().try_to_vec::<f32>().expect("f32"), matrix);
    }

    #[test]
    fn parts_of_panels_are_refused() {
        assert!(Panels::of_columns(&[[0f32; 40]], 5).is_none());
        assert!(Panels::of_columns(&[[0f32; 0]], 0).is_none());
    }
}
