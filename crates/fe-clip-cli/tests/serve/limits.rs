//! Clients that send too much, too slowly or half.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{form, post, raw};
use crate::images::{Folder, pattern};
use crate::process::Server;

fn head(server: &Server, length: usize) -> String {
    format!(
        "POST /v1/detect HTTP/1.1\r\nhost: {}\r\ncontent-type: image/png\r\n\
         content-length: {length}\r\n\r\n",
        server.address
    )
}

fn still_well(server: &Server) {
    let url = format!("{}/v1/detect", server.url);
    let send = || post(&url, &[("content-type", "image/png")], &pattern(9, 40, 40));
    let mut reply = send();
    for _ in 0..30 {
        // What a slow machine had begun for others may have to be finished first.
        if reply.status != 503 {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        reply = send();
    }
    assert_eq!(reply.status, 200);
    server.settle();
}

#[test]
fn bodies_and_images_have_a_largest_size() {
    let server = Server::start(&["--max-body", "1", "--max-megapixels", "1"]);
    let url = format!("{}/v1/detect", server.url);
    let large = vec![0; (1 << 20) + 1];
    let kinds = [("content-type", "image/png")];
    assert!(post(&url, &kinds, &large).error(413).contains("above the limit of 1048576 bytes"));
    // Even who sends a lot before it listens sees why.
    let mut bytes = head(&server, 20 << 20).into_bytes();
    bytes.resize(bytes.len() + (20 << 20), 0);
    assert!(raw(&server.address, &bytes).starts_with("HTTP/1.1 413"));
    // And who does not say beforehand how much it is.
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 18, "x".repeat(1 << 18)).repeat(6) + "0\r\n\r\n";
    let chunked = head(&server, 0).replace("content-length: 0", "transfer-encoding: chunked");
    let reply = raw(&server.address, (chunked + &chunk).as_bytes());
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    // Pixels: the words of the command line, with the server's limit.
    let reply = post(&url, &kinds, &pattern(1, 1001, 1000));
    assert_eq!(reply.error(413), "image: 1001 x 1000 = 1001000 pixels, above the limit of 1000000");
    still_well(&server);
}

#[test]
fn who_finds_the_queue_full_is_sent_away_for_a_while() {
    let server = Server::start(&["--queue", "1", "--timeout", "2"]);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.write_all(head(&server, 1000).as_bytes()).unwrap();
    slow.write_all(b"half of").unwrap();
    while server.meter("fe_clip_waiting") < 1.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let url = format!("{}/v1/detect", server.url);
    let reply = post(&url, &[("content-type", "image/png")], &pattern(1, 30, 30));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(reply.error(429).contains("try again"));
    // The slow one gets its own answer.
    let mut reply = [0; 20];
    slow.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408 Request");
    still_well(&server);
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let server = Server::start(&["--timeout", "1"]);
    let url = format!("{}/v1/detect", server.url);
    let replies: Vec<_> = std::thread::scope(|scope| {
        let send = |client: u32| {
            let url = &url;
            scope.spawn(move || {
                // Sixteen normal images of one's own each: many seconds of work in all.
                let normals: Vec<_> =
                    (0..16).map(|n| pattern(100 * client + n, 300, 300)).collect();
                let mut parts: Vec<(&str, &str, &[u8])> = vec![("image", "a.png", &normals[0])];
                parts.extend(normals.iter().map(|n| ("normals", "n.png", n.as_slice())));
                let (kind, body) = form(&parts);
                post(url, &[("content-type", kind)], &body)
            })
        };
        let threads: Vec<_> = (0..24).map(send).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| [200, 503].contains(&reply.status)), "{replies:?}");
    let late: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert!(!late.is_empty());
    for reply in late {
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(reply.error(503).contains("took too long"));
    }
    // Nothing is done for those who were told so.
    still_well(&server);
}

#[test]
fn broken_and_slow_clients_do_no_harm() {
    let server = Server::start(&[]);
    let png = pattern(4, 200, 200);
    let mut open = Vec::new();
    for i in 0..300 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let request = [head(&server, png.len()).as_bytes(), &png].concat();
        // Nothing, half a head, half a body, all of it; half of them go at once.
        let part = [0, 40, request.len() - 100, request.len()][i % 4];
        stream.write_all(&request[..part]).unwrap();
        if i % 8 < 4 && open.len() < 40 {
            open.push(stream);
        }
    }
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"HELO\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let reply = raw(&server.address, garbage);
        assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    }
    let long =
        format!("GET / HTTP/1.1\r\nhost: {}\r\nx: {}\r\n\r\n", server.address, "y".repeat(100_000));
    let reply = raw(&server.address, long.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
    // A body that is cut short is nobody's image.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(head(&server, 1000).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let url = format!("{}/v1/detect", server.url);
    let reply = post(&url, &[("content-type", "image/png")], &png);
    assert_eq!(reply.status, 200);
    drop(open);
    still_well(&server);
}

/// A picture that unpacks to far more than it is: refused by its header, not by running out of
/// memory. This one keeps what it promises.
#[test]
fn a_picture_that_unpacks_to_much_is_refused_by_its_header() {
    let server = Server::start(&[]);
    let before = server.memory();
    let image = image::GrayImage::new(12_000, 12_000);
    let folder = Folder::new(&[]);
    let path = folder.path("white.png");
    image.save(&path).unwrap();
    let png = std::fs::read(&path).unwrap();
    let url = format!("{}/v1/detect", server.url);
    for _ in 0..10 {
        let reply = post(&url, &[("content-type", "image/png")], &png);
        assert!(reply.error(413).contains("12000 x 12000"));
    }
    assert!(server.memory() < before + 30.0, "{before} MiB became {} MiB", server.memory());
    still_well(&server);
}
