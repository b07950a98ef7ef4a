//! The search of a memory bank.

use burn::tensor::{DType, Tensor};

use crate::{Arithmetic, cpu};

/// Rows of the matrix of products that are held at once on other devices than the CPU.
const AT_ONCE: usize = 1024;

/// The largest product of each row of a matrix with any row of another, without holding all products: of unit rows,
/// the cosine to the nearest.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let query = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, -1.0]], &device);
/// let bank = Tensor::<2>::from_floats([[0.6, 0.8], [0.8, 0.6]], &device);
/// let highest = clip_vit::highest_products(query, bank).into_data();
/// assert_eq!(highest.try_to_vec::<f32>().unwrap(), [0.8, -0.6]);
/// ```
///
/// # Shapes
/// - query: `[rows, channels]`, bank: `[remembered, channels]`
/// - output: `[rows, 1]`
///
/// # Panics
/// If the numbers of channels differ, or nothing is remembered.
pub fn highest_products(query: Tensor<2>, bank: Tensor<2>) -> Tensor<2> {
    let ([rows, channels], [remembered, same]) = (query.dims(), bank.dims());
    assert!(channels == same, "bank: expected {channels} channels, got {same}");
    assert!(remembered > 0, "bank: expected a row");
    let float32 = query.dtype() == DType::F32 && bank.dtype() == DType::F32;
    if float32 && cpu::reads_panels(&query.device(), Arithmetic::Float32) {
        return cpu::highest_products(query, bank);
    }
    let bank = bank.transpose();
    let highest = (0..rows).step_by(AT_ONCE).map(|start| {
        let part = query.clone().narrow(0, start, AT_ONCE.min(rows - start));
        part.matmul(bank.clone()).max_dim(1)
    });
    Tensor::cat(highest.collect(), 0)
}
