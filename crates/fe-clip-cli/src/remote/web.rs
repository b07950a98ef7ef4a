//! Files on web servers.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context;
use ureq::Agent;

/// Until a connection stands and the answer begins, and in all.
const ANSWER: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(300);
/// Attempts, and the first pause between them, which doubles.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    let config = Agent::config_builder()
        .timeout_connect(Some(ANSWER))
        .timeout_recv_response(Some(ANSWER))
        .timeout_global(Some(WHOLE))
        .user_agent(concat!("fe-clip/", env!("CARGO_PKG_VERSION")));
    config.build().new_agent()
});

/// The file at an address, of at most `most` bytes.
///
/// # Errors
/// If the server does not answer or refuses, also when asked again where that may help, or the
/// file is larger.
pub(super) fn get(address: &str, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut attempt = 1;
    loop {
        let found = AGENT
            .get(address)
            .call()
            .and_then(|mut answer| answer.body_mut().with_config().limit(most).read_to_vec());
        match found {
            Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                std::thread::sleep(PAUSE * 2u32.pow(attempt - 1));
                attempt += 1;
            }
            found => return found.context("cannot be fetched"),
        }
    }
}

fn may_pass(error: &ureq::Error) -> bool {
    use ureq::Error::{ConnectionFailed, Io, StatusCode, Timeout};
    match error {
        StatusCode(status) => [408, 429, 500, 502, 503, 504].contains(status),
        Io(_) | ConnectionFailed | Timeout(_) => true,
        _ => false,
    }
}
