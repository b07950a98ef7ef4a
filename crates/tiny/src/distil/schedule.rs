//! Learning rate and window of a step, by its number alone.

use super::{DistilConfig, PARTS};

/// Steps of the linear warm-up.
const WARM_UP: usize = 100;

/// Where the constant phase ends.
pub(super) fn plateau(config: &DistilConfig) -> usize {
    config.steps.saturating_sub(config.anneal)
}

/// Tokens along the side of a step's window: 9 of the 15, but the whole grid in one step of six and in
/// the second half of the annealing.
pub(super) fn grid(config: &DistilConfig, step: usize) -> usize {
    if step % 6 == 5 || step >= config.steps - config.anneal / 2 { 15 } else { 9 }
}

/// Images of a part of a step: the whole grid costs nearly three times the window.
pub(super) fn images(config: &DistilConfig, grid: usize) -> usize {
    let images = config.windows / PARTS;
    if grid == 9 { images.max(2) } else { (images * 3 / 8).max(2) }
}

/// Share of the peak learning rates: linear warm-up, constant, linear to nothing over the last
/// `anneal` steps.
pub(super) fn rate(config: &DistilConfig, step: usize) -> f64 {
    let warm = (step + 1) as f64 / WARM_UP as f64;
    let left = (config.steps - step) as f64 / (config.anneal.max(1) + 1) as f64;
    warm.min(left).min(1.0) * config.rate
}

/// Share that the average of weights keeps of itself: it spans the last tenth of the steps.
pub(super) fn keep(step: usize) -> f64 {
    (1.0 - 10.0 / (step as f64 + 10.0)).min(0.9995)
}
