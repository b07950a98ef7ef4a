//! Learning rate and window of a step, by its number alone.

use super::{PARTS, PretrainConfig};

/// Tokens along the side of a step's window: 9 of the 15, but the whole grid in one step of
/// three and in the last tenth.
pub(super) fn grid(config: &PretrainConfig, step: usize) -> usize {
    if step % 3 == 2 || step * 10 >= config.steps * 9 { 15 } else { 9 }
}

/// Images of a part of a step: the whole grid costs about three times the window.
pub(super) fn images(config: &PretrainConfig, grid: usize) -> usize {
    let images = config.batch_size / PARTS;
    if grid == 9 { images.max(2) } else { (images / 3).max(2) }
}

/// Linear warm-up over 4 % of the steps, then a cosine to a fiftieth of the peak.
pub(super) fn learning_rate(config: &PretrainConfig, step: usize) -> f64 {
    let warm_up = (config.steps / 25).max(1);
    let peak = config.learning_rate;
    if step < warm_up {
        return peak * (step + 1) as f64 / warm_up as f64;
    }
    let done = (step - warm_up) as f64 / (config.steps - warm_up).max(1) as f64;
    let floor = peak / 50.0;
    floor + (peak - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}
