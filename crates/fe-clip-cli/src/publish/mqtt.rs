//! Results on a topic of an MQTT broker, version 3.1.1, acknowledged one after the other (QoS 1).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS, RecvTimeoutError};

use super::target::{Url, decoded};
use super::{Deliver, Message, PATIENCE, Refusal};

/// The broker hears from us so often, whether there are results or not.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What the protocol allows; the library's own limit is 10 KiB, which outlines exceed.
const LARGEST: usize = 268_435_455;
/// Requests to the library that are not yet on their way: there is never more than one.
const REQUESTS: usize = 4;

/// A topic of a broker.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    port: u16,
    topic: String,
    login: Option<(String, String)>,
}

impl Address {
    pub(super) fn new(url: &Url) -> Result<Self, String> {
        let topic = decoded(url.path.strip_prefix('/').unwrap_or_default())?;
        if url.query.is_some() {
            return Err("a topic has no question mark; write %3F".into());
        }
        if topic.is_empty() {
            return Err("the topic is missing: mqtt://HOST/TOPIC".into());
        }
        if topic.contains(['+', '#', '\0']) {
            return Err("the topic has a wildcard: results go to one topic".into());
        }
        Ok(Self {
            host: url.host.clone(),
            port: url.port.unwrap_or(1883),
            topic,
            login: url.login.clone(),
        })
    }
}

/// A broker, connected while all is well.
pub(super) struct Broker {
    address: Address,
    open: Option<(Client, Connection)>,
}

impl Broker {
    pub(super) fn new(address: Address) -> Self {
        Self { address, open: None }
    }

    fn connect(address: &Address) -> (Client, Connection) {
        // A broker puts out who comes second with an id; 23 characters are sure to be taken.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("fe-clip-{}-{:x}", std::process::id(), since.subsec_micros());
        let mut options = MqttOptions::new(id, address.host.clone(), address.port);
        options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(LARGEST, LARGEST);
        if let Some((name, password)) = &address.login {
            options.set_credentials(name, password);
        }
        Client::new(options, REQUESTS)
    }

    fn publish(&mut self, payload: &str) -> Result<(), Refusal> {
        let until = Instant::now() + PATIENCE;
        let open = self.open.get_or_insert_with(|| Self::connect(&self.address));
        let (client, connection) = open;
        let asked = client.try_publish(&self.address.topic, QoS::AtLeastOnce, false, payload);
        asked.map_err(Refusal::for_now)?;
        loop {
            match connection.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(Event::Incoming(Packet::PubAck(_)))) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Refusal::for_now(error)),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Refusal::for_now("the broker does not acknowledge results"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Refusal::for_now("the connection ended"));
                }
            }
        }
    }
}

impl Deliver for Broker {
    /// Each attempt after a failed one has a connection of its own: the library would send again
    /// what was given up.
    fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
        let done = self.publish(&message.json);
        if done.is_err() {
            self.open = None;
        }
        done
    }

    fn idle(&mut self) {
        let Some((_, connection)) = &mut self.open else { return };
        // Long enough for the answer of a broker that is asked whether it is there.
        let until = Instant::now() + Duration::from_millis(200);
        loop {
            match connection.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(_)) => {}
                Err(RecvTimeoutError::Timeout) => return,
                // The next result connects again, and tells if that fails.
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.open = None;
    }
}
