//! What is no model for export, and what is no place for one.

use std::fs;

use super::{draw_images, fail, fe_clip, models, succeed};

#[test]
fn methods_without_a_graph_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for method in ["winclip", "memory-bank", "musc", "spectral-residual"] {
        let settings = folder.join(format!("{method}.toml"));
        fs::write(&settings, format!("[model]\nmethod = \"{method}\"\nimage_size = 96\n")).unwrap();
        let mut export = fe_clip();
        export.arg("export").arg("--config").arg(&settings).arg("--out");
        let errors = fail(export.arg(folder.join("model.onnx")));
        assert!(errors.contains(&format!("method {method} has no graph")), "{errors}");
    }
    // APRIL-GAN is made of a backbone and a trained part, as FE-CLIP is.
    let settings = folder.join("april-gan.toml");
    fs::write(&settings, "[model]\nmethod = \"april-gan\"\n").unwrap();
    let backbone = models::backbone(folder, clip_vit::Activation::Gelu, 5);
    let layers = folder.join("april-gan.safetensors");
    models::adapters(&layers, &backbone, &settings);
    let mut export = fe_clip();
    export.arg("export").arg("--model").arg(&backbone).arg("--adapters").arg(&layers);
    let errors = fail(export.arg("--out").arg(folder.join("model.onnx")));
    assert!(errors.contains("method april-gan has no graph"), "{errors}");
    assert!(!folder.join("model.onnx").exists());
}

#[test]
fn files_that_are_read_and_places_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let normals = folder.join("normals");
    draw_images(&normals);
    let settings = folder.join("run.toml");
    fs::write(&settings, "[model]\nmethod = \"clip\"\nimage_size = 32\n").unwrap();
    let export = |out: &std::path::Path| {
        let mut export = fe_clip();
        export.arg("export").arg("--out").arg(out);
        export
    };
    let errors = fail(export(&settings).arg("--config").arg(&settings));
    assert!(errors.contains("would replace") && errors.contains("run.toml"), "{errors}");
    let image = normals.join("1.png");
    let errors = fail(export(&image).arg("--normals").arg(&normals));
    assert!(errors.contains("would replace") && errors.contains("1.png"), "{errors}");
    // The file of the weights counts, too.
    let data = folder.join("model.onnx.data");
    fs::copy(&settings, &data).unwrap();
    let errors = fail(export(&folder.join("model.onnx")).arg("--config").arg(&data));
    assert!(errors.contains("would replace") && errors.contains("model.onnx.data"), "{errors}");

    let errors = fail(&mut export(&folder.join("missing/model.onnx")));
    assert!(errors.contains("missing/model.onnx"), "{errors}");
    let errors = fail(
        export(&folder.join("model.onnx"))
            .arg("--config")
            .arg(&settings)
            .arg("--normals")
            .arg(&normals),
    );
    assert!(errors.contains("makes no use of normal images"), "{errors}");
    fs::write(normals.join("3.png"), b"no image").unwrap();
    let errors = fail(export(&folder.join("model.onnx")).arg("--normals").arg(&normals));
    assert!(errors.contains("3.png"), "{errors}");
    assert!(!folder.join("model.onnx").exists());
}

#[cfg(unix)]
#[test]
fn a_device_takes_a_model_but_no_second_file() {
    let folder = tempfile::tempdir().unwrap();
    let null = std::path::Path::new("/dev/null");
    assert_eq!(succeed(fe_clip().arg("export").arg("--out").arg(null)), "/dev/null\n");
    let errors = fail(fe_clip().args(["export", "--external-data", "--out"]).arg(null));
    assert!(errors.contains("/dev/null") && errors.contains("regular file"), "{errors}");
    // What was there is replaced by a model that is whole.
    let model = folder.path().join("model.onnx");
    fs::write(&model, b"old").unwrap();
    let said = succeed(fe_clip().args(["export", "--external-data", "--out"]).arg(&model));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left over");
    assert!(fs::metadata(&model).unwrap().len() > 1000);
}
