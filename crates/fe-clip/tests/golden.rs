//! Forward, gradients and training steps against the transcription of the paper in
//! `golden/generate.py`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use clip_vit::Clip;
use data::{Defect, Limits, Preprocess, Resize, Sample, Split, preprocess, read_image};
use fe_clip::{
    Checkpoint, FeClip, Head, Method, ModelConfig, Origin, Precision, Preparation, RunConfig,
    Storage, TrainConfig, TrainingRun, loss, save,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Probabilities and cosine differences, absolute.
const FORWARD: f32 = 1e-5;
/// Gradients, relative to the largest of the parameter.
const GRADIENT: f32 = 1e-4;
/// Weights after three steps of Adam, absolute; a step is up to 1e-3, of the projection 2.5e-4.
/// Adam divides by the gradient's own size, so the few weights whose gradient is all rounding
/// go their own way ...
const TRAINED: f32 = 1e-4;
/// ... and all weights together are held more closely: relative to how far they have moved.
const MOVED: f64 = 1e-3;
const STEPS: usize = 3;

/// Name, shape and values of every tensor of a file, and its metadata.
struct Vectors {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    metadata: BTreeMap<String, String>,
}

impl Vectors {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        Self::from_bytes(&std::fs::read(path).unwrap())
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let values = |view: &TensorView<'_>| -> Vec<f32> {
            let words = view.data().chunks_exact(4).map(|w| <[u8; 4]>::try_from(w).unwrap());
            match view.dtype() {
                Dtype::F32 => words.map(f32::from_le_bytes).collect(),
                Dtype::I32 => words.map(|w| i32::from_le_bytes(w) as f32).collect(),
                Dtype::U8 => view.data().iter().map(|v| f32::from(*v)).collect(),
                other => panic!("{other:?}"),
            }
        };
        let tensors = file
            .iter()
            .map(|(name, view)| (name.to_string(), (view.shape().to_vec(), values(&view))))
            .collect();
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Self { tensors, metadata }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
        });
        safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
    }

    fn take(&mut self, name: &str) -> (Vec<usize>, Vec<f32>) {
        self.tensors.remove(name).unwrap_or_else(|| panic!("no {name}"))
    }
}

/// The random backbone, with a grid of `side` tokens.
fn backbone(side: usize, device: &Device) -> Clip {
    let mut stored = Vectors::read("backbone.safetensors");
    let (_, ids) = stored.take("token_ids");
    let (shape, rows) = stored.take("token_rows");
    let width = shape[1];
    let mut embedding = vec![0.0; 49408 * width];
    for (id, row) in ids.iter().zip(rows.chunks_exact(width)) {
        let start = *id as usize * width;
        embedding[start..start + width].copy_from_slice(row);
    }
    let name = "text_model.embeddings.token_embedding.weight".to_string();
    stored.tensors.insert(name, (vec![49408, width], embedding));
    let positions = [6, 7].map(|s| (s, stored.take(&format!("positions.{s}"))));
    let (_, positions) = positions.into_iter().find(|(s, _)| *s == side).unwrap();
    let name = "vision_model.embeddings.position_embedding.weight".to_string();
    stored.tensors.insert(name, positions);
    let tower = serde_json::json!({
        "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2,
        "hidden_act": "quick_gelu",
    });
    let (mut vision, mut text) = (tower.clone(), tower);
    for (key, value) in [("num_hidden_layers", 4), ("patch_size", 2), ("image_size", 2 * side)] {
        vision[key] = value.into();
    }
    for (key, value) in
        [("num_hidden_layers", 1), ("vocab_size", 49408), ("max_position_embeddings", 16)]
    {
        text[key] = value.into();
    }
    let config = serde_json::json!({
        "model_type": "clip", "projection_dim": 6, "vision_config": vision, "text_config": text,
    });
    let config = config.to_string();
    clip_vit::load_bytes("golden", config.as_bytes(), &stored.to_bytes(), device).unwrap().0
}

/// The images and masks as files, the last one normal.
fn samples(folder: &Path, side: usize) -> Vec<Sample> {
    let mut stored = Vectors::read("images.safetensors");
    let size = 2 * side;
    let (_, pixels) = stored.take(&format!("images.{side}"));
    let (_, masks) = stored.take(&format!("masks.{side}"));
    let bytes = |values: &[f32], scale: f32| values.iter().map(|v| (scale * v) as u8).collect();
    let pairs = pixels.chunks_exact(size * size * 3).zip(masks.chunks_exact(size * size));
    pairs
        .enumerate()
        .map(|(i, (pixels, mask))| {
            let path = |name: &str| folder.join(format!("{name}{i}.png"));
            let image =
                image::RgbImage::from_raw(size as u32, size as u32, bytes(pixels, 1.0)).unwrap();
            image.save(path("image")).unwrap();
            let picture =
                image::GrayImage::from_raw(size as u32, size as u32, bytes(mask, 255.0)).unwrap();
            picture.save(path("mask")).unwrap();
            let defect = || Defect { kind: "noise".into(), mask: Some(path("mask")) };
            Sample {
                image: path("image"),
                category: "golden".into(),
                split: Split::Test,
                defect: mask.contains(&1.0).then(defect),
            }
        })
        .collect()
}

/// One case of the generator, ready to run.
struct Case {
    name: String,
    expected: Vectors,
    run: RunConfig,
    model: FeClip,
    samples: Vec<Sample>,
    preprocessing: Preprocess,
    folder: tempfile::TempDir,
    device: Device,
}

impl Case {
    fn read(path: &Path) -> Self {
        let device = Device::flex();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let expected = Vectors::read(&format!("cases/{name}.safetensors"));
        let model: ModelConfig = serde_json::from_str(&expected.metadata["model"]).unwrap();
        let rates: BTreeMap<String, f64> =
            serde_json::from_str(&expected.metadata["train"]).unwrap();
        let train = TrainConfig {
            epochs: STEPS,
            batch_size: 3,
            learning_rate: rates["learning_rate"],
            projection_learning_rate: rates["projection_learning_rate"],
            ..TrainConfig::default()
        };
        let run = RunConfig { model, train, ..RunConfig::default() };
        let size = run.model.image_size.unwrap();
        let clip = backbone(size / 2, &device);
        let head = Checkpoint::from_bytes(&first_weights(&expected).to_bytes(), path).unwrap();
        let Method::FeClip(config) = &run.model.method else { panic!("not FE-CLIP") };
        let head = head.head(FeClip::new_head(&clip, config, &device).unwrap(), &device).unwrap();
        let model = FeClip::new(&clip, config, &run.prompts, head, &device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path(), size / 2);
        let preprocessing = Preprocess::clip(size, Resize::Squash);
        Self { name, expected, run, model, samples, preprocessing, folder, device }
    }

    fn images(&self) -> Tensor<4> {
        let size = self.preprocessing.height;
        let images = self.samples.iter().flat_map(|sample| {
            let image = read_image(&sample.image, &Limits::default()).unwrap();
            preprocess(&image, &self.preprocessing)
        });
        let data = TensorData::new(images.collect::<Vec<f32>>(), [3, 3, size, size]);
        Tensor::from_data(data, &self.device)
    }

    fn assert_close<const D: usize>(&self, actual: Tensor<D>, name: &str) {
        let (shape, expected) = &self.expected.tensors[name];
        assert_eq!(&actual.dims().to_vec(), shape, "{}: {name}", self.name);
        let actual = actual.into_data().try_to_vec::<f32>().unwrap();
        let worst = worst(&actual, expected);
        assert!(worst <= FORWARD, "{}: {name} is off by {worst}", self.name);
    }

    /// The parameters of a head under the names and in the shapes of a checkpoint.
    fn written(&self, head: &Head) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let path = self.folder.path().join("head.safetensors");
        save(&path, head, &Origin::default(), Precision::Full).unwrap();
        Vectors::from_bytes(&std::fs::read(&path).unwrap()).tensors
    }

    /// Compares a head, written as a checkpoint, with the vectors under a prefix; the tolerance
    /// is multiplied by `scale` of the expected values.
    fn assert_head(&self, head: &Head, prefix: &str, tolerance: f32, scale: fn(&[f32]) -> f32) {
        let actual = self.written(head);
        let names = self.expected.tensors.keys().filter_map(|name| name.strip_prefix(prefix));
        assert!(actual.keys().map(String::as_str).eq(names), "{}: other parameters", self.name);
        for (name, (shape, values)) in &actual {
            let (expected_shape, expected) = &self.expected.tensors[&format!("{prefix}{name}")];
            assert_eq!(shape, expected_shape, "{}: {name}", self.name);
            let worst = worst(values, expected) / scale(expected);
            assert!(worst <= tolerance, "{}: {prefix}{name} is off by {worst}", self.name);
        }
    }

    /// Compares how far all weights have moved with how far they should.
    fn assert_moved(&self, head: &Head) {
        let actual = self.written(head);
        let (mut error, mut moved) = (0.0, 0.0);
        for (name, (_, first)) in &first_weights(&self.expected).tensors {
            let expected = &self.expected.tensors[&format!("trained.{name}")].1;
            for ((first, expected), actual) in first.iter().zip(expected).zip(&actual[name].1) {
                error += f64::from(actual - expected).powi(2);
                moved += f64::from(expected - first).powi(2);
            }
        }
        let relative = (error / moved).sqrt();
        assert!(relative <= MOVED, "{}: the weights are off by {relative} of their way", self.name);
    }
}

/// The weights that a case starts from: the generator stores each convolution in both sizes.
fn first_weights(expected: &Vectors) -> Vectors {
    let mut all = Vectors::read("head.safetensors").tensors;
    let mut tensors = BTreeMap::new();
    for (name, (shape, _)) in &expected.tensors {
        let Some(name) = name.strip_prefix("trained.") else { continue };
        let weight = format!("trained.{}.weight", name.rsplit_once('.').unwrap().0);
        let kernel = expected.tensors[&weight].0.get(2);
        let stored = kernel.map_or(name.to_string(), |k| format!("kernel_{k}.{name}"));
        let value = all.remove(&stored).unwrap_or_else(|| panic!("no {stored}"));
        assert_eq!(&value.0, shape, "{name}");
        tensors.insert(name.to_string(), value);
    }
    Vectors { tensors, metadata: BTreeMap::new() }
}

fn worst(actual: &[f32], expected: &[f32]) -> f32 {
    actual.iter().zip(expected).fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { difference.max(worst) }
    })
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, v| v.abs().max(largest))
}

/// Runs a check on every case.
fn for_each_case(check: impl Fn(Case)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 16, "some cases are missing");
    for path in paths {
        check(Case::read(&path));
    }
}

#[test]
fn the_forward_pass_is_the_paper_s() {
    for_each_case(|case| {
        let model = &case.model;
        let stages = model.stages(model.prefix(case.images()));
        case.assert_close(model.image_score(&stages), "image_score");
        case.assert_close(model.patch_map(&stages), "patch_map");
        case.assert_close(stages.image, "image_margins");
        case.assert_close(stages.pixel, "pixel_margins");
    });
}

/// Puts the gradient of every parameter in its place.
struct ToGradients<'a>(&'a Gradients);

impl ModuleMapper for ToGradients<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = param.val().grad(self.0).expect("every parameter has a gradient");
        Param::from_tensor(gradient)
    }
}

#[test]
fn losses_and_gradients_are_the_paper_s() {
    for_each_case(|mut case| {
        let prefix = case.model.prefix(case.images());
        let autodiff = case.device.clone().autodiff();
        case.model.head = case.model.head.clone().fork(&autodiff).train();
        let stages = case.model.stages(Tensor::from_inner(prefix));
        let size = case.preprocessing.height;
        let mut stored = Vectors::read("images.safetensors");
        let (_, masks) = stored.take(&format!("masks.{}", size / 2));
        let temperature = case.model.temperature();
        let (total, terms) = loss(&stages, temperature, &[1.0, 1.0, 0.0], Some(&masks), size);
        let terms = [terms.loss_cls, terms.loss_focal, terms.loss_dice].map(|v| v as f32);
        let off = worst(&terms, &case.expected.tensors["losses.0"].1);
        assert!(off <= FORWARD, "{}: the losses are off by {off}", case.name);
        let gradients = total.backward();
        let head = case.model.head.clone().map(&mut ToGradients(&gradients));
        case.assert_head(&head, "gradient.", GRADIENT, largest);
    });
}

#[test]
fn three_steps_of_training_are_the_paper_s() {
    for_each_case(|mut case| {
        let (device, stop) = (case.device.clone(), AtomicBool::new(false));
        let preparation = Preparation {
            model: &case.model,
            preprocessing: &case.preprocessing,
            train: &case.run.train,
            storage: Storage::Memory,
            device: &device,
        };
        let prefixes = preparation.run(&case.samples, |_| {}).unwrap();
        let out = case.folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let training = TrainingRun { config: &case.run, out: &out, resume: false, stop: &stop };
        let mut losses = Vec::new();
        let head = training
            .train(&mut case.model, &prefixes, &device, |step| losses.push(step.terms))
            .unwrap();
        for (step, terms) in losses.iter().enumerate() {
            let terms = [terms.loss_cls, terms.loss_focal, terms.loss_dice].map(|v| v as f32);
            let off = worst(&terms, &case.expected.tensors[&format!("losses.{step}")].1);
            assert!(off <= TRAINED, "{}: the losses of step {step} are off by {off}", case.name);
        }
        case.assert_head(&head, "trained.", TRAINED, |_| 1.0);
        case.assert_moved(&head);
    });
}
