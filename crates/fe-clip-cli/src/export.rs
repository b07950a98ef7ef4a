//! `fe-clip export`: the whole method as one ONNX graph.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fe_clip::export::{Export, MESSAGE_LIMIT, data_file};
use fe_clip::{Calibration, Inspector, ModelIdentity, Precision};

use crate::model::ModelArgs;
use crate::protect::Protected;
use crate::thresholds::calibrated_inspector;
use crate::{inputs, normals, stdout, talk};

/// Write a model as one ONNX graph: resized images in, raw scores and maps out.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip export --out tiny.onnx\n  \
    fe-clip export --model vit-l-14-336 --adapters adapters.safetensors --half --out model.onnx\n  \
    fe-clip export --normals good-parts/ --calibration calibration.json --out parts.onnx\n\n\
    Input image [n, 3, S, S], RGB in [0, 1]; outputs score [n] and map [n, S, S], both raw, float32.\n\
    docs/deploy.md runs the file from Python, C++ and C#, on ONNX Runtime, OpenVINO and TensorRT.")]
pub(crate) struct Args {
    /// The file to write; weights above 2 GB go to FILE.onnx.data beside it.
    #[arg(long, value_name = "FILE.onnx")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of normal images: their memory bank is part of the graph.
    #[arg(long, value_name = "DIR")]
    normals: Option<PathBuf>,
    /// Thresholds from `fe-clip calibrate`, for the metadata. Default: for `tiny` without
    /// --normals those that it was shipped with, else none.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// The kind of thing whose calibration it is, in a file that has several.
    #[arg(long, value_name = "NAME", requires = "calibration")]
    category: Option<String>,
    /// Store matrices in half precision; the computation stays in single precision.
    #[arg(long)]
    half: bool,
    /// Put the weights into FILE.onnx.data, however few they are.
    #[arg(long)]
    external_data: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let mut read: Vec<PathBuf> = args.model.files().map(Path::to_owned).collect();
    read.extend(args.calibration.clone());
    let (inspector, identity, calibration) = load(args, &mut read)?;
    let detector = inspector.detector();
    let protected = Protected::new(read.iter().map(PathBuf::as_path));
    protected.check(&args.out).context("--out")?;
    protected.check(&data_file(&args.out)).context("--out")?;
    let settings = Export {
        precision: if args.half { Precision::Half } else { Precision::Full },
        inline_limit: if args.external_data { 0 } else { MESSAGE_LIMIT },
        identity,
        calibration,
    };
    let exported = detector.export(&args.out, &settings)?;
    let size = detector.preprocess().height;
    talk::note(format_args!(
        "{:.1} MB: image [n, 3, {size}, {size}] to score [n] and map [n, {size}, {size}]",
        exported.bytes as f64 / 1e6
    ));
    stdout::print_path(&args.out)?;
    exported.data.iter().try_for_each(|data| stdout::print_path(data))?;
    Ok(true)
}

/// The model with what it remembers, what it is made of and its thresholds; `read` is given
/// the normal images.
fn load(
    args: &Args,
    read: &mut Vec<PathBuf>,
) -> anyhow::Result<(Inspector, ModelIdentity, Option<Calibration>)> {
    if let Some(file) = &args.calibration {
        let calibration = Calibration::read_of(file, args.category.as_deref())?;
        let normals = args.normals.as_deref();
        let of_file = (calibration.clone(), file.as_path());
        let inspector = calibrated_inspector(args.model.load()?, normals, (None, None), of_file)?;
        inspector.detector().check_export()?;
        if let Some(folder) = &args.normals {
            read.extend(inputs::images(folder).context("--normals")?.into_iter().flatten());
        }
        // The one that was just found to be this model's.
        return Ok((inspector, calibration.model.clone(), Some(calibration)));
    }
    let (mut inspector, _, mut identity) = args.model.identified_inspector()?;
    inspector.detector().check_export()?;
    let Some(folder) = &args.normals else {
        let shipped = args.model.is_tiny().then(Calibration::of_tiny).transpose()?;
        return Ok((inspector, identity, shipped));
    };
    let mut failed = 0;
    let images = normals::list(folder, "--normals", &mut failed)?;
    if failed > 0 {
        bail!("--normals {}: {failed} images could not be read", folder.display());
    }
    inspector.remember(images.iter().map(|image| &image.path))?;
    identity.references = images.iter().map(|image| image.sha256.clone()).collect();
    read.extend(images.into_iter().map(|image| image.path));
    Ok((inspector, identity, None))
}
