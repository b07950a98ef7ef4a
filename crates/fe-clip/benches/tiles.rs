//! A photograph of 4096 x 3072 pixels in tiles, beside as many images of the model's size in
//! batches, by turns, both from pixels in memory: what tiles cost beside the model's own work.
//!
//! `cargo bench --workspace --bench tiles`, and with `-- memory` the peak of tiles alone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use burn::tensor::Device;
use cpu_time::ProcessTime;
use fe_clip::{Backbone, Detector, Inspector, RunConfig, TileConfig};
use image::imageops::crop_imm;
use image::{Rgb, RgbImage};

const SIZE: (u32, u32) = (4096, 3072);
const TURNS: usize = 3;

fn main() {
    let tiles = tiny(Some(TileConfig::default()));
    let photograph = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let grain = ((x / 3 * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 29) as u8;
        Rgb([140 + grain, 142 + grain, 145 + grain])
    });
    let before = status("VmRSS");
    let whole = || [photograph.clone()];
    if std::env::args().any(|argument| argument == "memory") {
        let map = tiles.inspect(whole()).next().unwrap().unwrap().map;
        let (peak, image) = (status("VmHWM"), photograph.len() as f64 / MIB);
        println!("with the model and the photograph ({image:.0} MiB): {before:.0} MiB");
        println!("with its map ({:.0} MiB), at most: {peak:.0} MiB", map.len() as f64 * 4.0 / MIB);
        return;
    }
    // Evenly from edge to edge, overlapping by a quarter at least, and once as a whole.
    let side = tiles.detector().preprocess().width as u32;
    let along = |pixels: u32| (pixels - side).div_ceil(side - side / 4) + 1;
    let (across, down) = (along(SIZE.0), along(SIZE.1));
    let count = (across * down + 1) as usize;
    let cut = |n: u32| {
        let (x, y) = (n % across * side * 3 / 4, n / across * side * 3 / 4);
        let (x, y) = (x.min(SIZE.0 - side), y.min(SIZE.1 - side));
        crop_imm(&photograph, x, y, side, side).to_image()
    };
    let plain = tiny(None);
    let images: Vec<RgbImage> = (0..count as u32).map(|n| cut(n.min(across * down - 1))).collect();
    // The first pass of a process pays for threads and memory.
    assert!(plain.inspect(images[..8].to_vec()).all(|found| found.is_ok()));
    let mut best = [(Duration::MAX, Duration::MAX); 2];
    for turn in 0..TURNS {
        let of_tiles = measured(|| assert!(tiles.inspect(whole()).all(|found| found.is_ok())));
        let of_images = measured(|| assert!(plain.inspect(images.clone()).all(|f| f.is_ok())));
        for ((best, now), what) in
            best.iter_mut().zip([of_tiles, of_images]).zip(["tiles", "images"])
        {
            println!("turn {turn}: {count} {what} in {:.2?}, {:.2?} of processors", now.0, now.1);
            *best = (best.0.min(now.0), best.1.min(now.1));
        }
    }
    let a_second = |time: Duration| count as f64 / time.as_secs_f64();
    let [tiles, images] = best;
    println!(
        "the fastest turns: {:.1} tiles a second, {:.1} images; tiles take {:.3} of the time, {:.3} of the processors' time",
        a_second(tiles.0),
        a_second(images.0),
        tiles.0.div_duration_f64(images.0),
        tiles.1.div_duration_f64(images.1)
    );
}

const MIB: f64 = (1 << 20) as f64;

/// What the system says of this process, in MiB.
fn status(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn measured(work: impl FnOnce()) -> (Duration, Duration) {
    let (clock, processors) = (Instant::now(), ProcessTime::now());
    work();
    (clock.elapsed(), processors.elapsed())
}

/// The embedded default with these tiles.
fn tiny(tile: Option<TileConfig>) -> Inspector {
    let device = Device::flex();
    let backbone = Backbone::load("tiny", None, &device).unwrap();
    let adapters = backbone.adapters().unwrap().unwrap();
    let mut run = RunConfig {
        model: adapters.origin.config.clone().unwrap(),
        prompts: adapters.origin.prompts.clone().unwrap(),
        ..RunConfig::default()
    };
    run.model.tile = tile;
    let head = run.model.method.new_head(&backbone.clip, &device).unwrap();
    let head = adapters.head(head, &device).unwrap();
    Inspector::new(Detector::new(&run, Some(backbone.clip), Some(head), &device).unwrap())
}
