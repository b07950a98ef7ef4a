//! CoOp and AnomalyCLIP against a PyTorch transcription (`golden_methods/prompted.py`).
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use clip_vit::Clip;
use data::{Defect, Limits, Preprocess, Resize, Sample, Split, preprocess, read_image};
use fe_clip::{
    AnomalyClipConfig, AprilGanConfig, Backbone, Checkpoint, CoopConfig, Detector, Head, LossTerms,
    Method, Origin, PcaResidualConfig, Precision, Prediction, Preparation, RunConfig, Storage,
    Supervision, TrainingRun, Truth, model_to_train, save,
};
use ndarray::Array3;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Single precision through five layers of both towers.
const FORWARD: f32 = 2e-4;
/// Relative to the largest gradient of a tensor.
const GRADIENT: f32 = 1e-4;
/// Relative to how far all vectors have moved.
const MOVED: f64 = 1e-3;
const CATEGORIES: [&str; 4] = ["metal_nut", "screw", "metal_nut", "screw"];
const ANOMALOUS: [f32; 4] = [1.0, 0.0, 0.0, 1.0];
const GRIDS: [usize; 2] = [5, 6];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_methods")
}

/// What the transcription wrote for a grid.
struct Golden {
    bytes: Vec<u8>,
    size: usize,
    device: Device,
}

impl Golden {
    fn of(grid: usize) -> Self {
        let bytes = std::fs::read(folder().join(format!("prompted_{grid}.safetensors"))).unwrap();
        Self { bytes, size: 4 * grid, device: Device::flex() }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn values(&self, key: &str) -> Vec<f32> {
        floats(self.file().tensor(key).unwrap().data())
    }

    /// Shapes and values of the tensors under a prefix.
    fn tensors(&self, prefix: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let file = self.file();
        let under = |(key, view): (&str, TensorView<'_>)| {
            let key = key.strip_prefix(prefix)?.to_string();
            Some((key, (view.shape().to_vec(), floats(view.data()))))
        };
        file.iter().filter_map(under).collect()
    }

    /// The backbone in the layout of transformers, through the loader that users have; its files
    /// hold every row of the vocabulary.
    fn clip(&self) -> Clip {
        let config = format!(
            r#"{{"model_type": "clip", "projection_dim": 12,
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
    fn head(&self, clip: &Clip, method: &Method, name: &str) -> Head {
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
        (0..4)
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
                    category: CATEGORIES[i].into(),
                    split: Split::Test,
                    defect: (ANOMALOUS[i] == 1.0).then(defect),
                }
            })
            .collect()
    }

    fn images(&self) -> Vec<Array3<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let read = |sample: &Sample| {
            preprocess(
                &read_image(&sample.image, &Limits::default()).unwrap(),
                &self.preprocessing(),
            )
        };
        self.samples(folder.path()).iter().map(read).collect()
    }

    #[track_caller]
    fn assert_predictions(&self, name: &str, found: &[Prediction]) {
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

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn encode(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| {
        let off = (a - b).abs();
        if off.is_nan() { f32::INFINITY } else { off.max(worst) }
    })
}

/// The tensors of a head as a checkpoint has them.
fn written(head: &Head) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
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

fn coop(class_specific: bool) -> RunConfig {
    let smoothing_sigma = Some(0.0);
    let config = CoopConfig { class_specific, smoothing_sigma, ..CoopConfig::default() };
    let mut run = RunConfig::of_method(Method::Coop(config));
    run.train.learning_rate = 0.05;
    run.train.epochs = 3;
    run
}

fn anomalyclip() -> RunConfig {
    let smoothing_sigma = Some(0.0);
    let config = AnomalyClipConfig { smoothing_sigma, ..AnomalyClipConfig::default() };
    let mut run = RunConfig::of_method(Method::AnomalyClip(config));
    run.train.epochs = 3;
    run
}

/// Name in the files, and settings.
fn methods() -> [(&'static str, RunConfig); 3] {
    [("coop", coop(false)), ("coop_class_specific", coop(true)), ("anomalyclip", anomalyclip())]
}

fn each(check: impl Fn(&Golden, &str, &RunConfig)) {
    for grid in GRIDS {
        let golden = Golden::of(grid);
        methods().iter().for_each(|(name, run)| check(&golden, name, run));
    }
}

#[test]
fn scores_and_maps() {
    each(|golden, name, run| {
        let clip = golden.clip();
        let head = golden.head(&clip, &run.model.method, name);
        let mut detector = Detector::new(run, Some(clip), Some(head), &golden.device).unwrap();
        let images = golden.images();
        let of_an_object = detector.detect(&images);
        detector.describe("metal_nut");
        let found = detector.detect(&images);
        golden.assert_predictions(name, &found);
        // CoOp's prompts name the category, AnomalyCLIP's do not.
        let same = of_an_object[0].score == found[0].score;
        assert_eq!(same, name == "anomalyclip", "{name}");
        assert!(detector.check_normals(1).is_err());
    });
}

/// Puts the gradient of every parameter in its place.
struct ToGradients<'a>(&'a Gradients);

impl ModuleMapper for ToGradients<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = param.val().grad(self.0).expect("every vector has a gradient");
        Param::from_tensor(gradient)
    }
}

/// The terms, as they were written: CoOp has one alone.
fn terms(found: &LossTerms, count: usize) -> Vec<f32> {
    [found.loss_cls, found.loss_focal, found.loss_dice][..count].iter().map(|v| *v as f32).collect()
}

#[test]
fn the_residual_of_a_subspace() {
    let golden = Golden::of(5);
    let config = PcaResidualConfig { smoothing_sigma: Some(0.0), ..PcaResidualConfig::default() };
    let run = RunConfig::of_method(Method::PcaResidual(config));
    let mut detector = Detector::new(&run, Some(golden.clip()), None, &golden.device).unwrap();
    let images = golden.images();
    detector.remember(&images[..1]);
    let few = Golden { bytes: std::fs::read(folder().join("few.safetensors")).unwrap(), ..golden };
    few.assert_predictions("pca", &detector.detect(&images[1..]));
    // Unexplained is a hundredth of the variance of 25 tokens: little of a distance.
    let own = &detector.detect(&images[..1])[0];
    assert!(own.score < 0.5 * few.values("pca.score")[0], "{}", own.score);
}

#[test]
fn losses_and_gradients() {
    each(|golden, name, run| {
        let (clip, device) = (golden.clip(), &golden.device);
        let head = golden.head(&clip, &run.model.method, name);
        let mut model = model_to_train(run, clip, head, device).unwrap().0;
        let images: Vec<f32> = golden.images().into_iter().flatten().collect();
        let shape = [4, 3, golden.size, golden.size];
        let prefix = model.prefix(Tensor::from_data(TensorData::new(images, shape), device));
        assert_eq!(prefix.dims()[1..], model.prefix_shape());
        let head = model.head().clone().fork(&device.clone().autodiff()).train();
        model.set_head(head);
        model.describe(&CATEGORIES);
        let masks = golden.values("masks");
        let labels = run.train.supervision == Supervision::Labels;
        let masks = (!labels).then_some(masks.as_slice());
        let truth = Truth { anomalous: &ANOMALOUS, masks, size: golden.size };
        let form = run.model.method.loss_form(&run.train).unwrap();
        let (loss, found) = model.loss(&form, Tensor::from_inner(prefix), &truth);
        let expected = golden.values(&format!("{name}.losses"));
        let count = expected.len() / 3;
        let off = worst(&terms(&found, count), &expected[..count]);
        assert!(off < FORWARD, "{name}: the losses are off by {off}");
        let gradients = loss.backward();
        let found = written(&model.head().clone().map(&mut ToGradients(&gradients)));
        let expected = golden.tensors(&format!("{name}.gradient."));
        assert!(found.keys().eq(expected.keys()), "{name}: {:?}", found.keys());
        for (key, (shape, values)) in &expected {
            assert_eq!(&found[key].0, shape, "{name}: {key}");
            let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            let off = worst(&found[key].1, values);
            assert!(off < GRADIENT * largest, "{name}: {key} is off by {off} of {largest}");
        }
    });
}

#[test]
fn three_steps_of_training() {
    each(|golden, name, run| {
        let mut run = run.clone();
        run.train.batch_size = 4;
        let (clip, device) = (golden.clip(), &golden.device);
        let head = golden.head(&clip, &run.model.method, name);
        let (mut model, preprocessing) = model_to_train(&run, clip, head, device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let preparation = Preparation {
            model: &*model,
            preprocessing: &preprocessing,
            train: &run.train,
            storage: Storage::Memory,
            device,
        };
        let prefixes = preparation.run(&golden.samples(folder.path()), |_| {}).unwrap();
        let stop = AtomicBool::new(false);
        let training = TrainingRun { config: &run, out: folder.path(), resume: false, stop: &stop };
        let mut losses = Vec::new();
        let expected = golden.values(&format!("{name}.losses"));
        let count = expected.len() / 3;
        let head = training
            .train(&mut *model, &prefixes, device, |step| {
                losses.extend(terms(&step.terms, count));
            })
            .unwrap();
        let off = worst(&losses, &expected);
        assert!(off < 1e-3, "{name}: the losses are off by {off}: {losses:?}");
        let (first, found) = (golden.tensors(&format!("{name}.first.")), written(&head));
        let (mut error, mut moved) = (0.0, 0.0);
        for (key, (_, expected)) in golden.tensors(&format!("{name}.trained.")) {
            for ((first, expected), found) in first[&key].1.iter().zip(expected).zip(&found[&key].1)
            {
                error += f64::from(found - expected).powi(2);
                moved += f64::from(expected - first).powi(2);
            }
        }
        let relative = (error / moved).sqrt();
        assert!(relative < MOVED, "{name}: the vectors are off by {relative} of their way");
    });
}

#[test]
fn a_checkpoint_gives_its_vectors_back() {
    each(|golden, name, run| {
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
        // Another method's are refused with the list of differences.
        let other = RunConfig::of_method(Method::AprilGan(AprilGanConfig::default()));
        let other = other.model.method.new_head(&clip, &golden.device);
        let Ok(other) = other else { return };
        let reason = Checkpoint::read(&path).unwrap().head(other, &golden.device).unwrap_err();
        let reason = reason.to_string();
        assert!(reason.contains("unexpected prompts.context"), "{reason}");
        assert!(reason.contains("missing patch_projection.0.weight"), "{reason}");
    });
}

#[test]
fn the_authors_file_of_anomalyclip_is_read() {
    let (golden, run) = (Golden::of(5), anomalyclip());
    let (clip, path) = (golden.clip(), folder().join("anomalyclip.pth"));
    let head = run.model.method.new_head(&clip, &golden.device).unwrap();
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert!(checkpoint.origin.config.is_none());
    let head = checkpoint.head(head, &golden.device).unwrap();
    // Context vectors are theirs, deep ones rounded to half precision as their code does it.
    let (found, expected) = (written(&head), golden.tensors("anomalyclip.first."));
    for (key, (shape, values)) in &expected {
        assert_eq!(&found[key].0, shape, "{key}");
        let deep = key.starts_with("prompts.deep");
        let rounded = |x: &f32| if deep { half::f16::from_f32(*x).to_f32() } else { *x };
        assert_eq!(found[key].1, values.iter().map(rounded).collect::<Vec<_>>(), "{key}");
    }
    let detector = Detector::new(&run, Some(clip), Some(head), &golden.device).unwrap();
    golden.assert_predictions("anomalyclip_pth", &detector.detect(&golden.images()));
}

#[test]
fn an_authors_file_for_another_backbone_or_size_is_refused() {
    let device = Device::flex();
    let path = folder().join("anomalyclip.pth");
    let tiny = Backbone::load("tiny", None, &device).unwrap();
    let reason = tiny.check(&Checkpoint::read(&path).unwrap(), &path).unwrap_err().to_string();
    assert!(reason.contains("start of a text") && reason.contains("anomalyclip.pth"), "{reason}");
    let head = anomalyclip().model.method.new_head(&tiny.clip, &device).unwrap();
    let reason = Checkpoint::read(&path).unwrap().head(head, &device).unwrap_err().to_string();
    assert!(reason.contains("prompts.context.0 has shape [12, 16], expected [12, 64]"), "{reason}");
    assert!(reason.contains("missing prompts.deep.2"), "{reason}");
}

#[test]
fn settings_out_of_range_are_named() {
    let (golden, device) = (Golden::of(5), Device::flex());
    let clip = golden.clip();
    let of = |config| Method::AnomalyClip(config).new_head(&clip, &device);
    let deep = AnomalyClipConfig { deep_blocks: Some(3), ..AnomalyClipConfig::default() };
    let reason = of(deep).unwrap_err().to_string();
    assert!(reason.contains("model.deep_blocks") && reason.contains("at most 2"), "{reason}");
    let refused = |method: Method, key: &str| {
        let run = RunConfig::of_method(method);
        let head = run.model.method.new_head(&clip, &device).unwrap();
        let error = Detector::new(&run, Some(clip.clone()), Some(head), &device).err().unwrap();
        assert!(error.to_string().contains(key), "{error}");
    };
    let values = AnomalyClipConfig { value_layers: Some(6), ..AnomalyClipConfig::default() };
    refused(Method::AnomalyClip(values), "model.value_layers");
    let long = CoopConfig { context_tokens: 38, ..CoopConfig::default() };
    refused(Method::Coop(long), "model.context_tokens");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for (text, key) in [
        ("[model]\nmethod = \"coop\"\n[train]\nsupervision = \"masks\"\n", "train.supervision"),
        ("[model]\nmethod = \"coop\"\ncontext_tokens = 0\n", "model.context_tokens"),
        ("[model]\nmethod = \"anomalyclip\"\ndeep_tokens = 13\n", "model.deep_tokens"),
        ("[train]\nmomentum = 1.0\n", "train.momentum"),
        ("[train]\nwarmup_rate = -1.0\n", "train.warmup_rate"),
    ] {
        std::fs::write(&path, text).unwrap();
        let reason = RunConfig::read(&path).unwrap_err().to_string();
        assert!(reason.contains(key), "{key}: {reason}");
    }
}
