//! Who may ask: tokens, and the defence of a server on loopback against other sites' pages.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::bail;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::state::Server;

/// What a request has to show.
pub(super) enum Door {
    /// Nothing, but it must come from this machine and no other site's page.
    Loopback,
    /// The token with this hash.
    Token([u8; 32]),
}

impl Door {
    /// The door of a server at these addresses.
    pub(super) fn new(addresses: &[SocketAddr], token: Option<&str>) -> anyhow::Result<Self> {
        match token {
            Some(token) if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) => {
                bail!("--token: expected printable ASCII without spaces")
            }
            Some(token) => Ok(Self::Token(Sha256::digest(token).into())),
            None => match addresses.iter().find(|a| !a.ip().to_canonical().is_loopback()) {
                Some(public) => bail!(
                    "--addr {public} can be reached from other machines: set a --token that \
                     they must know, or listen on 127.0.0.1"
                ),
                None => Ok(Self::Loopback),
            },
        }
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Self::Loopback => {
                // A name that an attacker points to 127.0.0.1 (DNS rebinding) is still not ours.
                let host = one(headers, &header::HOST)?;
                for name in host.into_iter().chain(uri.authority().map(|a| a.as_str())) {
                    if !is_loopback(name) {
                        return Err(forbidden(&format!(
                            "this server answers to localhost only, not to {name:?}; start it \
                             with --token to give it another name"
                        )));
                    }
                }
                // Forms and scripts of other sites are told apart by what browsers add.
                match one(headers, &header::ORIGIN)? {
                    Some(origin) if origin.split_once("://").map(|(_, at)| at) != host => {
                        Err(forbidden(&format!("requests of {origin:?} are not answered")))
                    }
                    _ => Ok(()),
                }
            }
            Self::Token(hash) => {
                if matches!(uri.path(), "/" | "/healthz" | "/readyz" | "/openapi.json") {
                    return Ok(());
                }
                let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
                let given = given.and_then(|v| v.split_once(' ')).and_then(|(scheme, token)| {
                    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
                });
                let unauthorized = |words: &str| Problem::new(StatusCode::UNAUTHORIZED, words);
                let given = given.ok_or_else(|| {
                    unauthorized("expected the header Authorization: Bearer with the token")
                })?;
                if Sha256::digest(given).ct_eq(hash.as_slice()).into() {
                    Ok(())
                } else {
                    Err(unauthorized("wrong token"))
                }
            }
        }
    }
}

/// A header that may come once at most.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.to_str().is_ok() => Ok(value.to_str().ok()),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, format!("broken header {name}"))),
    }
}

/// Whether `host[:port]` names this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn forbidden(words: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, words)
}

/// Lets a request through or refuses it.
pub(super) async fn guard(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    match server.door.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What every answer tells a browser: guess no types, keep nothing, show it in no other page.
pub(super) fn harden(server: &Server, response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, server.page.policy.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(address: &str, token: Option<&str>) -> anyhow::Result<Door> {
        Door::new(&[address.parse().unwrap()], token)
    }

    #[test]
    fn public_addresses_need_a_token() {
        for public in ["0.0.0.0:80", "[::]:80", "192.168.0.4:80", "[::ffff:10.0.0.1]:80"] {
            assert!(door(public, None).is_err(), "{public}");
            assert!(door(public, Some("secret")).is_ok());
            assert!(door(public, Some("")).is_err());
        }
        for own in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(door(own, None).is_ok(), "{own}");
        }
    }

    #[test]
    fn loopback_answers_to_its_own_names_and_pages() {
        let allowed = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            Door::Loopback.check(&Uri::from_static("/v1/detect"), &headers).is_ok()
        };
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:80", "a.localhost:1"] {
            assert!(allowed(host, None), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
            assert!(!allowed(host, None), "{host}");
        }
        assert!(allowed("127.0.0.1:80", Some("http://127.0.0.1:80")));
        for origin in ["http://127.0.0.1:81", "https://evil.example", "null"] {
            assert!(!allowed("127.0.0.1:80", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn tokens_are_asked_for_everywhere_but_at_the_page_and_its_health() {
        let door = door("0.0.0.0:80", Some("secret")).unwrap();
        let allowed = |path: &'static str, value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            door.check(&Uri::from_static(path), &headers).is_ok()
        };
        for path in ["/", "/healthz", "/readyz", "/openapi.json"] {
            assert!(allowed(path, None), "{path}");
        }
        for path in ["/v1/detect", "/v1/models", "/metrics", "/other", "//", "/healthz/"] {
            assert!(!allowed(path, None), "{path}");
            assert!(!allowed(path, Some("Bearer other")), "{path}");
            assert!(!allowed(path, Some("Basic secret")), "{path}");
            assert!(allowed(path, Some("bearer secret")), "{path}");
        }
    }
}
