//! One pass of decoding and resizing on one thread: `throughput SIZE FILE…` prints the seconds each step took.
//! benches/pillow.py runs it in turns with Pillow.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use data::{Limits, Preprocess, Resize, read_image, resize_rgb};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().ok_or("SIZE FILE…")?.parse()?;
    let target = Preprocess::clip(size, Resize::Squash);
    let (mut decode, mut resize) = (Duration::ZERO, Duration::ZERO);
    for path in arguments {
        let start = Instant::now();
        let image = read_image(path.as_ref(), &Limits::default())?;
        let decoded = Instant::now();
        std::hint::black_box(resize_rgb(&image, &target));
        decode += decoded - start;
        resize += decoded.elapsed();
    }
    println!("{} {}", decode.as_secs_f64(), resize.as_secs_f64());
    Ok(())
}
