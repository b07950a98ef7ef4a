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
/// [`Error::NoBackend`] if the backend was not compiled in; or if there is no such backend, or
/// this machine has no such device.
pub fn open_device(name: &str) -> Result<Device, Error> {
    let backend = name.split_once(':').map_or(name, |(backend, _)| backend);
    if let Some((feature, false)) = feature(backend) {
        return Err(Error::NoBackend { device: name.into(), feature });
    }
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
    if backend != "flex" && feature(backend).is_none() {
        return Err("no such backend: there are flex, tch, tch-cuda, wgpu and cuda".into());
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

/// The Cargo feature that a backend comes with, and whether it was compiled in.
fn feature(backend: &str) -> Option<(&'static str, bool)> {
    let name = if backend == "tch-cuda" { "tch" } else { backend };
    FEATURES.into_iter().find(|(feature, _)| *feature == name)
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
    fn a_backend_that_was_left_out_names_its_feature() {
        for (name, compiled_in) in FEATURES {
            if !compiled_in {
                for device in [name.to_owned(), format!("{name}:0")] {
                    let error = open_device(&device).expect_err("it must be refused");
                    assert!(matches!(error, Error::NoBackend { feature, .. } if feature == name));
                }
            }
        }
    }
}
