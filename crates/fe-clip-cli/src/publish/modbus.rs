//! Results in a coil and two holding registers of a controller, by Modbus/TCP.
//!
//! Two requests of a fixed form are all that it takes. Source: MODBUS Application Protocol
//! Specification V1.1b3, 6.5 and 6.12; MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use super::message::Message;
use super::target::Url;
use super::{Deliver, PATIENCE, Refusal};

const WRITE_SINGLE_COIL: u8 = 5;
const WRITE_MULTIPLE_REGISTERS: u8 = 16;
/// Set in the function code of an answer that refuses.
const REFUSED: u8 = 0x80;
/// The unit of a controller that is none behind a gateway.
const NO_UNIT: u8 = 255;
/// The score of an image that has none.
const NO_SCORE: u16 = u16::MAX;

/// Places in a controller.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    port: u16,
    unit: u8,
    coil: u16,
    /// Of the score; the next one is the counter.
    register: u16,
}

impl Address {
    pub(super) fn new(url: &Url) -> Result<Self, String> {
        if url.login.is_some() {
            return Err("Modbus has no login".into());
        }
        let unit = match url.path.trim_start_matches('/') {
            "" => NO_UNIT,
            unit => {
                unit.parse().map_err(|_| format!("expected a unit from 0 to 255, got {unit}"))?
            }
        };
        let host = url.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut address = Self { host, port: url.port.unwrap_or(502), unit, coil: 0, register: 0 };
        for pair in url.query.iter().flat_map(|query| query.split('&')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (place, last) = match key {
                "coil" => (&mut address.coil, u16::MAX),
                "register" => (&mut address.register, u16::MAX - 1),
                _ => return Err(format!("expected coil or register, got {key}")),
            };
            *place =
                value.parse().ok().filter(|number| *number <= last).ok_or_else(|| {
                    format!("{key}: expected a number from 0 to {last}, got {value}")
                })?;
        }
        Ok(address)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut refused = io::Error::other("the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE / 2) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE / 2))?;
                    stream.set_write_timeout(Some(PATIENCE / 2))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// A controller, connected while all is well.
pub(super) struct Controller {
    address: Address,
    open: Option<TcpStream>,
    /// Number of the last request, by which its answer is known.
    transaction: u16,
}

impl Controller {
    pub(super) fn new(address: Address) -> Self {
        Self { address, open: None, transaction: 0 }
    }

    /// The counter comes last, with the score: who sees it change finds the coil written.
    fn write(&mut self, message: &Message) -> Result<(), Refusal> {
        let stream = match &mut self.open {
            Some(stream) => stream,
            None => self.open.insert(self.address.connect().map_err(Refusal::for_now)?),
        };
        let Address { unit, coil, register, .. } = self.address;
        let on: u16 = if message.reject { 0xff00 } else { 0 };
        let written = [thousandths(message.score), message.count as u16];
        let coil = words(&[coil, on]);
        let mut registers = words(&[register, written.len() as u16]);
        registers.push(2 * written.len() as u8);
        registers.extend(words(&written));
        for (function, data) in [(WRITE_SINGLE_COIL, coil), (WRITE_MULTIPLE_REGISTERS, registers)] {
            self.transaction = self.transaction.wrapping_add(1);
            ask(stream, self.transaction, unit, function, &data)?;
        }
        Ok(())
    }
}

impl Deliver for Controller {
    fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
        let done = self.write(message);
        if done.is_err() {
            self.open = None;
        }
        done
    }
}

/// Sends a request and reads its answer, which repeats address and value, or address and number.
fn ask(
    stream: &mut (impl Read + Write),
    transaction: u16,
    unit: u8,
    function: u8,
    data: &[u8],
) -> Result<(), Refusal> {
    // Transaction, protocol 0, and how many bytes follow.
    let mut frame = words(&[transaction, 0, data.len() as u16 + 2]);
    frame.extend([unit, function]);
    frame.extend(data);
    stream.write_all(&frame).map_err(Refusal::for_now)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).map_err(Refusal::for_now)?;
    let strange = || Refusal::for_now("the answer is not one of Modbus/TCP to what was asked");
    let refused = head[7] == function | REFUSED;
    let rest: u16 = if refused { 3 } else { 6 };
    if head[..6] != words(&[transaction, 0, rest]) || (!refused && head[7] != function) {
        return Err(strange());
    }
    if refused {
        return Err(exception(head[8]));
    }
    let mut tail = [0; 3];
    stream.read_exact(&mut tail).map_err(Refusal::for_now)?;
    match head[8] == data[0] && tail == data[1..4] {
        true => Ok(()),
        false => Err(strange()),
    }
}

/// Why a controller refuses.
fn exception(code: u8) -> Refusal {
    let (reason, for_good) = match code {
        1 => ("illegal function", true),
        2 => ("illegal data address", true),
        3 => ("illegal data value", true),
        4 => ("server device failure", false),
        6 => ("server device busy", false),
        10 => ("gateway path unavailable", false),
        11 => ("gateway target device failed to respond", false),
        _ => ("an exception", false),
    };
    let said = format!("the controller answers {reason} (code {code})");
    if for_good { Refusal::for_good(said) } else { Refusal::for_now(said) }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn thousandths(score: Option<f64>) -> u16 {
    score.map_or(NO_SCORE, |score| (score * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that answers what it was told, and keeps what it was sent.
    struct Peer {
        answer: io::Cursor<Vec<u8>>,
        sent: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.answer.read(bytes)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.sent.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_are_those_of_the_specification() {
        // The example of 6.5: coil 173, address 0xac, on; the answer is an echo.
        let echo = vec![0, 1, 0, 0, 0, 6, 255, 5, 0, 0xac, 0xff, 0];
        let mut peer = Peer { answer: io::Cursor::new(echo.clone()), sent: Vec::new() };
        assert!(ask(&mut peer, 1, 255, WRITE_SINGLE_COIL, &[0, 0xac, 0xff, 0]).is_ok());
        assert_eq!(peer.sent, echo);
    }

    #[test]
    fn refusals_and_strange_answers_are_told_apart() {
        for (answer, said, again) in [
            (vec![0, 1, 0, 0, 0, 3, 255, 0x85, 2], "illegal data address", false),
            (vec![0, 1, 0, 0, 0, 3, 255, 0x85, 6], "busy", true),
            (vec![0, 2, 0, 0, 0, 6, 255, 5, 0, 0xac, 0xff, 0], "not one of Modbus/TCP", true),
            (vec![0, 1, 0, 0, 0, 6, 255, 5, 0, 0xad, 0xff, 0], "not one of Modbus/TCP", true),
            (b"HTTP/1.1 400 Bad Request".to_vec(), "not one of Modbus/TCP", true),
            (vec![0, 1, 0], "failed to fill", true),
        ] {
            let mut peer = Peer { answer: io::Cursor::new(answer), sent: Vec::new() };
            let refusal = ask(&mut peer, 1, 255, WRITE_SINGLE_COIL, &[0, 0xac, 0xff, 0]);
            let Refusal { reason, again: found } = refusal.unwrap_err();
            assert!(reason.contains(said) && found == again, "{reason}");
        }
    }

    #[test]
    fn scores_are_thousandths() {
        let found = [Some(0.0), Some(0.73451), Some(1.0), None].map(thousandths);
        assert_eq!(found, [0, 735, 1000, 65535]);
    }
}
