//! Objects in Amazon's, Google's and Microsoft's stores and in those that speak as they do.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use tokio::runtime::Runtime;

/// How long a request is tried again that may succeed later.
const PATIENCE: Duration = Duration::from_secs(60);

/// What waits for answers while the threads that ask for objects wait for it.
static RUNTIME: LazyLock<Result<Runtime, String>> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(|error| error.to_string())
});

/// Stores by the start of their addresses: each has its connections and its credentials.
static STORES: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> =
    LazyLock::new(Mutex::default);

/// A place in a store, or a folder there.
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    key: Path,
}

impl Object {
    /// # Errors
    /// If the address is none, or the environment does not say how the store is to be reached.
    pub(super) fn parse(address: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = address.split_once("://").context("no address")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(!bucket.is_empty(), "no bucket in the address");
        let key = Path::parse(key)?;
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match stores.get(&format!("{scheme}://{bucket}")) {
            Some(store) => store.clone(),
            None => {
                let store = open(scheme, bucket)?;
                stores.insert(format!("{scheme}://{bucket}"), store.clone());
                store
            }
        };
        Ok(Self { store, key })
    }

    /// The object; none if there is none.
    ///
    /// # Errors
    /// If it is larger than `most` bytes or cannot be had.
    pub(super) fn read(&self, most: u64) -> anyhow::Result<Option<Vec<u8>>> {
        wait(async {
            let found = match self.store.get(&self.key).await {
                Err(Error::NotFound { .. }) => return Ok(None),
                found => found?,
            };
            let size = found.meta.size;
            ensure!(size <= most, "{size} bytes: more than the {most} that an image may have");
            Ok(Some(found.bytes().await?.into()))
        })
    }

    /// What lies below, by the rest of its address.
    ///
    /// # Errors
    /// If the store does not say.
    pub(super) fn list(&self) -> anyhow::Result<Vec<String>> {
        wait(async {
            let below = |found: object_store::ObjectMeta| {
                let rest = found.location.prefix_match(&self.key)?;
                let parts: Vec<_> = rest.map(|part| part.as_ref().to_owned()).collect();
                Some(parts.join("/"))
            };
            let prefix = (!self.key.as_ref().is_empty()).then_some(&self.key);
            let found = self.store.list(prefix);
            Ok(found.try_filter_map(async |found| Ok(below(found))).try_collect().await?)
        })
    }

    /// Asks for what lies below, which fails where there is no such store, as asking for one object
    /// does not.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub(super) fn reach(&self) -> anyhow::Result<()> {
        wait(async { Ok(self.store.list(Some(&self.key)).try_next().await.map(drop)?) })
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// If the store does not say.
    pub(super) fn exists(&self) -> anyhow::Result<bool> {
        wait(async {
            match self.store.head(&self.key).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Writes it, unless there is one; returns whether it did. Stores that cannot promise that
    /// write it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn create(&self, bytes: &[u8]) -> anyhow::Result<bool> {
        let payload = PutPayload::from(bytes.to_vec());
        match wait(async {
            Ok(self.store.put_opts(&self.key, payload, PutMode::Create.into()).await)
        })? {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(Error::NotImplemented { .. }) => self.put(bytes).map(|()| true),
            Err(error) => Err(brief(error.into())),
        }
    }

    /// Writes it, in place of what is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn put(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let payload = PutPayload::from(bytes.to_vec());
        wait(async { Ok(self.store.put(&self.key, payload).await.map(drop)?) })
    }
}

fn open(scheme: &str, bucket: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    // For reqwest, which has none of its own here; it fails if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
    Ok(match scheme {
        "s3" => {
            let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
            Arc::new(store.build()?)
        }
        "gs" => {
            let store = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(store.with_retry(retry).build()?)
        }
        "az" => {
            let store = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(store.with_retry(retry).build()?)
        }
        other => bail!("{other}: no kind of store that is known"),
    })
}

/// The outcome of work that the runtime does.
fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match &*RUNTIME {
        Ok(runtime) => runtime.block_on(work).map_err(brief),
        Err(error) => bail!("no threads to fetch with: {error}"),
    }
}

/// The error in one line: of the document that a store answers with, the message alone.
fn brief(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    let Some((before, document)) = text.split_once("<?xml") else { return error };
    let message = document.split_once("<Message>").map_or("", |(_, rest)| rest);
    let message = message.split(['<', '\n']).next().unwrap_or_default();
    anyhow::anyhow!("{before}{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_told_in_a_line() {
        let text = "404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>X</Code><Message>No such \
                    container.\nTime:1</Message></Error>";
        assert_eq!(brief(anyhow::anyhow!(text)).to_string(), "404 Not Found: No such container.");
        let plain = "timed out";
        assert_eq!(brief(anyhow::anyhow!(plain)).to_string(), plain);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (address, words) in
            [("s3:///key", "no bucket"), ("s3://bucket/a//b", "empty"), ("ftp://bucket/a", "ftp")]
        {
            let error = Object::parse(address).map(drop).unwrap_err();
            assert!(format!("{error:#}").to_lowercase().contains(words), "{address}: {error:#}");
        }
    }
}
