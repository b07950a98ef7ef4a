//! Whom to trust, and by what to be known: certificates, passwords, secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const PASSWORD: &str = "FE_CLIP_PUBLISH_PASSWORD";
const SECRET: &str = "FE_CLIP_PUBLISH_SECRET";
/// What secrets of Standard Webhooks begin with; base64 follows.
const ENCODED: &str = "whsec_";

/// Flags about security, of all targets.
#[derive(clap::Args)]
pub(crate) struct SecurityArgs {
    /// Certificates, PEM, of who may sign those of mqtts:// and https:// targets. Default: the
    /// public authorities that Mozilla trusts.
    #[arg(long, value_name = "FILE", requires = "targets")]
    publish_ca: Option<PathBuf>,
    /// Certificate, PEM, with what it was signed by, that mqtts:// and https:// targets are shown.
    #[arg(long, value_name = "FILE", requires_all = ["targets", "publish_key"])]
    publish_cert: Option<PathBuf>,
    /// The private key, PEM, of --publish-cert.
    #[arg(long, value_name = "FILE", requires = "publish_cert")]
    publish_key: Option<PathBuf>,
    /// Password for targets whose address has a user without one. Default: what the environment
    /// has as FE_CLIP_PUBLISH_PASSWORD.
    #[arg(long, value_name = "FILE", requires = "targets")]
    publish_password_file: Option<PathBuf>,
    /// Secret that what http(s):// targets are sent is signed with. Default: what the environment
    /// has as FE_CLIP_PUBLISH_SECRET, else nothing is signed.
    #[arg(long, value_name = "FILE", requires = "targets")]
    publish_secret_file: Option<PathBuf>,
}

/// What the flags and the environment say.
#[derive(Default)]
pub(super) struct Security {
    /// Who may sign certificates, instead of public authorities.
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<Identity>,
    pub(super) password: Option<String>,
    pub(super) secret: Option<Vec<u8>>,
}

/// By what we are known.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The same as its file has it, for who reads it anew.
    key_pem: Vec<u8>,
}

impl SecurityArgs {
    /// # Errors
    /// If a file cannot be read, or is not what it should be.
    pub(super) fn read(&self) -> anyhow::Result<Security> {
        let identity = match (&self.publish_cert, &self.publish_key) {
            (Some(chain), Some(key)) => {
                let chain = certificates("--publish-cert", chain)?;
                let named = || format!("--publish-key {}", key.display());
                let key_pem = std::fs::read(key).with_context(named)?;
                let key = PrivateKeyDer::from_pem_slice(&key_pem).with_context(named)?;
                Some(Identity { chain, key, key_pem })
            }
            _ => None,
        };
        let authorities = self.publish_ca.as_deref();
        let authorities = authorities.map(|file| certificates("--publish-ca", file)).transpose()?;
        let file = self.publish_password_file.as_deref();
        let password = text("--publish-password-file", file, PASSWORD)?;
        let secret = text("--publish-secret-file", self.publish_secret_file.as_deref(), SECRET)?;
        let secret = secret.map(|secret| key(&secret)).transpose()?;
        Ok(Security { authorities, identity, password, secret })
    }
}

impl Security {
    /// The password for a login, which may hold one.
    pub(super) fn login(&self, login: Option<&(String, String)>) -> Option<(String, String)> {
        let (name, given) = login?;
        let password = self.password.as_ref().filter(|_| given.is_empty());
        Some((name.clone(), password.unwrap_or(given).clone()))
    }

    /// For rustls.
    ///
    /// # Errors
    /// If a certificate or the key is of no use.
    pub(super) fn rustls(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(list) => {
                for certificate in list {
                    roots.add(certificate.clone()).context("--publish-ca")?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(Arc::new(match &self.identity {
            Some(Identity { chain, key, .. }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .context("--publish-cert and --publish-key")?,
            None => builder.with_no_client_auth(),
        }))
    }

    /// The same for ureq, which makes of it what [`rustls`](Self::rustls) does.
    ///
    /// # Errors
    /// If ureq cannot read the key.
    pub(super) fn ureq(&self) -> anyhow::Result<TlsConfig> {
        let owned = |list: &[CertificateDer<'_>]| -> Vec<Certificate<'static>> {
            list.iter().map(|one| Certificate::from_der(one).to_owned()).collect()
        };
        let mut config = TlsConfig::builder();
        if let Some(list) = &self.authorities {
            config = config.root_certs(RootCerts::new_with_certs(&owned(list)));
        }
        if let Some(Identity { chain, key_pem, .. }) = &self.identity {
            let key = PrivateKey::from_pem(key_pem).context("--publish-key")?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&owned(chain), key)));
        }
        Ok(config.build())
    }
}

/// The certificates in a file; at least one.
fn certificates(flag: &str, file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let named = || format!("{flag} {}", file.display());
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).with_context(named)?.collect();
    let found = found.with_context(named)?;
    if found.is_empty() {
        bail!("{}: no certificate in PEM", named());
    }
    Ok(found)
}

/// The first line of a file, else a variable of the environment; nothing without either.
fn text(flag: &str, file: Option<&Path>, variable: &str) -> anyhow::Result<Option<String>> {
    let (text, from) = match file {
        Some(file) => {
            let from = format!("{flag} {}", file.display());
            (std::fs::read_to_string(file).with_context(|| from.clone())?, from)
        }
        None => match std::env::var(variable) {
            Ok(text) => (text, variable.to_owned()),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(error) => return Err(error).context(variable.to_owned()),
        },
    };
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("{from}: there is nothing in it");
    }
    Ok(Some(line.to_owned()))
}

/// The key that a secret stands for: itself, or what it encodes.
fn key(secret: &str) -> anyhow::Result<Vec<u8>> {
    match secret.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD
            .decode(encoded)
            .with_context(|| format!("the secret: expected base64 after {ENCODED}")),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_keys_or_encode_them() {
        assert_eq!(key("abc").unwrap(), b"abc");
        assert_eq!(key("whsec_YWJj").unwrap(), b"abc");
        assert!(key("whsec_?").is_err());
    }

    #[test]
    fn a_password_goes_to_a_user_without_one() {
        let security = Security { password: Some("b".into()), ..Security::default() };
        let login = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(security.login(login("me", "").as_ref()), login("me", "b"));
        assert_eq!(security.login(login("me", "a").as_ref()), login("me", "a"));
        assert_eq!(security.login(None), None);
        assert_eq!(Security::default().login(login("me", "").as_ref()), login("me", ""));
    }

    #[test]
    fn files_that_hold_nothing_of_use_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "\n").unwrap();
        let error = certificates("--publish-ca", &file).unwrap_err().to_string();
        assert!(error.contains("--publish-ca") && error.contains("empty.pem"), "{error}");
        let error = text("--publish-secret-file", Some(&file), SECRET).unwrap_err().to_string();
        assert!(error.contains("nothing in it"), "{error}");
    }
}
