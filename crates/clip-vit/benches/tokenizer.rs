//! Building the vocabulary, which every start of the program pays for, and encoding a prompt.

use clip_vit::Tokenizer;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn new() -> Tokenizer {
    Tokenizer::new()
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let tokenizer = Tokenizer::new();
    bencher.bench(|| tokenizer.encode(divan::black_box("A photo of a damaged object")));
}
