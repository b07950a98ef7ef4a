//! Expected values of unit tests.

use safetensors::SafeTensors;

/// Shape and values of what `tests/golden_methods/few.py` has made.
pub(crate) fn few(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = include_bytes!("../tests/golden_methods/few.safetensors");
    let file = SafeTensors::deserialize(file).unwrap();
    let view = file.tensor(name).unwrap();
    let words = view.data().as_chunks::<4>().0.iter();
    (view.shape().to_vec(), words.map(|word| f32::from_le_bytes(*word)).collect())
}
