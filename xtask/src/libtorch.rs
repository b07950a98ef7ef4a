//! `cargo xtask libtorch`: the LibTorch that the `tch` backend links, without the CUDA stack.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::execute;

/// Fetch the LibTorch that `--features fe-clip-cli/tch` links (0.9 GB to download, 0.5 GB kept).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to make.
    #[arg(long, default_value = "target/libtorch")]
    folder: PathBuf,
}

/// The version that torch-sys asks for; `libtorch_cpu` links two libraries of CUDA without needing a GPU.
const PACKAGES: [&str; 3] =
    ["torch==2.9.0", "nvidia-cuda-runtime-cu12==12.8.90", "nvidia-cuda-cupti-cu12==12.8.90"];
const LIBRARIES: [&str; 5] = [
    "torch/lib/libc10.so",
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cuda_runtime/lib/libcudart.so.12",
    "nvidia/cuda_cupti/lib/libcupti.so.12",
];

pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "this task knows Linux on x86-64 only; elsewhere install torch 2.9.0 with pip and set LIBTORCH_USE_PYTORCH=1"
        );
    }
    if !args.folder.exists() {
        let parent = args.folder.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let partial = tempfile::Builder::new().prefix(".libtorch-").tempdir_in(parent)?;
        lay_out(&download(partial.path())?, &partial.path().join("libtorch"))?;
        fs::rename(partial.path().join("libtorch"), &args.folder)
            .with_context(|| format!("renaming to {}", args.folder.display()))?;
    }
    let folder = fs::canonicalize(&args.folder)?;
    println!("export LIBTORCH={}", folder.display());
    println!("cargo build --release --workspace --bin fe-clip --features fe-clip-cli/tch");
    Ok(())
}

fn download(into: &Path) -> Result<Vec<PathBuf>> {
    let wheels = into.join("wheels");
    execute(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--python-version",
                "3.12",
            ])
            .args([
                "--platform",
                "manylinux_2_28_x86_64",
                "--platform",
                "manylinux2014_x86_64",
                "--dest",
            ])
            .arg(&wheels)
            .args(PACKAGES),
    )?;
    let entries = fs::read_dir(&wheels).with_context(|| format!("reading {}", wheels.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn lay_out(wheels: &[PathBuf], folder: &Path) -> Result<()> {
    let lib = folder.join("lib");
    fs::create_dir_all(&lib).with_context(|| format!("making {}", lib.display()))?;
    for wheel in wheels {
        extract(wheel, folder).with_context(|| format!("unpacking {}", wheel.display()))?;
    }
    for library in LIBRARIES {
        let path = lib.join(Path::new(library).file_name().unwrap_or_default());
        ensure!(path.is_file(), "{library} is in none of the wheels");
    }
    fs::copy(lib.join("libgomp.so.1"), lib.join("libgomp.so"))?;
    fs::write(folder.join("build-version"), PACKAGES[0].trim_start_matches("torch=="))?;
    // The wheel's own libtorch.so would pull in the CUDA stack.
    execute(
        Command::new("gcc")
            .args([
                "-shared",
                "-x",
                "c",
                "/dev/null",
                "-Wl,-soname,libtorch.so",
                "-Wl,--no-as-needed",
                "-ltorch_cpu",
            ])
            .arg("-Wl,-rpath,$ORIGIN")
            .arg(format!("-Wl,-rpath-link,{}", lib.display()))
            .arg(format!("-L{}", lib.display()))
            .arg("-o")
            .arg(lib.join("libtorch.so")),
    )
}

/// Headers keep their place under `include`; the libraries come into `lib`.
fn extract(wheel: &Path, folder: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name()?.into_owned();
        let target = if let Some(header) = name.strip_prefix("torch/include/") {
            folder.join("include").join(header)
        } else if LIBRARIES.contains(&name.as_str()) {
            folder.join("lib").join(Path::new(&name).file_name().unwrap_or_default())
        } else {
            continue;
        };
        ensure!(entry.is_file() && !name.contains(".."), "{name}: not a plain file");
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        std::io::copy(&mut entry, &mut File::create(&target)?)?;
    }
    Ok(())
}
