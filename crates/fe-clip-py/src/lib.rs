//! The native half of the Python package `fe_clip`: arrays in, numbers and arrays out. What is
//! convenient in Python (kinds of images, results, pictures in notebooks) is written in Python,
//! in `python/fe_clip`; `_native.pyi` there has the types of what is here.

mod cosine;
mod errors;
mod images;
mod inspector;
mod measures;
mod pictures;
mod started;
mod verdict;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::cosine::{block_dct_2d, block_idct_2d, dctn, idctn};
    #[pymodule_export]
    use crate::errors::{Error, Undefined};
    #[pymodule_export]
    use crate::images::find_images;
    #[pymodule_export]
    use crate::inspector::Inspector;
    #[pymodule_export]
    use crate::measures::{aupro, auroc, average_precision, f1_max};
    #[pymodule_export]
    use crate::pictures::{map_on_image, overlay, png, read_image};
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
