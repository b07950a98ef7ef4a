//! Resized positional embeddings against open_clip's (`positions.py`).

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{Activation, VisionConfig, VisionTower};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("positions.safetensors");
/// Sums of at most sixteen products of order 1 in single precision, in another order than PyTorch's.
const TOLERANCE: f32 = 1e-5;

fn values(name: &str) -> (Vec<f32>, [usize; 2]) {
    let file = SafeTensors::deserialize(GOLDEN).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    (values, tensor.shape().try_into().unwrap())
}

fn tower() -> VisionTower {
    let device = Device::default();
    let config = VisionConfig {
        width: 4,
        layers: 1,
        heads: 1,
        mlp_width: 4,
        patch_size: 2,
        image_size: 14,
        activation: Activation::Gelu,
    };
    let (trained, shape) = values("trained");
    let positions = Tensor::from_data(TensorData::new(trained, shape), &device);
    let mut tower = VisionTower::new(&config, 4, &device);
    tower.positional_embedding = Param::from_tensor(positions);
    tower
}

#[test]
fn every_grid_is_open_clips() {
    let grids = [
        (7, 7),
        (8, 8),
        (14, 14),
        (5, 5),
        (3, 3),
        (1, 1),
        (5, 9),
        (12, 4),
        (2, 13),
        (37, 37),
        (1, 20),
    ];
    for (rows, columns) in grids {
        let (expected, shape) = values(&format!("{rows}x{columns}"));
        let resized = tower().with_grid(rows, columns).positional_embedding.val();
        assert_eq!(resized.dims(), shape);
        let actual = resized.into_data().try_to_vec::<f32>().unwrap();
        let worst = actual.iter().zip(&expected).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
        assert!(worst <= TOLERANCE, "{rows}x{columns}: off by {worst}");
    }
}

#[test]
fn a_rectangle_can_be_embedded() {
    let images = Tensor::<4>::zeros([2, 3, 6, 10], &Device::default());
    assert_eq!(tower().with_grid(3, 5).embed(images).dims(), [2, 16, 4]);
}

#[test]
#[should_panic(expected = "expected a patch")]
fn an_empty_grid_is_refused() {
    tower().with_grid(0, 5);
}
