//! Addresses of `--publish`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use ureq::http::Uri;

use super::security::Security;
use super::{Deliver, modbus, mqtt, webhook};

/// Where results go. It is shown without a password and without what follows a question mark.
#[derive(Clone)]
pub(crate) struct Target {
    kind: Kind,
    shown: String,
    /// Where its results wait, below the folder of all.
    folder: PathBuf,
}

#[derive(Clone)]
enum Kind {
    Mqtt(mqtt::Address),
    Webhook(webhook::Address),
    Modbus(modbus::Address),
}

impl Target {
    /// Whether it has no place for an image that is neither normal nor anomalous.
    pub(super) fn needs_labels(&self) -> bool {
        matches!(self.kind, Kind::Modbus(_))
    }

    /// Whether what was found before is of use to it: registers say what is now.
    pub(super) fn takes_what_waited(&self) -> bool {
        !matches!(self.kind, Kind::Modbus(_))
    }

    /// The name of the folder in which its results wait.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What delivers there; it connects by and by.
    ///
    /// # Errors
    /// If a certificate or the key is of no use.
    pub(super) fn open(&self, security: &Security) -> anyhow::Result<Box<dyn Deliver + Send>> {
        Ok(match &self.kind {
            Kind::Mqtt(address) => Box::new(mqtt::Broker::new(address, security)?),
            Kind::Webhook(address) => Box::new(webhook::Server::new(address, security)?),
            Kind::Modbus(address) => Box::new(modbus::Controller::new(address.clone())),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        let kind = match url.scheme.as_str() {
            "mqtt" | "mqtts" => Kind::Mqtt(mqtt::Address::new(&url)?),
            "http" | "https" => Kind::Webhook(webhook::Address::new(&url)),
            "modbus" => Kind::Modbus(modbus::Address::new(&url)?),
            other => {
                return Err(format!(
                    "expected mqtt, mqtts, http, https or modbus before ://, got {other}"
                ));
            }
        };
        let shown = format!("{}{}", url.base(), url.path);
        Ok(Self { kind, folder: folder(&url, &shown), shown })
    }
}

/// A name for the folder of a target: two have the same one only if they differ in nothing but the
/// login, which may change.
fn folder(url: &Url, shown: &str) -> PathBuf {
    let whole = Sha256::digest(format!("{shown}?{}", url.query.as_deref().unwrap_or_default()));
    let hash: String = whole[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let host = url.host.trim_matches(['[', ']']).replace(':', "-");
    format!("{}-{host}-{hash}", url.scheme).into()
}

/// An address in its parts.
pub(super) struct Url {
    pub(super) scheme: String,
    /// A name, or an address; that of IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Name and password.
    pub(super) login: Option<(String, String)>,
    /// From the slash on, as it was given.
    pub(super) path: String,
    /// What follows the question mark, as it was given.
    pub(super) query: Option<String>,
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err("an address has no #; write %23".into());
        }
        let url: Uri = text.parse().map_err(|error| format!("no address: {error}"))?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(
                "expected mqtt://, mqtts://, http://, https:// or modbus:// and a host".into()
            );
        };
        if authority.host().is_empty() {
            return Err("a host is missing".into());
        }
        let login = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((login, _)) => {
                let (name, password) = login.split_once(':').unwrap_or((login, ""));
                Some((decoded(name)?, decoded(password)?))
            }
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: authority.host().to_owned(),
            port: authority.port_u16(),
            login,
            path: url.path().to_owned(),
            query: url.query().map(ToOwned::to_owned),
        })
    }

    /// All before the path, without the login.
    pub(super) fn base(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme, self.host)
    }
}

/// What stands for itself and for %-signs.
pub(super) fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "what the %-signs stand for is no UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (given, shown) in [
            ("mqtt://me:secret@broker/a/b", "mqtt://broker/a/b"),
            ("https://me:secret@host/hook?token=secret", "https://host/hook"),
            ("modbus://10.0.0.1:1502/3?coil=4", "modbus://10.0.0.1:1502/3"),
        ] {
            assert_eq!(given.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn folders_tell_targets_apart_and_hold_no_secret() {
        let name = |url: &str| url.parse::<Target>().unwrap().folder;
        let first = name("https://me:secret@host/hook?key=secret");
        assert!(first.to_str().unwrap().starts_with("https-host-"), "{first:?}");
        assert!(!first.to_str().unwrap().contains("secret"));
        assert_eq!(first, name("https://you@host/hook?key=secret"));
        assert_ne!(first, name("https://host/hook?key=other"));
        assert_ne!(name("mqtt://[::1]:1/a"), name("mqtt://[::1]:1/b"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (given, reason) in [
            ("broker/topic", "no address"),
            ("broker", "and a host"),
            ("ftp://host/", "expected mqtt, mqtts, http"),
            ("mqtts://host", "topic is missing: mqtts://"),
            ("mqtts://[::1]/topic", "a name or an address of IPv4"),
            ("mqtt:///topic", "no address"),
            ("mqtt://host", "topic is missing"),
            ("mqtt://host/a/+", "wildcard"),
            ("mqtt://host/a/#", "has no #"),
            ("mqtt://host/a?qos=2", "question mark"),
            ("mqtt://host/a?status=b/+", "wildcard"),
            ("modbus://host/256", "unit"),
            ("modbus://host/?coil=70000", "coil"),
            ("modbus://host/?register=65535", "register"),
            ("modbus://host/?speed=3", "speed"),
            ("modbus://me@host/", "no login"),
        ] {
            let error = given.parse::<Target>().err().unwrap_or_default();
            assert!(error.contains(reason), "{given}: {error}");
        }
    }
}
