//! State dicts of other networks than CLIP; `legacy.py` writes the files.

use clip_vit::{Error, StateDict};
use safetensors::SafeTensors;

use crate::models::golden;

fn open() -> StateDict {
    StateDict::open(&golden("legacy.pth")).unwrap()
}

#[test]
fn a_file_from_before_pytorch_1_6_holds_what_its_writer_put_in() {
    let bytes = std::fs::read(golden("legacy.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut file = open();
    for (name, tensor) in expected.tensors() {
        let values: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(file.take(&name, tensor.shape()), values, "{name}");
    }
    file.skip("count");
    file.finish().unwrap();
}

#[test]
fn what_is_not_as_expected_is_listed() {
    let mut file = open();
    file.take("weight", &[7, 5]);
    file.take("bias", &[5]);
    file.take("count", &[]);
    let Err(Error::Weights { problems, .. }) = file.finish() else { panic!("it must be refused") };
    assert_eq!(
        problems,
        [
            "weight: expected shape [7, 5], got [5, 7]",
            "missing: bias",
            "count: expected type F32, F16 or BF16, got I64",
            "unexpected: column",
            "unexpected: half",
        ]
    );
}

#[test]
fn every_truncation_is_refused() {
    let whole = std::fs::read(golden("legacy.pth")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.pth");
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(StateDict::open(&path).is_err(), "cut to {cut} of {} bytes", whole.len());
    }
}
