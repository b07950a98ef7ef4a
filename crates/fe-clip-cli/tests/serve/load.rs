//! Many clients at once. In short with the other tests; in full:
//!
//! ```text
//! FE_CLIP_LOAD_SECONDS=60 cargo test --release --workspace --test serve load -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{agent, form, try_post};
use crate::images::{Folder, assert_same, pattern};
use crate::process::Server;

const CLIENTS: usize = 200;
const IMAGES: u32 = 12;
/// Most requests of a client, however long the run.
const MOST: usize = 2000;

#[test]
fn load() {
    let seconds = std::env::var("FE_CLIP_LOAD_SECONDS").map_or(4, |text| text.parse().unwrap());
    let files: Vec<(String, Vec<u8>)> = (0..IMAGES)
        .map(|n| (format!("{n:02}.png"), pattern(n, 100 + 20 * n, 90 + 7 * n)))
        .chain([("no-image.png".to_owned(), b"no image at all".to_vec())])
        .collect();
    let named: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let expected = Folder::new(&named).detect(&["."]);
    assert_eq!(expected.len(), files.len());
    let server = Server::start(&[]);
    let counts = Mutex::new(BTreeMap::<u16, usize>::new());
    let start = Instant::now();
    let (memory, peak) = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, files, expected, counts) = (&server, &files, &expected, &counts);
            let deadline = start + Duration::from_secs(seconds);
            scope.spawn(move || {
                let agent = agent();
                for turn in (0..MOST).take_while(|_| Instant::now() < deadline) {
                    let i = (client * 7 + turn) % files.len();
                    let status = ask(&agent, server, &files[i], &expected[i], turn % 4 == 3);
                    *counts.lock().unwrap().entry(status).or_default() += 1;
                    if status == 429 {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    if (client + turn).is_multiple_of(29) {
                        go_away_half_way(server);
                    }
                }
            });
        }
        // Memory once all is warm, and at its highest after that.
        std::thread::sleep(Duration::from_millis(seconds * 250));
        let memory = server.memory();
        let mut peak = memory;
        while start.elapsed() < Duration::from_secs(seconds) {
            peak = f64::max(peak, server.memory());
            std::thread::sleep(Duration::from_millis(100));
        }
        (memory, peak)
    });
    server.settle();
    let (counts, end) = (counts.into_inner().unwrap(), server.memory());
    let batches = server.meter("fe_clip_batch_images_count");
    let images = server.meter("fe_clip_batch_images_sum");
    eprintln!(
        "{CLIENTS} clients, {:.1} s: answers by status {counts:?}; {:.2} images a batch; memory \
         {memory:.0} MiB after a quarter, at most {peak:.0} MiB after that, {end:.0} MiB at the end",
        start.elapsed().as_secs_f64(),
        images / batches,
    );
    assert!(counts.keys().all(|status| [200, 415, 429].contains(status)), "{counts:?}");
    assert!(counts.get(&200).is_some_and(|n| *n > 20), "{counts:?}");
    assert!(images / batches > 1.5, "requests that wait together are not run together");
    assert!(peak < memory + 64.0, "memory grows from {memory} to {peak} MiB");
}

/// Asks about a file; a wrong answer is a panic.
fn ask(
    agent: &ureq::Agent,
    server: &Server,
    (name, bytes): &(String, Vec<u8>),
    expected: &Value,
    as_form: bool,
) -> u16 {
    let url = format!("{}/v1/detect?name={name}", server.url);
    let reply = if as_form {
        let (kind, body) = form(&[("image", name, bytes)]);
        try_post(agent, &url, &[("content-type", kind)], &body)
    } else {
        try_post(agent, &url, &[("content-type", "image/png")], bytes)
    };
    let reply = reply.unwrap();
    let answer = reply.json();
    match reply.status {
        200 => {
            for field in ["score", "map_max", "width", "height"] {
                assert_same(&answer, expected, field);
            }
        }
        429 => assert_eq!(reply.header("retry-after"), Some("1")),
        // The command line names the file with its folder.
        415 => assert!(
            expected["error"].as_str().unwrap().ends_with(answer["error"].as_str().unwrap())
        ),
        other => panic!("{name}: {other}, {answer}"),
    }
    reply.status
}

/// A client that breaks off in the middle of its body.
fn go_away_half_way(server: &Server) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /v1/detect HTTP/1.1\r\nhost: {}\r\ncontent-type: image/png\r\ncontent-length: \
         100000\r\n\r\nonly this",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
}
