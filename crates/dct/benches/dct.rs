//! The paper's sizes: 3x3 blocks and sliding windows of ViT-L tokens, 8x8 blocks of a 4K image.
//!
//! Allocations are counted: none may depend on the number of windows.

use dct::{
    Padding, Reduction, Sliding, block_dct_2d, block_dct_2d_in_place, block_idct_2d_in_place,
    dct_2d, sliding_dct_2d, sliding_reduce,
};
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use ndarray::{Array, Array2, Array4, Axis, Dimension, ShapeBuilder, s};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Deterministic samples in (-1, 1).
fn noise<D: Dimension, S: ShapeBuilder<Dim = D>>(shape: S) -> Array<f32, D> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Array::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn tokens() -> Array4<f32> {
    noise((8, 24, 24, 1024))
}

fn photo() -> Array2<f32> {
    noise((2160, 3840))
}

#[divan::bench]
fn copy_of_tokens(bencher: Bencher<'_, '_>) {
    let from = tokens();
    let mut to = from.clone();
    let bytes = BytesCount::of_slice(from.as_slice().expect("contiguous"));
    bencher.counter(bytes).bench_local(|| to.assign(divan::black_box(&from)));
}

#[divan::bench]
fn blocks_3x3_of_tokens_in_place(bencher: Bencher<'_, '_>) {
    let mut x = tokens();
    let bytes = BytesCount::of_slice(x.as_slice().expect("contiguous"));
    bencher
        .counter(bytes)
        .bench_local(|| block_dct_2d_in_place(divan::black_box(&mut x), 3).expect("24 = 8 x 3"));
}

#[divan::bench]
fn inverse_blocks_3x3_of_tokens_in_place(bencher: Bencher<'_, '_>) {
    let mut x = tokens();
    bencher
        .bench_local(|| block_idct_2d_in_place(divan::black_box(&mut x), 3).expect("24 = 8 x 3"));
}

#[divan::bench]
fn blocks_3x3_of_tokens(bencher: Bencher<'_, '_>) {
    let x = tokens();
    bencher.bench_local(|| block_dct_2d(divan::black_box(x.view()), 3, Padding::None));
}

/// One block at a time, as a reader of the definition would.
#[divan::bench(sample_count = 5)]
fn blocks_3x3_of_tokens_naive(bencher: Bencher<'_, '_>) {
    let mut x = tokens();
    bencher.bench_local(|| {
        for mut plane in x.outer_iter_mut() {
            for mut block in plane.exact_chunks_mut((3, 3, 1024)) {
                for mut channel in block.axis_iter_mut(Axis(2)) {
                    let y = dct_2d(channel.view());
                    channel.assign(&y);
                }
            }
        }
    });
}

#[divan::bench(args = [Reduction::Mean, Reduction::AbsMean, Reduction::PowerMean, Reduction::LogMean])]
fn sliding_3x3_of_tokens(bencher: Bencher<'_, '_>, reduction: Reduction) {
    let x = tokens();
    bencher.bench_local(|| sliding_reduce(divan::black_box(x.view()), &Sliding::new(3), reduction));
}

#[divan::bench]
fn sliding_3x3_of_one_image_all_coefficients(bencher: Bencher<'_, '_>) {
    let x = tokens();
    let image = x.slice(s![0, .., .., ..]);
    bencher.bench_local(|| sliding_dct_2d(divan::black_box(image), 3));
}

/// The cost of a window does not depend on how many there are, nor does the number of allocations.
#[divan::bench(args = [8, 16, 32, 64])]
fn sliding_5x5_of_a_square(bencher: Bencher<'_, '_>, side: usize) {
    let x: ndarray::Array3<f32> = noise((side, side, 64));
    bencher.counter(ItemsCount::new(side * side)).bench_local(|| {
        sliding_reduce(divan::black_box(x.view()), &Sliding::new(5), Reduction::AbsMean)
    });
}

#[divan::bench(args = [8, 16, 32, 64])]
fn blocks_4x4_of_a_square_in_place(bencher: Bencher<'_, '_>, side: usize) {
    let mut x: ndarray::Array3<f32> = noise((side, side, 64));
    bencher.counter(ItemsCount::new(side * side / 16)).bench_local(|| {
        block_dct_2d_in_place(divan::black_box(&mut x), 4).expect("multiples of 4")
    });
}

#[divan::bench]
fn blocks_8x8_of_4k_in_place(bencher: Bencher<'_, '_>) {
    let mut x = photo();
    let bytes = BytesCount::of_slice(x.as_slice().expect("contiguous"));
    bencher.counter(bytes).bench_local(|| {
        block_dct_2d_in_place(divan::black_box(&mut x), 8).expect("2160 = 270 x 8")
    });
}

#[divan::bench]
fn blocks_8x8_of_4k_rgb_in_place(bencher: Bencher<'_, '_>) {
    let mut x: ndarray::Array3<f32> = noise((2160, 3840, 3));
    bencher.bench_local(|| {
        block_dct_2d_in_place(divan::black_box(&mut x), 8).expect("2160 = 270 x 8")
    });
}
