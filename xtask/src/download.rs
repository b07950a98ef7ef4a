//! `cargo xtask download NAME`: a published data set into `datasets/NAME`.

mod fetch;
mod unpack;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use data::{Dataset, Layout};

/// Most that an archive may unpack to where nothing is said; the largest of the ten sets has 8 GiB.
const MAX_UNPACKED_GIB: u64 = 64;

/// Fetch a published data set, or say how to get it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// mvtec-ad, visa, mpdd, btad, dagm, dtd-synthetic, cvc-clinicdb, kvasir, brain-mri or br35h
    name: Layout,
    /// Unpack this archive (zip, tar, tar.gz, tar.xz), got by hand
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Fetch the archive from a mirror
    #[arg(long, conflicts_with = "archive")]
    url: Option<String>,
    /// What the SHA-256 of the archive must be, in hexadecimal
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Most that the archive may have and unpack to
    #[arg(long, value_name = "GIB")]
    max_gib: Option<u64>,
    /// The folder that holds one folder a data set
    #[arg(long, default_value = "datasets")]
    root: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut known = data::datasets().into_iter();
    let Some(dataset) = known.find(|d| d.layout == args.name) else {
        bail!("{} is not a published data set", args.name);
    };
    let target = args.root.join(args.name.name());
    if target.exists() {
        let scan = data::scan(dataset.layout, &target)
            .context("the folder is there, but not in order: remove it to start again")?;
        println!("{} is there: {} images", target.display(), scan.samples.len());
        return Ok(());
    }
    introduce(&dataset);
    let known = dataset.fetch.as_ref();
    let gib = args.max_gib.or(known.map(|fetch| fetch.max_unpacked_gib));
    let most = gib.unwrap_or(MAX_UNPACKED_GIB).saturating_mul(1 << 30);
    let sha256 = args.sha256.as_deref().or(known.and_then(|fetch| fetch.sha256.as_deref()));
    if let Some(archive) = &args.archive {
        fetch::check(archive, sha256)?;
        install(archive, &target, dataset.layout, most)?;
    } else if let Some(url) = args.url.as_ref().or(known.map(|fetch| &fetch.url)) {
        std::fs::create_dir_all(&args.root)
            .with_context(|| format!("making {}", args.root.display()))?;
        let file = url.rsplit('/').next().filter(|file| !file.is_empty()).unwrap_or("archive");
        let archive = args.root.join(file);
        fetch::fetch(url, &archive, sha256, most)?;
        install(&archive, &target, dataset.layout, most)?;
        println!("{} may be removed now", archive.display());
    } else {
        println!("It cannot be fetched without a login or a form.");
        println!("{}", dataset.get.as_deref().unwrap_or_default());
        println!("Or unpack it safely: cargo xtask download {} --archive FILE", args.name);
    }
    Ok(())
}

fn introduce(dataset: &Dataset) {
    println!("{} by {}", dataset.title, dataset.authors);
    println!("licence: {} ({})", dataset.licence, dataset.allows);
    println!("home:    {}", dataset.home);
    println!("cite:    {}", dataset.citation);
}

/// Unpacks beside the target and renames what is the root of the data set.
fn install(archive: &Path, target: &Path, layout: Layout, most: u64) -> Result<()> {
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let partial = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent)?;
    unpack::unpack(archive, partial.path(), most)?;
    let mut root = partial.path().to_path_buf();
    // Some archives hold everything in one folder.
    if data::scan(layout, &root).is_err()
        && let Some(only) = only_folder(&root)?
    {
        root = only;
    }
    let scan = data::scan(layout, &root)
        .with_context(|| format!("{} does not hold {layout}", archive.display()))?;
    if root == partial.path() {
        root = partial.keep();
    }
    std::fs::rename(&root, target).with_context(|| format!("renaming to {}", target.display()))?;
    println!(
        "{}: {} images, {} problems",
        target.display(),
        scan.samples.len(),
        scan.problems.len()
    );
    Ok(())
}

fn only_folder(folder: &Path) -> Result<Option<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("__MACOSX") {
            folders.push(path);
        }
    }
    Ok(if folders.len() == 1 { folders.pop() } else { None })
}
