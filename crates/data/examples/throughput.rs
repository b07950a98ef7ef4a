//! Decodes files, and resizes them if SIZE is not zero, on one thread: `throughput SIZE ROUNDS FILE…`.
//! benches/pillow.py runs it in turns with Pillow and measures its processor time.

use data::{Limits, Preprocess, Resize, read_image, resize_rgb};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        || arguments.next().ok_or("SIZE ROUNDS FILE…")?.parse::<usize>().map_err(|e| e.to_string());
    let (size, rounds) = (number()?, number()?);
    let files: Vec<String> = arguments.collect();
    for _ in 0..rounds {
        for path in &files {
            let image = read_image(path.as_ref(), &Limits::default())?;
            if size > 0 {
                std::hint::black_box(resize_rgb(&image, &Preprocess::clip(size, Resize::Squash)));
            }
        }
    }
    Ok(())
}
