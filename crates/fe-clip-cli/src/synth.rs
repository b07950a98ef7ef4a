//! `fe-clip synth`: a procedural data set.

use std::path::PathBuf;

use anyhow::bail;
use synthetic::{HELD_OUT, WriteOptions, categories, write_dataset};

use crate::talk::Progress;

/// Draw a procedural data set with masks, in the layout of MVTec AD.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip synth --out parts\n  \
    fe-clip synth --out held-out --categories held-out --seed 7\n  \
    fe-clip synth --out gears --categories gear,hex_nut --train-normal 4")]
pub(crate) struct Args {
    /// Folder to write; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 512)]
    size: u32,
    /// Categories by name, or `all`, `training` (those that `tiny` was trained on) or `held-out`
    /// (those that it never saw).
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "all")]
    categories: Vec<String>,
    /// Normal training images a category.
    #[arg(long, default_value_t = 20)]
    train_normal: usize,
    /// Normal test images a category.
    #[arg(long, default_value_t = 10)]
    test_normal: usize,
    /// Test images a category and kind of defect.
    #[arg(long, default_value_t = 2)]
    test_per_defect: usize,
}

pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    let progress = Progress::new(0, "files");
    let options = WriteOptions {
        seed: args.seed,
        size: args.size,
        train_normal: args.train_normal,
        test_normal: args.test_normal,
        test_per_defect: args.test_per_defect,
        categories: indices(&args.categories)?,
        ..WriteOptions::default()
    };
    write_dataset(&args.out, &options, |done, all| {
        progress.set_total(all);
        progress.set(done);
    })?;
    progress.finish();
    Ok(true)
}

fn indices(names: &[String]) -> anyhow::Result<Vec<usize>> {
    let mut chosen = vec![false; categories().len()];
    for name in names {
        let wanted = |category: &str| match name.as_str() {
            "all" => true,
            "training" => !HELD_OUT.contains(&category),
            "held-out" => HELD_OUT.contains(&category),
            name => name == category,
        };
        let mut known = false;
        for (chosen, category) in chosen.iter_mut().zip(categories()) {
            if wanted(category.name) {
                (*chosen, known) = (true, true);
            }
        }
        if !known {
            let all: Vec<&str> = categories().iter().map(|c| c.name).collect();
            bail!("no category {name}; there are {}", all.join(", "));
        }
    }
    Ok((0..chosen.len()).filter(|&i| chosen[i]).collect())
}
