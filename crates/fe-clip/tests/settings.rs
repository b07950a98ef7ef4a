//! `run.toml`: defaults, both spellings of a switch, and mistakes that must not pass.
#![allow(clippy::unwrap_used)]

use std::fs;

use fe_clip::{Error, FeClipConfig, Method, ModelConfig, RunConfig, Switch};

fn read(text: &str) -> Result<RunConfig, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    fs::write(&path, text).unwrap();
    RunConfig::read(&path)
}

fn fe_clip(run: &RunConfig) -> &FeClipConfig {
    match &run.model.method {
        Method::FeClip(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_contract_s_example_is_read() {
    let run = read(
        r#"
        [model]
        backbone = "vit-l-14-336"
        image_size = 518
        resize = "squash"
        stage_ends = [6, 12, 18, 24]
        lambda = 0.1
        temperature = "clip"
        transform = "dct"
        patch_ln_post = true
        shared_projection = true
        class_ln_post = true
        aggregate = "mean_probability"
        smoothing_sigma = 4.0
        [model.ffe]
        window = 3
        [model.lfs]
        window = 3
        statistic = "signed_mean"
        kernel = 3
        [prompts]
        normal = ["A photo of a normal object"]
        anomalous = ["A photo of a damaged object"]
        [train]
        datasets = [{ name = "mvtec-ad", root = "mvtec", split = "test" }]
        epochs = 9
        batch_size = 16
        learning_rate = 5e-4
        projection_learning_rate = 5e-6
        seed = 0
        [eval]
        datasets = [{ name = "visa", root = "/data/visa" }]
        shots = 4
        shot_seed = 1
        "#,
    )
    .unwrap();
    assert!(run.train.datasets[0].root.is_absolute(), "relative to the file");
    assert_eq!(run.eval.datasets[0].root.to_str(), Some("/data/visa"));
    assert_eq!(run.eval.shots, 4);
}

#[test]
fn nothing_said_means_the_defaults_and_settings_survive_toml() {
    let run = read("").unwrap();
    assert_eq!(run, RunConfig::default());
    assert_eq!((run.train.epochs, run.train.batch_size), (9, 16));
    assert_eq!(read(&run.to_toml()).unwrap(), run);
    let off = read("[model]\nffe = false\nlfs = true\n").unwrap();
    assert_eq!(fe_clip(&off).ffe, Switch::Off);
    assert_eq!(fe_clip(&off).lfs, fe_clip(&run).lfs);
    assert_eq!(read(&off.to_toml()).unwrap(), off);
}

#[test]
fn mistakes_are_named_with_the_file() {
    for (text, expected) in [
        ("[model]\nlamda = 0.1\n", "lamda"),
        ("[model]\nlambda = 1.5\n", "model.lambda"),
        ("[model]\ntemperature = 0\n", "model.temperature"),
        ("[model]\ntemperature = \"hot\"\n", "clip"),
        ("[model.lfs]\nkernel = 2\n", "kernels of 1 or 3"),
        ("[model.ffe]\nwindow = 0\n", "windows"),
        ("[model]\nstage_ends = [6, 6]\n", "stage_ends"),
        ("[model]\nstage_ends = \"first4\"\n", "last4"),
        ("[train]\nmosaic = 1.5\n", "train.mosaic"),
        ("[prompts]\nnormal = []\n", "prompts"),
        ("[train]\nbatch_size = 0\n", "batch"),
        ("[train]\nlearning_rate = -1.0\n", "train.learning_rate"),
        ("[train]\nadam_betas = [0.9, 1.0]\n", "train.adam_betas"),
        ("[train]\nfocal_alpha = 1.5\n", "train.focal_alpha"),
        ("[train]\nmask_loss_weight = -1\n", "train.mask_loss_weight"),
        ("[model]\nscore_stages = [2, 1]\n", "model.score_stages"),
        ("[model]\nfew_stages = []\n", "model.few_stages"),
        ("[model]\nfew_weight = -0.1\n", "model.few_weight"),
        ("[model]\nfew_feature = \"both\"\n", "both"),
        ("[model.ffe]\npadding = \"zero\"\n", "model.ffe.padding"),
        ("[model]\nbackbon = \"tiny\"\n", "or one of every method: `backbone`"),
        ("[model]\nlambda = \"much\"\n", "model.lambda: method fe-clip: invalid type"),
        ("[model]\nmethod = \"clip\"\nlambda = 0.2\n", "model.lambda: method clip: unknown field"),
        ("[model]\nmethod = \"winclip\"\nimage_score = \"x\"\n", "method winclip: unknown field"),
        ("[model]\nmethod = \"spectral-residual\"\nactivation = \"gelu\"\n", "no backbone"),
        ("[model]\nmethod = \"spectral-residual\"\nprecision = \"bfloat16\"\n", "no backbone"),
        ("[model]\nprecision = \"float16\"\n", "float16"),
        ("[model]\nmethod = \"best\"\n", "model.method: unknown variant `best`"),
        ("[model.ffe]\nseparate_imaginary = true\n", "model.ffe: method fe-clip: unknown field"),
        ("[model]\nmethod = \"clip\"\ntemperature = \"learned\"\n", "only method fe-clip"),
        ("[model]\nmethod = \"winclip\"\n[prompts]\nnormal = [\"x\"]\n", "winclip"),
    ] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?} gave {message:?}");
        assert!(message.contains("run.toml"), "{message}");
    }
}

#[test]
fn methods_come_with_their_authors_settings_and_the_file_goes_over_them() {
    let run = read("[model]\nmethod = \"april-gan\"\n[train]\nepochs = 15\n").unwrap();
    assert_eq!((run.train.epochs, run.train.batch_size), (15, 8));
    assert_eq!((run.train.projection_learning_rate, run.train.adam_betas), (1e-3, [0.5, 0.999]));
    assert_eq!(read(&run.to_toml()).unwrap(), run);
    let clip = read("[model]\nmethod = \"clip\"\n").unwrap();
    assert_eq!(clip.prompts.anomalous, ["a photo of an anomalous {}"]);
    let own = read("[model]\nmethod = \"clip\"\n[prompts]\nnormal = [\"fine\"]\n").unwrap();
    assert_eq!(own.prompts.normal, ["fine"]);
}

#[test]
fn every_form_of_adapter_survives_toml() {
    let run = read(
        "[model]\ntransform = \"fft\"\ntemperature = \"learned\"\nadapter_init = \"zero\"\n\
         few_stages = [2, 3]\nscore_stages = [4]\n\
         [model.ffe]\npadding = \"reflect\"\n[model.lfs]\npadding = \"zero\"\n",
    )
    .unwrap();
    assert_eq!(read(&run.to_toml()).unwrap(), run);
}

/// Files of earlier versions say settings that there are no more; at their defaults they mean what
/// is done now, and nothing else can be meant.
#[test]
fn settings_that_are_gone_are_accepted_at_the_value_that_changed_nothing() {
    let former = "[model.ffe]\nlinear = \"full\"\nseparate_imaginary = false\n\
                  [model.lfs]\nseparable = false\n";
    assert_eq!(read(former).unwrap(), RunConfig::default());
    for (from, to) in [("\"full\"", "\"depthwise\""), ("separable = false", "separable = true")] {
        let message = read(&former.replace(from, to)).unwrap_err().to_string();
        assert!(message.contains("unknown field"), "{message}");
    }
}

#[test]
fn what_a_file_leaves_out_is_what_the_adapters_were_trained_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let trained = FeClipConfig { lambda: 0.25, few_weight: 2.0, ..FeClipConfig::default() };
    let trained = ModelConfig::from(trained);
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        RunConfig::read_over(&path, Some(&trained)).unwrap().model
    };
    let Method::FeClip(found) = read("[model]\nlambda = 0.5\n").method else { panic!("FE-CLIP") };
    assert_eq!((found.lambda, found.few_weight), (0.5, 2.0));
    assert_eq!(read("[eval]\nshots = 1\n"), trained);
    // They have nothing to say of other methods.
    let clip = "[model]\nmethod = \"clip\"\n";
    assert_eq!(read(clip), RunConfig::read(&path).unwrap().model);
}
