//! Certificates by openssl: an authority, a server on loopback, a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn pem(of: &str) -> String {
    format!("{of}.pem")
}

/// Files in PEM.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them; none where there is no openssl.
    pub(crate) fn new(folder: &Path) -> Option<Self> {
        let made = Self { folder: folder.to_owned() };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let openssl =
            |flags: &[&str]| Command::new("openssl").args(flags).current_dir(folder).output().ok();
        let run = |flags: &[&str]| {
            let output = openssl(flags).unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&["version"])?;
        for authority in ["ca", "other"] {
            let files = ["-keyout", &format!("{authority}.key"), "-out", &pem(authority)];
            let head = ["req", "-x509", "-days", "2", "-subj", &format!("/CN={authority}")];
            run(&[&head[..], &key, &files].concat());
        }
        for (name, is_for) in [("server", "serverAuth"), ("client", "clientAuth")] {
            let asked = format!("{name}.csr");
            let files = ["-keyout", &format!("{name}.key"), "-out", &asked];
            run(&[&["req", "-subj", &format!("/CN={name}")][..], &key, &files].concat());
            let extensions =
                format!("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={is_for}\n");
            fs::write(folder.join("extensions"), extensions).unwrap();
            let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
            let files = ["-in", &asked, "-extfile", "extensions", "-out", &pem(name)];
            run(&[&["x509", "-req"][..], &signed, &files].concat());
        }
        Some(made)
    }

    pub(crate) fn certificate(&self, of: &str) -> String {
        self.folder.join(pem(of)).display().to_string()
    }

    pub(crate) fn key(&self, of: &str) -> String {
        self.folder.join(format!("{of}.key")).display().to_string()
    }
}
