//! Modbus/TCP: a controller with coils and registers.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::{detect, images, lines, said};

/// What is written, in order: unit, coil or register, address, value.
type Writes = Arc<Mutex<Vec<(u8, &'static str, u16, u16)>>>;

/// A controller that closes every connection after so many requests and answers addresses from
/// 1000 on with an exception.
fn controller(requests: usize) -> (u16, Writes) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let writes = Writes::default();
    let kept = writes.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for _ in 0..requests {
                if answer(&mut stream, &kept).is_none() {
                    break;
                }
            }
        }
    });
    (port, writes)
}

fn answer(stream: &mut TcpStream, kept: &Writes) -> Option<()> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).ok()?;
    let word = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(head[2..4], [0, 0], "protocol");
    let mut request = vec![0; usize::from(word(&head[4..6])) - 1];
    stream.read_exact(&mut request).ok()?;
    let address = word(&request[1..3]);
    let reply = match request[0] {
        _ if address >= 1000 => vec![request[0] | 0x80, 2],
        5 => {
            let value = word(&request[3..5]);
            assert!([0, 0xff00].contains(&value));
            kept.lock().unwrap().push((head[6], "coil", address, u16::from(value != 0)));
            request
        }
        16 => {
            let count = word(&request[3..5]);
            assert_eq!(usize::from(request[5]), 2 * usize::from(count));
            for (at, value) in (address..).zip(request[6..].chunks(2)) {
                kept.lock().unwrap().push((head[6], "register", at, word(value)));
            }
            request[..5].to_vec()
        }
        other => panic!("function {other}"),
    };
    let mut frame = head[..4].to_vec();
    frame.extend((reply.len() as u16 + 1).to_be_bytes());
    frame.push(head[6]);
    frame.extend(reply);
    stream.write_all(&frame).ok()
}

#[test]
fn a_controller_gets_coil_score_and_counter_though_connections_end() {
    // Three requests a connection: one ends between coil and registers.
    for requests in [100, 3] {
        let (port, writes) = controller(requests);
        let folder = images(4);
        std::fs::write(folder.path().join("damaged.png"), b"no image").unwrap();
        let target = format!("modbus://127.0.0.1:{port}/7?coil=12&register=100");
        let output = detect(folder.path(), &["--threshold", "0.5", "--publish", &target]);
        assert_eq!(output.status.code(), Some(1), "the damaged one: {}", said(&output));
        assert!(!said(&output).contains("failed\n"), "{}", said(&output));
        let writes = std::mem::take(&mut *writes.lock().unwrap());
        let mut state: HashMap<(&str, u16), u16> = HashMap::new();
        let mut seen = Vec::new();
        for (unit, kind, address, value) in writes {
            assert_eq!(unit, 7);
            let before = state.insert((kind, address), value);
            if (kind, address) == ("register", 101) && before != Some(value) {
                seen.push([state[&("coil", 12)], state[&("register", 100)], value]);
            }
        }
        let expected = |(at, line): (usize, &Value)| {
            let score = line["score"].as_f64();
            let reject = line["label"] != "normal";
            let score = score.map_or(65535, |score| (score * 1000.0).round() as u16);
            [u16::from(reject), score, at as u16 + 1]
        };
        let printed = lines(&output.stdout);
        let expected: Vec<[u16; 3]> = printed.iter().enumerate().map(expected).collect();
        assert_eq!(seen, expected);
        assert!(expected.iter().any(|one| one[0] == 1) && expected.iter().any(|one| one[0] == 0));
    }
}

#[test]
fn an_address_that_a_controller_has_not_is_told_and_not_tried_again() {
    let (port, writes) = controller(100);
    let folder = images(2);
    let target = format!("modbus://127.0.0.1:{port}/?coil=2000");
    let output = detect(folder.path(), &["--publish", &target]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("illegal data address").count(), 1, "{said}");
    assert!(said.contains("0 results delivered, 0 dropped, 2 failed"), "{said}");
    assert!(writes.lock().unwrap().is_empty());
}
