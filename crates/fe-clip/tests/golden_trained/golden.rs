//! What PyTorch transcriptions wrote, and checks of any trained method against them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use clip_vit::Clip;
use data::{Defect, Limits, Preprocess, Resize, Sample, Split, preprocess, read_image};
use fe_clip::{
    Backbone, Checkpoint, Detector, Head, LossTerms, Method, Origin, Precision, Prediction,
    Preparation, RunConfig, StepReport, Storage, Supervision, TrainingRun, Truth, model_to_train,
    save,
};
use ndarray::Array3;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Single precision through five layers of both towers.
const FORWARD: f32 = 2e-4;
/// Relative to the largest gradient of a tensor.
const GRADIENT: f32 = 1e-4;
/// Relative to how far all weights have moved.
const MOVED: f64 = 1e-3;
const CATEGORIES: [&str; 2] = ["metal_nut", "screw"];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_methods")
}

/// What the transcription wrote for a grid.
pub(crate) struct Golden {
    pub(crate) bytes: Vec<u8>,
    /// Side of the images in pixels.
    pub(crate) size: usize,
    pub(crate) device: Device,
}

impl Golden {
    pub(crate) fn of(transcription: &str, grid: usize) -> Self {
        let name = format!("{transcription}_{grid}.safetensors");
        let bytes = std::fs::read(folder().join(name)).unwrap();
        Self { bytes, size: 4 * grid, device: Device::flex() }
    }

    /// 1 or 0 an image; the categories take turns.
    fn anomalous(&self) -> Vec<f32> {
        let told = self.file().tensor("anomalous").map(|view| floats(view.data()));
        told.unwrap_or_else(|_| vec![1.0, 0.0, 0.0, 1.0])
    }

    fn categories(&self) -> Vec<&'static str> {
        CATEGORIES.into_iter().cycle().take(self.anomalous().len()).collect()
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    pub(crate) fn values(&self, key: &str) -> Vec<f32> {
        floats(self.file().tensor(key).unwrap().data())
    }

    /// Shapes and values of the tensors under a prefix.
    pub(crate) fn tensors(&self, prefix: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let file = self.file();
        let under = |(key, view): (&str, TensorView<'_>)| {
            let key = key.strip_prefix(prefix)?.to_string();
            Some((key, (view.shape().to_vec(), floats(view.data()))))
        };
        file.iter().filter_map(under).collect()
    }

    /// The backbone in the layout of transformers, through the loader that users have; its files
    /// hold every row of the vocabulary.
    pub(crate) fn clip(&self) -> Clip {
        let embedding = self.file().tensor("clip.visual_projection.weight").unwrap().shape()[0];
        let config = format!(
            r#"{{"model_type": "clip", "projection_dim": {embedding},
            "text_config": {{"hidden_act": "quick_gelu", "hidden_size": 16,
                "intermediate_size": 32, "max_position_embeddings": 40,
                "num_attention_heads": 2, "num_hidden_layers": 3, "vocab_size": 49408}},
            "vision_config": {{"hidden_act": "quick_gelu", "hidden_size": 16,
                "image_size": {}, "intermediate_size": 32, "num_attention_heads": 2,
                "num_hidden_layers": 5, "patch_size": 4}}}}"#,
            self.size
        );
        let file = self.file();
        let (rows, ids) =
            (file.tensor("clip.token_rows").unwrap(), file.tensor("clip.token_ids").unwrap());
        let mut table = vec![0u8; 49408 * 32]; // half precision, 16 channels
        for (id, row) in ids.data().chunks_exact(4).zip(rows.data().chunks_exact(32)) {
            let id = u32::from_le_bytes(id.try_into().unwrap()) as usize;
            table[id * 32..(id + 1) * 32].copy_from_slice(row);
        }
        let own = |(key, view): (&str, _)| Some((key.strip_prefix("clip.")?.to_string(), view));
        let mut tensors: HashMap<String, TensorView<'_>> =
            file.iter().filter_map(own).filter(|(key, _)| !key.starts_with("token_")).collect();
        let table = TensorView::new(Dtype::F16, vec![49408, 16], &table).unwrap();
        tensors.insert("text_model.embeddings.token_embedding.weight".into(), table);
        let weights = safetensors::serialize(tensors, None).unwrap();
        clip_vit::load_bytes("golden", config.as_bytes(), &weights, &self.device).unwrap().0
    }

    /// The vectors that everything starts from, read as a checkpoint.
    pub(crate) fn head(&self, clip: &Clip, method: &Method, name: &str) -> Head {
        let first = self.tensors(&format!("{name}.first."));
        let bytes: BTreeMap<&String, Vec<u8>> =
            first.iter().map(|(key, (_, v))| (key, encode(v))).collect();
        let views = first.iter().map(|(key, (shape, _))| {
            (key, TensorView::new(Dtype::F32, shape.clone(), &bytes[key]).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        let checkpoint = Checkpoint::from_bytes(&file, Path::new("first")).unwrap();
        let head = method.new_head(clip, &self.device).unwrap();
        checkpoint.head(head, &self.device).unwrap()
    }

    fn preprocessing(&self) -> Preprocess {
        Preprocess::clip(self.size, Resize::Squash)
    }

    /// The images as files, with masks beside the anomalous ones.
    fn samples(&self, folder: &Path) -> Vec<Sample> {
        let (side, area) = (self.size as u32, self.size * self.size);
        let (pixels, masks) = (self.values("pixels"), self.values("masks"));
        let save = |name: String, image: image::DynamicImage| {
            let path = folder.join(name);
            image.save(&path).unwrap();
            path
        };
        let anomalous = self.anomalous();
        (0..anomalous.len())
            .map(|i| {
                let (pixels, mask) = (&pixels[i * 3 * area..], &masks[i * area..]);
                let image = image::RgbImage::from_fn(side, side, |x, y| {
                    let at = (y * side + x) as usize;
                    image::Rgb([0, 1, 2].map(|channel| pixels[channel * area + at] as u8))
                });
                let defect = || {
                    let mask = image::GrayImage::from_fn(side, side, |x, y| {
                        image::Luma([255 * mask[(y * side + x) as usize] as u8])
                    });
                    Defect {
                        kind: "odd".into(),
                        mask: Some(save(format!("{i}_mask.png"), mask.into())),
                    }
                };
                Sample {
                    image: save(format!("{i}.png"), image.into()),
                    category: CATEGORIES[i % 2].into(),
                    split: Split::Test,
                    defect: (anomalous[i] == 1.0).then(defect),
                }
            })
            .collect()
    }

    pub(crate) fn images(&self) -> Vec<Array3<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let read = |sample: &Sample| {
            preprocess(
                &read_image(&sample.image, &Limits::default()).unwrap(),
                &self.preprocessing(),
            )
        };
        self.samples(folder.path()).iter().map(read).collect()
    }

    /// So many other normal images of each image's category, the same again where there are too
    /// few.
    fn references(&self, count: usize) -> Vec<i64> {
        let anomalous = self.anomalous();
        let of = |i: usize| {
            let alike = (0..anomalous.len())
                .filter(move |&j| j != i && j % 2 == i % 2)
                .filter(|&j| anomalous[j] == 0.0)
                .map(|j| j as i64);
            alike.collect::<Vec<_>>().into_iter().cycle().take(count).collect::<Vec<_>>()
        };
        (0..anomalous.len()).flat_map(of).collect()
    }

    /// Trains on all images in one batch; the loss of every step, and what comes of it.
    pub(crate) fn train(&self, name: &str, run: &RunConfig) -> (Head, Vec<LossTerms>) {
        let mut run = run.clone();
        run.train.batch_size = self.anomalous().len();
        let (clip, device) = (self.clip(), &self.device);
        let head = self.head(&clip, &run.model.method, name);
        let (mut model, preprocessing) = model_to_train(&run, clip, head, device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let preparation = Preparation {
            model: &*model,
            preprocessing: &preprocessing,
            train: &run.train,
            storage: Storage::Memory,
            device,
        };
        let prefixes = preparation.run(&self.samples(folder.path()), |_| {}).unwrap();
        let stop = AtomicBool::new(false);
        let training = TrainingRun { config: &run, out: folder.path(), resume: false, stop: &stop };
        let mut steps = Vec::new();
        let report = |step: &StepReport| steps.push(step.terms);
        let head = training.train(&mut *model, &prefixes, device, report).unwrap();
        (head, steps)
    }

    #[track_caller]
    pub(crate) fn assert_predictions(&self, name: &str, found: &[Prediction]) {
        let (scores, maps) =
            (self.values(&format!("{name}.score")), self.values(&format!("{name}.map")));
        assert_eq!(found.len(), scores.len());
        let maps = maps.chunks_exact(self.size * self.size);
        for ((prediction, score), map) in found.iter().zip(scores).zip(maps) {
            let off = (prediction.score - score).abs();
            assert!(off < FORWARD, "{name}: score {} is {score}", prediction.score);
            let off = worst(prediction.map.as_slice().unwrap(), map);
            assert!(off < FORWARD, "{name}: a map is off by {off}");
        }
    }
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn encode(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| {
        let off = (a - b).abs();
        if off.is_nan() { f32::INFINITY } else { off.max(worst) }
    })
}

/// The tensors of a head as a checkpoint has them.
pub(crate) fn written(head: &Head) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    save(&path, head, &Origin::default(), Precision::Full).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let entry = |(key, view): (&str, TensorView<'_>)| {
        (key.to_string(), (view.shape().to_vec(), floats(view.data())))
    };
    file.iter().map(entry).collect()
}

/// Puts the gradient of every parameter that has one in its place.
struct ToGradients<'a>(&'a Gradients);

impl ModuleMapper for ToGradients<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.val().grad(self.0).map_or(param, Param::from_tensor)
    }
}

/// The terms, as they were written: CoOp has one alone.
fn terms(found: &LossTerms, count: usize) -> Vec<f32> {
    [found.loss_cls, found.loss_focal, found.loss_dice][..count].iter().map(|v| *v as f32).collect()
}

/// What is ignored, the left half, is nothing in the map and counts for no score.
pub(crate) fn check_ignored(detector: &Detector, images: &[Array3<f32>]) {
    let mut ignored = ndarray::Array2::from_elem((24, 24), false);
    ignored.slice_mut(ndarray::s![.., ..12]).fill(true);
    let found = &detector.detect_without(&images[..1], &[Some(ignored)])[0];
    assert!(found.map.slice(ndarray::s![.., ..12]).iter().all(|value| *value == 0.0));
    assert!(found.map.slice(ndarray::s![.., 13..]).iter().all(|value| *value > 0.0));
    assert!(found.score != detector.detect(&images[..1])[0].score);
}

/// A file of the first weights gives them back; returns the file.
pub(crate) fn check_given_back(golden: &Golden, name: &str, run: &RunConfig) -> Checkpoint {
    let (clip, folder) = (golden.clip(), tempfile::tempdir().unwrap());
    let head = golden.head(&clip, &run.model.method, name);
    let path = folder.path().join("adapters.safetensors");
    let origin = Origin { config: Some(run.model.clone()), ..Origin::default() };
    save(&path, &head, &origin, Precision::Full).unwrap();
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read.origin.config.as_ref(), Some(&run.model));
    let again = run.model.method.new_head(&clip, &golden.device).unwrap();
    let again = read.head(again, &golden.device).unwrap();
    assert_eq!(written(&again), golden.tensors(&format!("{name}.first.")));
    Checkpoint::read(&path).unwrap()
}

/// Why a golden file is none for a method on `tiny`.
pub(crate) fn refusal_on_tiny(run: &RunConfig, file: &str) -> String {
    let device = Device::flex();
    let tiny = Backbone::load("tiny", None, &device).unwrap();
    let head = run.model.method.new_head(&tiny.clip, &device).unwrap();
    let checkpoint = Checkpoint::read(&folder().join(file)).unwrap();
    checkpoint.head(head, &device).unwrap_err().to_string()
}

/// Losses, and the gradient of every tensor that is trained.
pub(crate) fn check_gradients(golden: &Golden, name: &str, run: &RunConfig) {
    let (clip, device) = (golden.clip(), &golden.device);
    let head = golden.head(&clip, &run.model.method, name);
    let mut model = model_to_train(run, clip, head, device).unwrap().0;
    let images: Vec<f32> = golden.images().into_iter().flatten().collect();
    let (anomalous, categories) = (golden.anomalous(), golden.categories());
    let shape = [anomalous.len(), 3, golden.size, golden.size];
    let prefix = model.prefix(Tensor::from_data(TensorData::new(images, shape), device));
    assert_eq!(prefix.dims()[1..], model.prefix_shape());
    let rows: Vec<i64> = (0..anomalous.len()).map(|i| i as i64).collect();
    let rows = [rows, golden.references(run.train.references)].concat();
    let rows = TensorData::new(rows.clone(), [rows.len()]);
    let prefix = prefix.select(0, Tensor::<1, Int>::from_data(rows, device));
    let head = model.head().clone().fork(&device.clone().autodiff()).train();
    model.set_head(head);
    model.describe(&categories);
    let masks = golden.values("masks");
    let labels = run.train.supervision == Supervision::Labels;
    let masks = (!labels).then_some(masks.as_slice());
    let truth = Truth { anomalous: &anomalous, masks, size: golden.size };
    let form = run.model.method.loss_form(&run.train).unwrap();
    let (loss, found) = model.loss(&form, Tensor::from_inner(prefix), &truth);
    let expected = golden.values(&format!("{name}.losses"));
    let count = expected.len() / 3;
    let off = worst(&terms(&found, count), &expected[..count]);
    assert!(off < FORWARD, "{name}: the losses are off by {off}");
    let gradients = loss.backward();
    let found = written(&model.head().clone().map(&mut ToGradients(&gradients)));
    let expected = golden.tensors(&format!("{name}.gradient."));
    let learned = found.keys().filter(|key| !key.contains(".running_"));
    assert!(learned.eq(expected.keys()), "{name}: {:?}", found.keys());
    let largest = |values: &[f32]| values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    let of_all = expected.values().fold(0f32, |all, (_, values)| all.max(largest(values)));
    for (key, (shape, values)) in &expected {
        assert_eq!(&found[key].0, shape, "{name}: {key}");
        // On biases of keys, and of what a norm follows, nothing depends: what is there is rounding.
        let none = largest(values) < 1e-9 * of_all;
        let bound = if none { 1e-6 * of_all } else { GRADIENT * largest(values) };
        let off = worst(&found[key].1, values);
        assert!(off < bound, "{name}: {key} is off by {off}, beyond {bound}");
    }
}

/// Three steps of training: losses, and where the weights are then.
pub(crate) fn check_steps(golden: &Golden, name: &str, run: &RunConfig) {
    let (head, steps) = golden.train(name, run);
    let expected = golden.values(&format!("{name}.losses"));
    let losses: Vec<f32> =
        steps.iter().flat_map(|step| terms(step, expected.len() / steps.len())).collect();
    let off = worst(&losses, &expected);
    assert!(off < 1e-3, "{name}: the losses are off by {off}: {losses:?}");
    let (first, found) = (golden.tensors(&format!("{name}.first.")), written(&head));
    let gradients = golden.tensors(&format!("{name}.gradient."));
    let (mut error, mut moved) = (0.0, 0.0);
    for (key, (_, expected)) in golden.tensors(&format!("{name}.trained.")) {
        let first = &first[&key].1;
        // Adam makes steps of rounding errors where nothing depends on a tensor.
        if *first == expected {
            continue;
        }
        // Its step is as long for a gradient of any size: where that is rounding, so is its way.
        let least = |gradients: &[f32]| {
            GRADIENT * gradients.iter().fold(0f32, |largest, v| largest.max(v.abs()))
        };
        let gradient = gradients.get(&key).map(|(_, values)| (values, least(values)));
        for (i, (first, expected)) in first.iter().zip(&expected).enumerate() {
            if gradient.is_some_and(|(values, least)| values[i].abs() < least) {
                continue;
            }
            error += f64::from(found[&key].1[i] - expected).powi(2);
            moved += f64::from(expected - first).powi(2);
        }
    }
    let relative = (error / moved).sqrt();
    assert!(relative < MOVED, "{name}: the weights are off by {relative} of their way");
}
