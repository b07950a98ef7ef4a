//! `fe-clip embed`: CLIP embeddings of texts and images.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use burn::tensor::{Tensor, TensorData};
use clap::ValueEnum;
use data::{Limits, Preprocess, Resize, preprocess, read_image};
use fe_clip::Backbone;
use fe_clip::files::write_atomic;

use crate::device::DeviceArgs;
use crate::model::Activation;
use crate::npy;
use crate::protect::Protected;
use crate::talk;

/// Write the L2-normalised CLIP embeddings of texts and images to a .npy file, one row an input,
/// texts first.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    fe-clip embed --model vit-l-14-336 --text \"a photo of a bottle\" --image bottle.png --out e.npy")]
pub(crate) struct Args {
    /// Backbone: `tiny`, a folder or file with CLIP weights, or a hub id.
    #[arg(long, default_value = "tiny")]
    model: String,
    /// Activation function of the backbone, where its files do not name it.
    #[arg(long, value_enum)]
    activation: Option<Activation>,
    /// A text; may be repeated.
    #[arg(long = "text", value_name = "TEXT")]
    texts: Vec<String>,
    /// An image file; may be repeated.
    #[arg(long = "image", value_name = "PATH")]
    images: Vec<PathBuf>,
    /// How an image that is not square becomes square.
    #[arg(long, value_enum, default_value_t = ResizeMode::ShortestCrop)]
    resize: ResizeMode,
    /// The file to write: float32, [inputs, embedding width].
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ResizeMode {
    /// CLIP's own: the centre of the image.
    ShortestCrop,
    /// The whole image, each axis scaled on its own.
    Squash,
}

/// All inputs or none: a row that is missing would shift the others.
pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    if args.texts.is_empty() && args.images.is_empty() {
        bail!("nothing to embed: give --text or --image");
    }
    let limits = Limits::default();
    let read = args.images.iter().map(|path| read_image(path, &limits));
    let (images, problems): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    if !problems.is_empty() {
        let lines: Vec<String> =
            problems.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
        bail!("{}", lines.join("\n"));
    }
    let device = args.device.open()?;
    let backbone =
        Backbone::load(&args.model, args.activation.map(fe_clip::Activation::from), &device)?;
    let clip = &backbone.clip;
    let mut rows = Vec::new();
    backbone.cut_texts(&args.texts).iter().for_each(talk::warning);
    if !args.texts.is_empty() {
        rows.push(clip.text.forward(&backbone.tokenize(&args.texts)?, &device));
    }
    let size = backbone.image_size();
    let resize = match args.resize {
        ResizeMode::ShortestCrop => Resize::ShortestCrop,
        ResizeMode::Squash => Resize::Squash,
    };
    let preprocessing = Preprocess::clip(size, resize);
    for image in images.into_iter().flatten() {
        let (pixels, _) = preprocess(&image, &preprocessing).into_raw_vec_and_offset();
        let pixels = TensorData::new(pixels, [1, 3, size, size]);
        rows.push(clip.vision.forward(Tensor::<4>::from_data(pixels, &device)));
    }
    let embeddings = Tensor::cat(rows, 0); // [inputs, embed_dim]
    let embeddings = embeddings.clone() / embeddings.square().sum_dim(1).sqrt();
    let shape = embeddings.dims();
    let values = embeddings.into_data().try_into_vec::<f32>().context("reading the embeddings")?;
    let inputs = args.texts.iter().cloned();
    let inputs = inputs.chain(args.images.iter().map(|path| path.display().to_string()));
    for (row, input) in values.chunks(shape[1]).zip(inputs) {
        if let Some(bad) = row.iter().find(|value| !value.is_finite()) {
            bail!(
                "{input}: the embedding holds {bad}: its numbers overflow, or the weights are broken"
            );
        }
    }
    let inputs = args.images.iter().map(PathBuf::as_path).chain([Path::new(&args.model)]);
    Protected::new(inputs).check(&args.out).context("--out")?;
    write_atomic(&args.out, &npy::encode(shape, values.into_iter(), None))?;
    Ok(true)
}
