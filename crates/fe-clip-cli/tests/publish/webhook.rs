//! Webhooks: a server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{detect, images, lines, said, without_id};

/// A request: its first line, its header, its body.
struct Request {
    line: String,
    header: String,
    body: String,
}

/// Answers the first requests with these statuses and further ones with the last; returns its
/// port and what it is sent.
fn server(answers: &'static [&'static str]) -> (u16, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut at = 0;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = read(&mut stream) {
                let status = answers[at.min(answers.len() - 1)];
                at += 1;
                let more = if status.starts_with("302") { "Location: /other\r\n" } else { "" };
                let answer = format!("HTTP/1.1 {status}\r\n{more}Content-Length: 2\r\n\r\nok");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                if sender.send(request).is_err() {
                    return;
                }
            }
        }
    });
    (port, requests)
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let (mut header, mut length) = (String::new(), 0);
    while !header.ends_with("\r\n\r\n") {
        let mut one = String::new();
        stream.read_line(&mut one).unwrap();
        if let Some(value) = one.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if one == "\r\n" {
            header += "\r\n";
            break;
        }
        header += &one;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Request { line: line.trim().into(), header, body: String::from_utf8(body).unwrap() })
}

#[test]
fn a_webhook_gets_every_result_and_is_asked_again_where_that_may_help() {
    let (port, requests) = server(&["503 Service Unavailable", "429 Too Many", "200 OK"]);
    let folder = images(3);
    let target = format!("http://me:a%40b@127.0.0.1:{port}/hook?key=secret");
    let output = detect(folder.path(), &["--publish", &target]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let requests: Vec<Request> = requests.try_iter().collect();
    let printed = lines(&output.stdout);
    let bodies: Vec<Value> =
        requests.iter().map(|r| serde_json::from_str(&r.body).unwrap()).collect();
    // The first came three times.
    assert_eq!([&bodies[0], &bodies[1]], [&bodies[2], &bodies[2]]);
    assert_eq!(bodies[2..].iter().cloned().map(without_id).collect::<Vec<_>>(), printed);
    for (Request { line, header, .. }, body) in requests.iter().zip(&bodies) {
        let header = header.to_lowercase();
        let id = format!("webhook-id: {}\r\n", body["id"].as_str().unwrap());
        assert!(header.contains(&id) && !header.contains("signature"), "{header}");
        assert_eq!(line, "POST /hook?key=secret HTTP/1.1");
        assert!(header.contains("content-type: application/json"), "{header}");
        // me:a@b
        assert!(header.contains("authorization: basic bwu6yubi"), "{header}");
    }
    assert!(said.contains("/hook: the server answers 503"), "{said}");
    assert!(said.contains("taken again") && !said.contains("secret"), "{said}");
}

#[test]
fn what_a_webhook_refuses_for_good_is_not_sent_again() {
    for answers in [&["404 Not Found"][..], &["302 Found"]] {
        let (port, requests) = server(answers);
        let folder = images(2);
        let output =
            detect(folder.path(), &["--publish", &format!("http://127.0.0.1:{port}/hook")]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(requests.try_iter().count(), 2);
        assert_eq!(said.matches("the server answers").count(), 1, "{said}");
        assert!(said.contains("0 results delivered, 0 dropped, 2 failed"), "{said}");
    }
}

/// More results than wait for a target, and one that takes connections and never answers.
#[test]
fn a_server_that_never_answers_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = images(1);
    let path = folder.path().join("0.png").display().to_string();
    // Missing images are results that take no time.
    let list = "missing.png\n".repeat(299) + &path;
    let run = |flags: &[&str]| {
        let started = Instant::now();
        let output = assert_cmd::Command::cargo_bin("fe-clip")
            .unwrap()
            .args(["detect", "-", "--format", "jsonl"])
            .args(flags)
            .write_stdin(list.clone())
            .output()
            .unwrap();
        (output, started.elapsed())
    };
    let (output, took) = run(&["--publish", &format!("http://127.0.0.1:{port}/hook")]);
    assert_eq!((output.status.code(), lines(&output.stdout).len()), (Some(1), 300));
    let said = said(&output);
    let counts = said.lines().last().unwrap();
    assert!(counts.contains("0 results delivered") && !counts.contains(" 0 dropped"), "{said}");
    // Beside what is waited for in the end, it takes as long as without, on a shared machine; who
    // waited for every result would wait ten seconds for each.
    let (_, alone) = run(&[]);
    let most = alone * 3 + Duration::from_secs(20);
    assert!(took < most, "{took:?}, without {alone:?}");
}
