//! `--device`: what the model runs on, among the backends that were compiled in.

use anyhow::{Context, bail};
use burn::tensor::Device;
#[cfg(any(feature = "tch", feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;

/// The flag of every command that runs the model.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// What the model runs on: `flex` (this CPU, in every build), `tch` (LibTorch, on this CPU), or
    /// the GPU through `wgpu`, `cuda` or `tch-cuda`, the second one as `cuda:1`.
    #[arg(long, env = "BURN_DEVICE", value_name = "DEVICE", default_value = "flex")]
    device: String,
}

/// Backends by the Cargo feature that compiles them in.
const FEATURES: [(&str, bool); 3] = [
    ("tch", cfg!(feature = "tch")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("cuda", cfg!(feature = "cuda")),
];

impl DeviceArgs {
    /// The chosen device.
    ///
    /// # Errors
    /// If there is no such backend, it was not compiled in, or this machine has no such device.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
        open(&self.device).with_context(|| format!("--device {}", self.device))
    }
}

fn open(name: &str) -> anyhow::Result<Device> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => {
            (backend, Some(index.parse::<usize>().context("a device's number")?))
        }
        None => (name, None),
    };
    if backend != "flex" {
        require(if backend == "tch-cuda" { "tch" } else { backend })?;
    }
    match (backend, index) {
        ("flex", None) => Ok(Device::flex()),
        #[cfg(feature = "tch")]
        ("tch", None) =>
        {
            #[expect(
                deprecated,
                reason = "it goes with the next release of Burn, which is why ours is pinned"
            )]
            Ok(Device::libtorch())
        }
        #[cfg(feature = "tch")]
        ("tch-cuda", index) => listed(
            DeviceType::LibTorch,
            index,
            "LibTorch sees no NVIDIA GPU: its build must have CUDA, and the driver must be installed",
        ),
        #[cfg(feature = "wgpu")]
        ("wgpu", index) => {
            let help = "no graphics adapter found: install the GPU's Vulkan driver, or Mesa's for the CPU (Debian: mesa-vulkan-drivers)";
            let first = listed(DeviceType::Wgpu, index, help)?;
            // Without a number, wgpu's own preference decides.
            Ok(if index.is_some() { first } else { Device::wgpu(Default::default()) })
        }
        #[cfg(feature = "cuda")]
        ("cuda", index) => listed(
            DeviceType::Cuda,
            index,
            "CUDA finds no NVIDIA GPU: the driver must be installed",
        ),
        (backend, _) => bail!("{backend} takes no number"),
    }
}

/// Refuses backends that do not exist or were left out of this build.
fn require(backend: &str) -> anyhow::Result<()> {
    match FEATURES.iter().find(|(name, _)| *name == backend) {
        Some((_, true)) => Ok(()),
        Some(_) => bail!(
            "this build has no {backend}: build with `cargo build --release --workspace --features fe-clip-cli/{backend}` \
             (docs/backends.md)"
        ),
        None => bail!("no such backend: there are flex, tch, tch-cuda, wgpu and cuda"),
    }
}

#[cfg(any(feature = "tch", feature = "wgpu", feature = "cuda"))]
fn listed(kind: DeviceType, index: Option<usize>, help: &str) -> anyhow::Result<Device> {
    let devices = Device::enumerate(kind);
    if devices.is_empty() {
        bail!("{help}");
    }
    let found = devices.get(index.unwrap_or(0)).cloned();
    found.with_context(|| format!("there are only {} such devices, counted from 0", devices.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        format!("{:#}", open(name).expect_err("it must be refused"))
    }

    #[test]
    fn flex_is_always_there_and_has_no_number() {
        assert_eq!(open("flex").unwrap(), Device::flex());
        assert_eq!(refusal("flex:1"), "flex takes no number");
    }

    #[test]
    fn unknown_names_are_told_the_known_ones() {
        for name in ["", "gpu", "-cuda", "flex-cuda", "wgpu-cuda", "CUDA"] {
            assert!(refusal(name).contains("there are flex, tch"), "{name}: {}", refusal(name));
        }
        assert!(refusal("wgpu:first").contains("a device's number"));
    }

    #[test]
    fn a_backend_that_was_left_out_names_the_command_that_adds_it() {
        for (name, compiled_in) in FEATURES {
            if !compiled_in {
                assert!(refusal(name).contains(&format!("--features fe-clip-cli/{name}")));
                assert!(refusal(&format!("{name}:0")).contains(&format!("fe-clip-cli/{name}")));
            }
        }
    }
}
