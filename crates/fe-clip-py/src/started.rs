//! Threads do not survive a fork: work that a child process hands to those of its parent would
//! never be done. What needs threads asks here first and raises in such a child.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::PyResult;
use pyo3::exceptions::PyRuntimeError;

/// The process in which threads were first needed; 0 as long as there is none.
static HOME: AtomicU32 = AtomicU32::new(0);

/// Says that threads will be needed.
///
/// # Errors
/// `RuntimeError` in a process that was forked from one that had needed threads.
pub(crate) fn enter() -> PyResult<()> {
    let here = process::id();
    match HOME.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed) {
        Err(home) if home != here => Err(PyRuntimeError::new_err(
            "fe_clip was used before this process was forked, and its threads are not here: start \
             processes by multiprocessing.get_context(\"spawn\") or \"forkserver\", or fork before \
             the first use",
        )),
        _ => Ok(()),
    }
}
