//! Results as the body of a POST.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::Agent;
use ureq::http::StatusCode;

use super::message::Message;
use super::security::Security;
use super::signature::signature;
use super::target::Url;
use super::{Deliver, PATIENCE, Refusal};

/// What is read of an answer, so that its connection can be used again.
const ANSWER: u64 = 64 * 1024;

/// Where to post.
#[derive(Clone)]
pub(super) struct Address {
    url: String,
    login: Option<(String, String)>,
}

impl Address {
    pub(super) fn new(url: &Url) -> Self {
        let query = url.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        Self { url: format!("{}{}{query}", url.base(), url.path), login: url.login.clone() }
    }
}

/// A server that is posted to.
pub(super) struct Server {
    url: String,
    /// The value of `Authorization`.
    login: Option<String>,
    /// What requests are signed with.
    secret: Option<Vec<u8>>,
    agent: Agent,
}

impl Server {
    /// # Errors
    /// If the key is of no use.
    pub(super) fn new(address: &Address, security: &Security) -> anyhow::Result<Self> {
        // A redirected POST may become a GET: whoever moved says so in the address.
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(security.ureq()?)
            .user_agent(concat!("fe-clip/", env!("CARGO_PKG_VERSION")));
        let login = security.login(address.login.as_ref()).map(|(name, password)| {
            format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
        });
        let (url, secret) = (address.url.clone(), security.secret.clone());
        Ok(Self { url, login, secret, agent: config.build().new_agent() })
    }
}

impl Deliver for Server {
    fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
        let Message { id, json, .. } = message;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string());
        if let Some(secret) = &self.secret {
            request = request.header("webhook-signature", signature(secret, id, seconds, json));
        }
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        let mut answer = request.send(json).map_err(Refusal::for_now)?;
        let status = answer.status();
        // The status says it all.
        let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
        if status.is_success() {
            return Ok(());
        }
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        let said = format!("the server answers {status}");
        Err(match status.is_server_error() || later.contains(&status) {
            true => Refusal::for_now(said),
            false => Refusal::for_good(said),
        })
    }
}
