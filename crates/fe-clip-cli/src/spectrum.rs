//! `fe-clip spectrum`: the picture of the paper's Figure 1.

use std::path::PathBuf;

use anyhow::{Context, bail};
use data::{Limits, read_image};
use dct::{Padding, block_dct_2d};
use fe_clip::files::write_atomic;
use fe_clip::overlay::colour;
use image::RgbImage;
use ndarray::{Array2, s};

use crate::output::rgb_png;
use crate::panels::side_by_side;
use crate::protect::Protected;
use crate::stdout;

/// Draw the local frequency statistics of an image: the image, the spectrum of each region at the
/// region's place, and one value per region, the mean strength of all coefficients but the first.
///
/// Regions are adjoining squares of the luminance, each transformed by an orthonormal cosine
/// transform. Colours stand for log(1 + |coefficient|) on a fixed scale, so pictures of several
/// images can be compared.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip spectrum part.png --out spectrum.png\n  \
    fe-clip spectrum part.png --region 8 --out spectrum.png")]
pub(crate) struct Args {
    /// The image.
    image: PathBuf,
    /// The picture to write.
    #[arg(long, value_name = "PNG")]
    out: PathBuf,
    /// Side of a region in pixels.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=256))]
    region: u16,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let image = read_image(&args.image, &Limits::default())?;
    let region = usize::from(args.region);
    let (width, height) = image.dimensions();
    let whole = |length: u32| length as usize / region * region;
    let (w, h) = (whole(width), whole(height));
    if w == 0 || h == 0 {
        bail!(
            "{}: {width}x{height} pixels hold no region of {region}x{region}",
            args.image.display()
        );
    }
    let found = Spectra::new(&image, region);
    let picture = draw(&image, &found);
    Protected::new([args.image.as_path()]).check(&args.out).context("--out")?;
    write_atomic(&args.out, &rgb_png(&picture)?).context("--out")?;
    stdout::print_path(&args.out)?;
    Ok(true)
}

/// A coefficient of at least this many times the region's side has the last colour. Since the
/// transform is orthonormal, a cosine with an amplitude of twice this many grey levels reaches it.
const FULL: f32 = 8.0;

/// The spectra of an image's whole regions; the rest at the right and bottom border is left out.
struct Spectra {
    /// Side of a region.
    region: usize,
    /// log(1 + |coefficient|) of each region at its place, scaled to [0, 1], `[h, w]`.
    coefficients: Array2<f32>,
    /// Mean of that over all coefficients of a region but the first, `[regions down, across]`.
    texture: Array2<f32>,
}

impl Spectra {
    fn new(image: &RgbImage, region: usize) -> Self {
        let (w, h) = (image.width() as usize / region, image.height() as usize / region);
        // ITU-R BT.601, as Pillow's mode "L".
        let grey = Array2::from_shape_fn((h * region, w * region), |(y, x)| {
            let [r, g, b] = image.get_pixel(x as u32, y as u32).0.map(f32::from);
            0.299 * r + 0.587 * g + 0.114 * b
        });
        let spectrum = block_dct_2d(grey.view(), region, Padding::None)
            .expect("the sides are multiples of the region");
        let full = (FULL * region as f32).ln_1p();
        let coefficients = spectrum.mapv(|c| (c.abs().ln_1p() / full).min(1.0));
        let others = (region * region - 1) as f32;
        let texture = Array2::from_shape_fn((h, w), |(i, j)| {
            let (y, x) = (i * region, j * region);
            let block = coefficients.slice(s![y..y + region, x..x + region]);
            (block.sum() - block[[0, 0]]) / others
        });
        Self { region, coefficients, texture }
    }
}

fn draw(image: &RgbImage, found: &Spectra) -> RgbImage {
    let (h, w) = found.coefficients.dim();
    let region = found.region;
    let paint = |value: &dyn Fn(usize, usize) -> f32| {
        RgbImage::from_fn(w as u32, h as u32, |x, y| {
            colour(value(y as usize, x as usize).clamp(0.0, 1.0))
        })
    };
    side_by_side(&[
        ("image", image::imageops::crop_imm(image, 0, 0, w as u32, h as u32).to_image()),
        ("spectrum of each region", paint(&|y, x| found.coefficients[[y, x]])),
        ("mean without DC", paint(&|y, x| found.texture[[y / region, x / region]])),
    ])
}
