//! Results as the body of a POST.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::Agent;
use ureq::http::StatusCode;

use super::target::Url;
use super::{Deliver, Message, PATIENCE, Refusal};

/// What is read of an answer, so that its connection can be used again.
const ANSWER: u64 = 64 * 1024;

/// Where to post.
#[derive(Clone)]
pub(super) struct Address {
    url: String,
    /// The value of `Authorization`.
    login: Option<String>,
}

impl Address {
    pub(super) fn new(url: &Url) -> Self {
        let encoded =
            |(name, password): &(String, String)| STANDARD.encode(format!("{name}:{password}"));
        let query = url.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        Self {
            url: format!("{}{}{query}", url.base(), url.path),
            login: url.login.as_ref().map(|login| format!("Basic {}", encoded(login))),
        }
    }
}

/// A server that is posted to.
pub(super) struct Server {
    address: Address,
    agent: Agent,
}

impl Server {
    pub(super) fn new(address: Address) -> Self {
        // A redirected POST may become a GET: whoever moved says so in the address.
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("fe-clip/", env!("CARGO_PKG_VERSION")));
        Self { address, agent: config.build().new_agent() }
    }
}

impl Deliver for Server {
    fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
        let mut request =
            self.agent.post(&self.address.url).header("Content-Type", "application/json");
        if let Some(login) = &self.address.login {
            request = request.header("Authorization", login);
        }
        let mut answer = request.send(&message.json).map_err(Refusal::for_now)?;
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
