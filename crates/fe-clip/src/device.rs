//! What the model runs on, among the backends that were compiled in.

use burn::tensor::Device;
#[cfg(any(feature = "tch", feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;

use crate::Error;

/// Backends by the Cargo feature that compiles them in.
const FEATURES: [(&str, bool); 3] = [
    ("tch", cfg!(feature = "tch")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("cuda", cfg!(feature = "cuda")),
];

/// The device of that name: `flex` (this CPU, in every build), `tch` (LibTorch, on this CPU), or a
/// GPU through `wgpu`, `cuda` or `tch-cuda`, the second one as `cuda:1`.
///
/// # Errors
/// If there is no such backend, it was not compiled in, or this machine has no such device.
pub fn open_device(name: &str) -> Result<Device, Error> {
    open(name).map_err(|reason| Error::Settings(format!("device {name}: {reason}")))
}

fn open(name: &str) -> Result<Device, String> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => {
            let index = index.parse::<usize>();
            (backend, Some(index.map_err(|e| format!("a device's number: {e}"))?))
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
        (backend, _) => Err(format!("{backend} takes no number")),
    }
}

/// Refuses backends that do not exist or were left out of this build.
fn require(backend: &str) -> Result<(), String> {
    match FEATURES.iter().find(|(name, _)| *name == backend) {
        Some((_, true)) => Ok(()),
        Some(_) => Err(format!(
            "this build has no {backend}: build with `cargo build --release --workspace --features fe-clip-cli/{backend}` \
             (docs/backends.md)"
        )),
        None => Err("no such backend: there are flex, tch, tch-cuda, wgpu and cuda".into()),
    }
}

#[cfg(any(feature = "tch", feature = "wgpu", feature = "cuda"))]
fn listed(kind: DeviceType, index: Option<usize>, help: &str) -> Result<Device, String> {
    let devices = Device::enumerate(kind);
    if devices.is_empty() {
        return Err(help.into());
    }
    let found = devices.get(index.unwrap_or(0)).cloned();
    found.ok_or_else(|| format!("there are only {} such devices, counted from 0", devices.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        open(name).expect_err("it must be refused")
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
