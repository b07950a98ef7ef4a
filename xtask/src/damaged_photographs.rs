//! `cargo xtask damaged-photographs`: a data set of free textures with drawn damage.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use data::{Crops, Shows, Source};
use image::{GrayImage, Luma, RgbImage};
use rayon::prelude::*;
use synthetic::{Damage, DefectKind, damage};

/// Fewest crops of a texture that make a category.
const LEAST: usize = 12;

/// Textures of a corpus with drawn damage and its masks, in the layout of MVTec AD.
///
/// A category is a texture with twelve crops or more: three tenths of them are normal images of
/// `train`, three tenths normal images of `test`, the others are damaged, each in its own way.
/// The textures that the corpus holds out and those for training are never in one set.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    cargo xtask damaged-photographs --photographs photographs.tar --held-out --out textures")]
pub(crate) struct Args {
    /// Corpus that `cargo xtask photographs` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) photographs: PathBuf,
    /// Folder to write; it must not be there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The textures that are held out of every training, instead of those for training
    #[arg(long)]
    pub(crate) held_out: bool,
    /// Seed of the damage
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(!args.out.exists(), "{}: is there already; choose another folder", args.out.display());
    let crops = Crops::open(&args.photographs)?;
    let fits = |source: &&Source| {
        source.shows == Shows::Texture && source.held_out == args.held_out && source.crops >= LEAST
    };
    let sources: Vec<&Source> = crops.corpus().sources.iter().filter(fits).collect();
    ensure!(
        sources.len() > 1,
        "{}: {} textures with {LEAST} crops or more; two are needed",
        args.photographs.display(),
        sources.len()
    );
    let parent = args.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let partial = tempfile::Builder::new().prefix(".drawing-").tempdir_in(parent)?;
    let bar = indicatif::ProgressBar::new(sources.len() as u64);
    let hidden = AtomicU64::new(0);
    (0..sources.len()).into_par_iter().try_for_each(|index| {
        let source = sources[index];
        let donor = sources[(index + 1) % sources.len()];
        let folder = partial.path().join(category(source));
        hidden.fetch_add(draw(&crops, source, donor, &folder, args.seed)?, Ordering::Relaxed);
        bar.inc(1);
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    let hidden = hidden.into_inner();
    if hidden > 0 {
        eprintln!("{hidden} pictures left out: no damage showed");
    }
    std::fs::rename(partial.keep(), &args.out)
        .with_context(|| format!("renaming to {}", args.out.display()))?;
    println!("{}: {} categories", args.out.display(), sources.len());
    Ok(())
}

/// A folder's name: that of the file, and the place of its first crop, since names come more than once.
fn category(source: &Source) -> String {
    let stem = Path::new(&source.file).file_stem().map_or_else(Default::default, |stem| {
        stem.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    });
    format!("{stem}_{}", source.first)
}

/// Draws a category; how many pictures were left out because no damage showed.
fn draw(crops: &Crops, source: &Source, donor: &Source, root: &Path, seed: u64) -> Result<u64> {
    let share = source.crops * 3 / 10;
    let mut hidden = 0;
    for i in 0..source.crops {
        let image = crops.get(source.first + i)?;
        let name = format!("{i:03}");
        if i < 2 * share {
            let split = if i < share { "train" } else { "test" };
            save(&image, &root.join(split).join("good"), &name)?;
            continue;
        }
        let turn = source.first + i;
        let other = crops.get(donor.first + i % donor.crops)?;
        let kinds = DefectKind::ALL.len();
        let (folder, kind) = match turn % (kinds + 2) {
            k if k < kinds => (DefectKind::ALL[k].name(), Damage::Defect(DefectKind::ALL[k])),
            k if k == kinds => ("cut_paste", Damage::CutPaste),
            _ => ("blend", Damage::Blend(&other)),
        };
        let Some(damaged) = damage(&image, kind, seed.wrapping_mul(1_000_003) + turn as u64) else {
            hidden += 1;
            continue;
        };
        save(&damaged.image, &root.join("test").join(folder), &name)?;
        let (height, width) = damaged.mask.dim();
        let mask = GrayImage::from_fn(width as u32, height as u32, |x, y| {
            Luma([if damaged.mask[[y as usize, x as usize]] { 255 } else { 0 }])
        });
        let folder = root.join("ground_truth").join(folder);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        mask.save(folder.join(format!("{name}_mask.png")))?;
    }
    Ok(hidden)
}

fn save(image: &RgbImage, folder: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join(format!("{name}.png"));
    image.save(&path).with_context(|| path.display().to_string())
}
