//! Results on a topic of an MQTT broker, version 3.1.1, acknowledged one after the other (QoS 1),
//! and beside it whether we are there.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumqttc::{
    Client, Connection, Event, LastWill, MqttOptions, Packet, QoS, RecvTimeoutError,
    TlsConfiguration, Transport,
};
use rustls::ClientConfig;

use super::message::Message;
use super::security::Security;
use super::target::{Url, decoded};
use super::{Deliver, PATIENCE, Refusal};

/// The broker hears from us so often, whether there are results or not.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What the protocol allows; the library's own limit is 10 KiB, which outlines exceed.
const LARGEST: usize = 268_435_455;
/// Requests to the library that are not yet on their way: there is never more than one.
const REQUESTS: usize = 4;
/// How long a good-bye may take.
const FAREWELL: Duration = Duration::from_secs(1);
const ONLINE: &str = "online";
const OFFLINE: &str = "offline";

/// A topic of a broker.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    port: u16,
    topic: String,
    /// Where the broker keeps whether we are there.
    status: Option<String>,
    login: Option<(String, String)>,
    tls: bool,
}

impl Address {
    pub(super) fn new(url: &Url) -> Result<Self, String> {
        let tls = url.scheme == "mqtts";
        let topic = decoded(url.path.strip_prefix('/').unwrap_or_default())?;
        if topic.is_empty() {
            return Err(format!("the topic is missing: {}://HOST/TOPIC", url.scheme));
        }
        let status = match url.query.as_deref().map(|query| query.split_once('=')) {
            None => Some(format!("{topic}/status")),
            Some(Some(("status", ""))) => None,
            Some(Some(("status", named))) => Some(decoded(named)?),
            Some(_) => {
                return Err(
                    "expected status=TOPIC after the question mark; in a topic write %3F".into()
                );
            }
        };
        if [Some(&topic), status.as_ref()]
            .into_iter()
            .flatten()
            .any(|t| t.contains(['+', '#', '\0']))
        {
            return Err("the topic has a wildcard: results go to one topic".into());
        }
        if tls && url.host.starts_with('[') {
            return Err("mqtts:// needs a name or an address of IPv4".into());
        }
        Ok(Self {
            host: url.host.clone(),
            port: url.port.unwrap_or(if tls { 8883 } else { 1883 }),
            topic,
            status,
            login: url.login.clone(),
            tls,
        })
    }
}

/// A broker, connected while all is well.
pub(super) struct Broker {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    open: Option<Open>,
}

/// A connection.
struct Open {
    client: Client,
    connection: Connection,
}

impl Broker {
    /// # Errors
    /// If a certificate or the key is of no use.
    pub(super) fn new(address: &Address, security: &Security) -> anyhow::Result<Self> {
        let tls = address.tls.then(|| security.rustls()).transpose()?;
        let login = security.login(address.login.as_ref());
        Ok(Self { address: Address { login, ..address.clone() }, tls, open: None })
    }

    /// Connects, and says that we are there.
    fn connect(&self) -> Result<Open, Refusal> {
        let Address { host, port, status, login, .. } = &self.address;
        // A broker puts out who comes second with an id; 23 characters are sure to be taken.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("fe-clip-{}-{:x}", std::process::id(), since.subsec_micros());
        let mut options = MqttOptions::new(id, host.clone(), *port);
        options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(LARGEST, LARGEST);
        if let Some((name, password)) = login {
            options.set_credentials(name, password);
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        if let Some(status) = status {
            options.set_last_will(LastWill::new(status, OFFLINE, QoS::AtLeastOnce, true));
        }
        let (client, connection) = Client::new(options, REQUESTS);
        let mut open = Open { client, connection };
        let until = Instant::now() + PATIENCE;
        open.wait(|event| matches!(event, Event::Incoming(Packet::ConnAck(_))), until)?;
        if let Some(status) = status {
            open.publish(status, true, ONLINE, until)?;
        }
        Ok(open)
    }

    /// The connection, made if there is none.
    fn connected(&mut self) -> Result<&mut Open, Refusal> {
        if self.open.is_none() {
            self.open = Some(self.connect()?);
        }
        self.open.as_mut().ok_or_else(|| Refusal::for_now("there is no connection"))
    }

    fn publish(&mut self, payload: &str) -> Result<(), Refusal> {
        let topic = self.address.topic.clone();
        self.connected()?.publish(&topic, false, payload, Instant::now() + PATIENCE)
    }
}

impl Open {
    /// Sends one message and waits until the broker has acknowledged it.
    fn publish(
        &mut self,
        topic: &str,
        retain: bool,
        payload: &str,
        until: Instant,
    ) -> Result<(), Refusal> {
        let asked = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
        asked.map_err(Refusal::for_now)?;
        self.wait(|event| matches!(event, Event::Incoming(Packet::PubAck(_))), until)
    }

    fn wait(&mut self, wanted: impl Fn(&Event) -> bool, until: Instant) -> Result<(), Refusal> {
        loop {
            match self.next(until) {
                Ok(Ok(event)) if wanted(&event) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Refusal::for_now(error)),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Refusal::for_now("the broker does not answer"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Refusal::for_now("the connection ended"));
                }
            }
        }
    }

    fn next(
        &mut self,
        until: Instant,
    ) -> Result<Result<Event, rumqttc::ConnectionError>, RecvTimeoutError> {
        self.connection.recv_timeout(until.saturating_duration_since(Instant::now()))
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
        if self.address.status.is_some() && self.open.is_none() {
            // Who listens to the status sees that we are not there; the next result tells why.
            self.open = self.connect().ok();
        }
        let Some(open) = &mut self.open else { return };
        // Long enough for the answer of a broker that is asked whether it is there.
        let until = Instant::now() + Duration::from_millis(200);
        loop {
            match open.next(until) {
                Ok(Ok(_)) => {}
                Err(RecvTimeoutError::Timeout) => return,
                // The next result connects again, and tells if that fails.
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.open = None;
    }

    /// The broker says nothing of who takes leave: we say it.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let until = Instant::now() + FAREWELL;
        if let Some(status) = &self.address.status {
            // If it does not arrive the connection is lost, and the broker says it.
            let _ = open.publish(status, true, OFFLINE, until);
        }
        if open.client.try_disconnect().is_ok() {
            while let Ok(Ok(_)) = open.next(until) {}
        }
    }
}
