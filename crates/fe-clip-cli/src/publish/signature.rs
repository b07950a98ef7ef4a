//! Signatures of what webhooks are sent, as Standard Webhooks 1.0.0 has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The value of `webhook-signature`: HMAC-SHA256 over id, seconds since 1970 and body.
pub(super) fn signature(key: &[u8], id: &str, seconds: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `openssl dgst -sha256 -hmac key -binary | base64`.
    #[test]
    fn signatures_are_those_of_openssl() {
        let found = signature(b"secret", "5e-7", 1_700_000_000, "{\"score\":0.5}");
        assert_eq!(found, "v1,ZYQRzST6kSZGOXi98l7myPXrru6kOvb2qZ+pHUm24RA=");
    }
}
