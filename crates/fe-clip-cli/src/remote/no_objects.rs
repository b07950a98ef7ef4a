//! A program without object stores.

use std::convert::Infallible;

use anyhow::bail;

/// None, here.
pub(super) struct Object(Infallible);

impl Object {
    pub(super) fn parse(_: &str) -> anyhow::Result<Self> {
        bail!(
            "this program was built without object stores; \
             `cargo build --release --features fe-clip-cli/object-store` makes one that has them"
        )
    }

    pub(super) fn read(&self, _: u64) -> anyhow::Result<Option<Vec<u8>>> {
        match self.0 {}
    }

    pub(super) fn list(&self) -> anyhow::Result<Vec<String>> {
        match self.0 {}
    }

    pub(super) fn reach(&self) -> anyhow::Result<()> {
        match self.0 {}
    }

    pub(super) fn exists(&self) -> anyhow::Result<bool> {
        match self.0 {}
    }

    pub(super) fn create(&self, _: &[u8]) -> anyhow::Result<bool> {
        match self.0 {}
    }

    pub(super) fn put(&self, _: &[u8]) -> anyhow::Result<()> {
        match self.0 {}
    }
}
