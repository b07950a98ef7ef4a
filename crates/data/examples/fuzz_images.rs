//! Feeds damaged images to the decoder: `fuzz_images SECONDS SEED DIRECTORY…` (valid files of at most 64 KiB are taken
//! from the directories). Reports panics, slow files and the peak memory of the process; fails on a panic or a peak
//! above twice the limit given to the decoder. A file that does so is written to the temporary directory.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data::{Limits, decode_image};
use rand::{Rng, SeedableRng, rngs::StdRng};

const LIMITS: Limits = Limits { max_pixels: 16 << 20, max_bytes: 192 << 20 };
const SLOW: Duration = Duration::from_secs(2);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|a| a.parse::<u64>().ok()).expect("SECONDS SEED");
    let (seconds, seed) = (number(), number());
    let mut seeds = Vec::new();
    arguments.for_each(|directory| collect(Path::new(&directory), &mut seeds));
    assert!(!seeds.is_empty(), "no file of at most 64 KiB in the directories");
    println!("{} valid files", seeds.len());

    std::panic::set_hook(Box::new(|_| {}));
    let mut random = StdRng::seed_from_u64(seed);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let (start, mut panics, mut slow) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..=8) {
            mutate(&mut bytes, &seeds, &mut random);
        }
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| decode_image(&bytes, "mutant", &LIMITS)));
        if began.elapsed() > SLOW {
            slow += 1;
            println!("{:.1} s: {}", began.elapsed().as_secs_f64(), keep(&bytes).display());
        }
        *outcomes
            .entry(match outcome {
                Ok(Ok(_)) => "decoded",
                Ok(Err(data::Error::NotAnImage { .. })) => "not an image",
                Ok(Err(data::Error::Unsupported { .. })) => "unsupported",
                Ok(Err(data::Error::Broken { .. })) => "broken",
                Ok(Err(data::Error::TooLarge { .. })) => "too large",
                Ok(Err(data::Error::FloatRange { .. })) => "float range",
                Ok(Err(data::Error::Io { .. })) => "other error",
                // A panic inside a decoder is an error of its own; elsewhere it is one all the same.
                Ok(Err(error)) => {
                    panics += 1;
                    println!("{error}: {}", keep(&bytes).display());
                    "panic"
                }
                Err(_) => {
                    panics += 1;
                    println!("panic: {}", keep(&bytes).display());
                    "panic"
                }
            })
            .or_default() += 1;
    }
    let peak = peak_memory();
    println!("{outcomes:?}; {slow} slower than {SLOW:?}; peak memory {} MiB", peak >> 20);
    assert!(panics == 0, "{panics} panics");
    assert!(peak < 2 * LIMITS.max_bytes, "the peak exceeds twice the limit");
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    if bytes.is_empty() {
        return;
    }
    // Half of all changes go to the first bytes, where the headers are.
    let reach = if random.random() { bytes.len() } else { bytes.len().min(64) };
    let at = random.random_range(0..reach);
    let length = random.random_range(1..=16).min(bytes.len() - at);
    match random.random_range(0..8) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes[at..at + length].fill([0, 0xff, 0x7f, 0x80][random.random_range(0..4)]),
        3 => bytes[at..at + length].iter_mut().for_each(|b| *b = random.random()),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..at + length)),
        6 => {
            let block = bytes[at..at + length].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, block);
        }
        _ => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..other.len());
            let block = other[from..(from + random.random_range(1..256)).min(other.len())].to_vec();
            let end = (at + block.len()).min(bytes.len());
            bytes.splice(at..end, block);
        }
    }
}

fn collect(directory: &Path, seeds: &mut Vec<Vec<u8>>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, seeds);
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.len() <= 64 << 10
            && decode_image(&bytes, "seed", &LIMITS).is_ok()
        {
            seeds.push(bytes);
        }
    }
}

fn keep(bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fuzz-images-{}.bin", bytes.len()));
    std::fs::write(&path, bytes).expect("the temporary directory can be written");
    path
}

/// Peak resident memory in bytes, 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) << 10
}
