//! `--device`: what the model runs on.

use anyhow::{Context, anyhow};
use burn::tensor::Device;
use fe_clip::Error;

/// The flag of every command that runs the model.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// What the model runs on: `flex` (this CPU, in every build), `tch` (LibTorch, on this CPU), or
    /// the GPU through `wgpu`, `cuda` or `tch-cuda`, the second one as `cuda:1`.
    #[arg(long, env = "BURN_DEVICE", value_name = "DEVICE", default_value = "flex")]
    device: String,
}

impl DeviceArgs {
    /// The chosen device.
    ///
    /// # Errors
    /// If there is no such backend, it was not compiled in, or this machine has no such device.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
        let opened = fe_clip::open_device(&self.device).map_err(|error| match error {
            Error::NoBackend { feature, .. } => anyhow!(
                "{error}: build with `cargo build --release --workspace --features \
                 fe-clip-cli/{feature}` (docs/backends.md)"
            ),
            error => error.into(),
        });
        opened.context("--device")
    }
}
