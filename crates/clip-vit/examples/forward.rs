//! Runs both towers on given inputs, for comparison with another implementation:
//!
//! `forward MODEL INPUT.safetensors OUTPUT.safetensors`: reads `images` `[batch, 3, side, side]` (f32) and `ids`
//! `[texts, context]` (i32); writes `image_features`, `text_features` and `hidden.N`, the tokens after layer N.
//!
//! `forward MODEL --save DIRECTORY`: writes the model in Hugging Face layout.
//!
//! `forward MODEL --time SIDE BATCH [float32|bfloat16|int8]`: with products in these numbers, answers lines on stdin with a number: `forward` with the seconds of one pass of
//! the image tower, `peak` with the machine's multiply-add peak in GFLOP/s, `load` with the seconds that loading took,
//! `memory` with the most MB that passes needed beyond the model's weights, `resident` with the MB that the process
//! holds (Linux), `cosine` with the smallest cosine of an embedding with float32's; that loads the model once more.
//!
//! `BURN_DEVICE` chooses among the backends compiled in.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use clip_vit::{
    Arithmetic, Clip, Precision, VisionTower, keep_freed_memory, load, load_in, save_hf,
};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

fn main() -> Result<(), Box<dyn Error>> {
    keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let device = Device::default();
    match arguments.as_slice() {
        [model, "--time", side, batch, numbers @ ..] => {
            let arithmetic = arithmetic(numbers)?;
            let (side, batch): (usize, usize) = (side.parse()?, batch.parse()?);
            let path = Path::new(model);
            let start = Instant::now();
            let model = load_in(path, None, arithmetic, &device)?;
            let seconds = start.elapsed().as_secs_f64();
            let weights = 4 * model.clip.num_params();
            let tower = |clip: Clip| {
                let grid = side / clip.vision.patch_size();
                clip.vision.with_grid(grid, grid)
            };
            let vision = tower(model.clip);
            let images = images(side, batch, &device);
            answer(&vision, &images, |question| match question {
                "peak" => Ok(peak()),
                "load" => Ok(seconds),
                "memory" => Ok((held("VmHWM:")? - weights as f64) / 1e6),
                "resident" => Ok(held("VmRSS:")? / 1e6),
                "cosine" => {
                    let float32 = tower(load(path, None, &device)?.clip);
                    smallest_cosine(vision.forward(images.clone()), float32.forward(images.clone()))
                }
                _ => {
                    let known = "forward, peak, load, memory, resident or cosine";
                    Err(format!("{question}: expected {known}").into())
                }
            })
        }
        [model, "--save", directory] => {
            let model = load(Path::new(model), None, &device)?;
            Ok(save_hf(&model.clip, &model.config, Path::new(directory), Precision::F32)?)
        }
        [model, input, output] => compare(
            &load(Path::new(model), None, &device)?.clip,
            Path::new(input),
            Path::new(output),
            &device,
        ),
        _ => Err(
            "usage: forward MODEL INPUT OUTPUT | MODEL --save DIRECTORY | MODEL --time SIDE BATCH [NUMBERS]"
                .into(),
        ),
    }
}

fn arithmetic(numbers: &[&str]) -> Result<Arithmetic, String> {
    match numbers {
        [] | ["float32"] => Ok(Arithmetic::Float32),
        ["bfloat16"] => Ok(Arithmetic::Bfloat16),
        ["int8"] => Ok(Arithmetic::Int8),
        other => Err(format!("{other:?}: expected float32, bfloat16 or int8")),
    }
}

fn images(side: usize, batch: usize, device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> =
        (0..batch * 3 * side * side).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(pixels, [batch, 3, side, side]), device)
}

fn answer(
    vision: &VisionTower,
    images: &Tensor<4>,
    other: impl Fn(&str) -> Result<f64, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    // Starts the peak of the memory afresh, where there is such a file: loading is over.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    for question in std::io::stdin().lock().lines() {
        let question = question?;
        if question == "forward" {
            let start = Instant::now();
            vision.forward(images.clone()).into_data();
            println!("{}", start.elapsed().as_secs_f64());
        } else {
            println!("{}", other(&question)?);
        }
    }
    Ok(())
}

/// The memory that the process holds, or has held at most, in bytes.
fn held(name: &str) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// The smallest cosine of a row of one matrix with the same of another.
fn smallest_cosine(a: Tensor<2>, b: Tensor<2>) -> Result<f64, Box<dyn Error>> {
    let width = a.dims()[1];
    let (a, b) = (a.into_data().try_to_vec::<f32>()?, b.into_data().try_to_vec::<f32>()?);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let rows = a.chunks(width).zip(b.chunks(width));
    Ok(rows.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(1.0, f64::min))
}

/// GFLOP/s of all threads in a loop of independent multiply-adds on registers, the best of several turns: what else
/// runs on the machine can only take away from it.
fn peak() -> f64 {
    const TURNS: usize = 20;
    const ROUNDS: usize = 2_000_000;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = (0..TURNS).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(multiply_add(black_box(0.999), ROUNDS)));
            }
        });
        start.elapsed().as_secs_f64()
    });
    2e-9 * (threads * LANES * ROUNDS) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Twelve registers of eight numbers: enough to hide the latency.
const LANES: usize = 96;

fn multiply_add(factor: f32, rounds: usize) -> f32 {
    #[inline(always)]
    fn run(factor: f32, rounds: usize) -> f32 {
        let mut sums = [0f32; LANES];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, 1.0);
            }
        }
        sums.iter().sum()
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        return v3.vectorize(
            #[inline(always)]
            || run(factor, rounds),
        );
    }
    run(factor, rounds)
}

fn compare(
    clip: &Clip,
    input: &Path,
    output: &Path,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(input)?;
    let inputs = SafeTensors::deserialize(&bytes)?;
    let words = |tensor: &TensorView<'_>| -> Vec<[u8; 4]> {
        tensor.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]).collect()
    };
    let images = inputs.tensor("images")?;
    let pixels: Vec<f32> = words(&images).into_iter().map(f32::from_le_bytes).collect();
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, images.shape()), device);
    let ids = inputs.tensor("ids")?;
    let rows: Vec<u32> = words(&ids).into_iter().map(u32::from_le_bytes).collect();
    let rows: Vec<Vec<u32>> = rows.chunks_exact(ids.shape()[1]).map(<[u32]>::to_vec).collect();

    let mut outputs = HashMap::new();
    let mut keep = |name: String, data: TensorData| -> Result<(), Box<dyn Error>> {
        let bytes: Vec<u8> =
            data.try_to_vec::<f32>()?.into_iter().flat_map(f32::to_le_bytes).collect();
        outputs.insert(name, (data.shape().to_vec(), bytes));
        Ok(())
    };
    let mut tokens = clip.vision.embed(pixels);
    keep("hidden.0".into(), tokens.clone().into_data())?;
    for (layer, block) in clip.vision.blocks.iter().enumerate() {
        tokens = block.forward(tokens);
        keep(format!("hidden.{}", layer + 1), tokens.clone().into_data())?;
    }
    let image_features = clip.vision.project(tokens.narrow(1, 0, 1)).squeeze_dim::<2>(1);
    keep("image_features".into(), image_features.into_data())?;
    keep("text_features".into(), clip.text.forward(&rows, device).into_data())?;
    let views = outputs
        .iter()
        .map(|(name, (shape, bytes))| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize_to_file(views, None, output)?)
}
