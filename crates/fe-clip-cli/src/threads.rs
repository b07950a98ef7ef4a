//! How many threads compute.

use anyhow::Context;

/// Limits the threads of tensors, metrics and decoding; without a number the processor's cores
/// decide (or `RAYON_NUM_THREADS`).
///
/// # Errors
/// If the threads cannot be started.
pub(crate) fn limit(threads: Option<u16>) -> anyhow::Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(threads))
        .build_global()
        .with_context(|| format!("starting {threads} threads"))
}

/// Threads in use.
pub(crate) fn count() -> usize {
    rayon::current_num_threads()
}
