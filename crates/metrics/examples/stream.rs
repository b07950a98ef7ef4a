//! Measures a stream of generated maps, never held in memory: CPU time a pixel, and memory (Linux).
//!
//! Usage: `stream [PIXELS]...`, by default 10^7, 10^8 and 10^9.

#![allow(clippy::print_stdout)]

use std::fs;

use anomaly_metrics::{Connectivity, PixelHistogram, PixelMetrics};
use ndarray::{Array2, Zip};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIDE: usize = 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sizes: Vec<f64> =
        std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    for pixels in if sizes.is_empty() { vec![1e7, 1e8, 1e9] } else { sizes } {
        let images = (pixels / (SIDE * SIDE) as f64).ceil() as u64;
        let pixels = images as f64 * (SIDE * SIDE) as f64;
        let before = memory("VmRSS")?;

        let mut exact = PixelMetrics::new(Connectivity::Eight);
        let mut seconds = 0.0;
        for (map, mask) in (0..images).map(image) {
            let start = cpu_seconds()?;
            exact.add(map.view(), mask.view())?;
            seconds += cpu_seconds()? - start;
        }
        let start = cpu_seconds()?;
        let report = exact.finish(&[0.3])?;
        seconds += cpu_seconds()? - start;
        println!("{images} images, {pixels:.2e} pixels");
        println!(
            "  exact:     {:.2} ns a pixel, {:.0} MB, AUROC {:.12}, AUPRO {:.12}",
            seconds / pixels * 1e9,
            memory("VmHWM")? - before,
            report.auroc?,
            report.aupro[0].clone()?
        );

        let mut histogram = PixelHistogram::new(Connectivity::Eight, 0.0, 1.0);
        let mut seconds = 0.0;
        for (map, mask) in (0..images).map(image) {
            let start = cpu_seconds()?;
            histogram.add(map.view(), mask.view())?;
            seconds += cpu_seconds()? - start;
        }
        let report = histogram.finish(&[0.3])?;
        println!(
            "  histogram: {:.2} ns a pixel, AUROC {:.12?}, AUPRO {:.12?}",
            seconds / pixels * 1e9,
            report.auroc?,
            report.aupro[0].clone()?
        );
    }
    Ok(())
}

/// Sigmoid scores; about 1 % anomalous pixels in discs.
fn image(index: u64) -> (Array2<f32>, Array2<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(index);
    let discs: Vec<(usize, usize)> =
        (0..3).map(|_| (rng.random_range(0..SIDE), rng.random_range(0..SIDE))).collect();
    let mask = Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
        discs.iter().any(|&(y, x)| row.abs_diff(y).pow(2) + column.abs_diff(x).pow(2) < 1200)
    });
    let map = Zip::from(&mask).map_collect(|&anomalous| {
        let bits: u32 = rng.random();
        let noise =
            bits.to_le_bytes().iter().map(|&byte| f32::from(byte)).sum::<f32>() / 148.0 - 3.45;
        let noise = noise + (bits >> 7) as f32 / (1u32 << 30) as f32; // to more than the sums of four bytes
        1.0 / (1.0 + (3.0 - 1.2 * noise - if anomalous { 2.2 } else { 0.0 }).exp())
    });
    (map, mask)
}

/// CPU time of this process, with all its threads.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanoseconds * 1e-9)
}

/// An entry of the process status, in MB.
fn memory(key: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(key)).ok_or("no such entry")?;
    Ok(line.split_whitespace().nth(1).unwrap_or_default().parse::<f64>()? / 1024.0)
}
