//! Speed of drawing and of drawing with writing.

use rayon::prelude::*;
use synthetic::{DefectKind, Request, WriteOptions, categories, render, write_dataset};

fn main() {
    divan::main();
}

fn requests(size: u32) -> Vec<Request> {
    (0..categories().len() * 2)
        .map(|i| Request {
            category: i / 2,
            size,
            scene_seed: i as u64,
            defect: (i % 2 == 1).then(|| (DefectKind::ALL[i / 2 % DefectKind::ALL.len()], 5)),
        })
        .collect()
}

/// Every category with and without a defect, on all cores; see the items a second.
#[divan::bench(args = [240, 512], sample_count = 5)]
fn draw(bencher: divan::Bencher<'_, '_>, size: u32) {
    let requests = requests(size);
    bencher
        .counter(divan::counter::ItemsCount::new(requests.len()))
        .bench(|| requests.par_iter().map(render).collect::<Vec<_>>());
}

/// A data set of 512 × 512 PNG files, on all cores.
#[divan::bench(sample_count = 3)]
fn write(bencher: divan::Bencher<'_, '_>) {
    let options = WriteOptions {
        train_normal: 1,
        test_normal: 1,
        test_per_defect: 1,
        defects: vec![DefectKind::Scratch, DefectKind::Stain],
        ..WriteOptions::default()
    };
    bencher
        .counter(divan::counter::ItemsCount::new(categories().len() * 4))
        .with_inputs(|| tempfile::tempdir().expect("a temporary folder"))
        .bench_refs(|folder| {
            write_dataset(&folder.path().join("set"), &options, |_, _| ()).expect("written")
        });
}
