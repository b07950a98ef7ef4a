//! `--health-check`: is the server on this machine ready?

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::talk;

/// For each step of the exchange.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a server at one of the addresses answers `/readyz` with 200; if none does, why is said.
pub(super) fn is_ready(addresses: &[SocketAddr]) -> bool {
    for address in addresses {
        match status(reachable(*address)) {
            Ok(200) => return true,
            Ok(503) => talk::error(format_args!("{address}: not ready yet")),
            Ok(status) => talk::error(format_args!("{address}: answers with status {status}")),
            Err(error) => talk::error(format_args!("{address}: {error}")),
        }
    }
    false
}

/// A server on all addresses of the machine is asked over the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn status(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut head)?;
    let text = std::str::from_utf8(&head).ok().and_then(|head| head.strip_prefix("HTTP/1.1 "));
    text.and_then(|code| code.parse().ok()).ok_or_else(|| std::io::Error::other("no HTTP server"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is said of a server that answers each of two requests so.
    fn of(answer: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let mut client = listener.accept().unwrap().0;
                _ = client.read(&mut [0; 1024]).unwrap();
                client.write_all(answer.as_bytes()).unwrap();
            }
        });
        let here = is_ready(&[address]);
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        assert_eq!(is_ready(&[address]), here);
        server.join().unwrap();
        here
    }

    #[test]
    fn only_200_is_ready() {
        assert!(of("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!of("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        assert!(!of("SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(!of(""));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!is_ready(&[free]));
    }
}
