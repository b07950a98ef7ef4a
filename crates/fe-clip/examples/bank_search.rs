//! Searches a memory bank as often as it is told, for `benches/bank_search.py`.
//!
//! `bank_search FOLDER CHANNELS`: `bank.f32` and `queries.f32` there hold unit vectors, row by row.
//! For every line that comes in it searches once and answers the seconds of the wall and of its
//! processors; in the end `found.f32` has the distances.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use cpu_time::ProcessTime;
use fe_clip::MemoryBank;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, channels] = arguments.as_slice() else {
        return println!("bank_search FOLDER CHANNELS");
    };
    let (folder, channels): (&Path, usize) = (Path::new(folder), channels.parse().unwrap());
    let device = Device::flex();
    let read = |name: &str| -> Tensor<4> {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let words = bytes.as_chunks::<4>().0.iter();
        let values: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
        let rows = values.len() / channels;
        Tensor::from_data(TensorData::new(values, [1, rows, 1, channels]), &device)
    };
    let mut bank = MemoryBank::new(1);
    bank.add(&[read("bank.f32")]);
    let queries = [read("queries.f32")];
    let mut found: Vec<f32> = Vec::new();
    for _ in std::io::stdin().lines() {
        let (wall, processor) = (Instant::now(), ProcessTime::now());
        found = bank.distance(&queries).into_data().try_to_vec().unwrap();
        println!("{} {}", wall.elapsed().as_secs_f64(), processor.elapsed().as_secs_f64());
    }
    let bytes: Vec<u8> = found.iter().flat_map(|distance| distance.to_le_bytes()).collect();
    std::fs::write(folder.join("found.f32"), bytes).unwrap();
}
