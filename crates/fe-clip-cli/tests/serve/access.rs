//! Who is let in, and how the server comes and goes.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{get, post, raw};
use crate::images::pattern;
use crate::process::{Server, refused};

#[test]
fn a_public_address_needs_a_token() {
    for public in ["0.0.0.0:0", "[::]:0"] {
        let (code, words) = refused(&["--addr", public]);
        assert_eq!(code, Some(2));
        assert!(words.contains("--token"), "{words}");
    }
    let (code, words) = refused(&["--addr", "0.0.0.0:0", "--token", ""]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--token"), "{words}");
}

#[test]
fn what_cannot_be_served_is_an_error_with_exit_code_2() {
    let server = Server::start(&[]);
    let (code, words) = refused(&["--addr", &server.address]);
    assert_eq!(code, Some(2));
    assert!(words.contains(&server.address) && words.contains("in use"), "{words}");
    let (code, words) = refused(&["--adapters", "nowhere.safetensors"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("nowhere.safetensors"), "{words}");
    let (code, words) = refused(&["--threshold", "2"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--threshold"), "{words}");
    let (code, words) = refused(&["--addr", "nonsense"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--addr nonsense"), "{words}");
}

#[test]
fn a_shell_asks_for_the_health_of_a_server() {
    let mut server = Server::start(&["--token", "secret"]);
    let address = server.address.clone();
    let ask = || refused(&["--health-check", "--addr", &address]);
    assert_eq!(ask(), (Some(0), String::new()));
    server.signal("TERM");
    server.wait();
    let (code, words) = ask();
    assert_eq!(code, Some(1));
    assert!(words.contains(&address) && words.contains("refused"), "{words}");
}

#[test]
fn a_token_is_asked_for() {
    let server = Server::start(&["--token", "open sesame".replace(' ', "-").as_str()]);
    let at = |path: &str| format!("{}{path}", server.url);
    for open in ["/", "/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(get(&at(open), &[]).status, 200, "{open}");
    }
    let png = pattern(1, 30, 30);
    for value in [None, Some("Bearer open"), Some("Bearer open-sesame-"), Some("Basic open-sesame")]
    {
        let mut headers = vec![("content-type", "image/png")];
        headers.extend(value.map(|value| ("authorization", value)));
        for reply in [
            post(&at("/v1/detect"), &headers, &png),
            get(&at("/v1/models"), &headers),
            get(&at("/metrics"), &headers),
        ] {
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            assert!(reply.error(401).contains("token"));
        }
    }
    let headers = [("content-type", "image/png"), ("authorization", "Bearer open-sesame")];
    assert_eq!(post(&at("/v1/detect"), &headers, &png).status, 200);
    assert_eq!(get(&at("/metrics"), &headers).status, 200);
}

#[test]
fn other_sites_pages_are_kept_out() {
    let server = Server::start(&[]);
    let ask = |headers: &str| {
        raw(
            &server.address,
            format!("GET / HTTP/1.1\r\nconnection: close\r\n{headers}\r\n").as_bytes(),
        )
    };
    let (address, port) = (&server.address, server.address.rsplit_once(':').unwrap().1);
    for good in [
        format!("host: {address}\r\n"),
        format!("host: localhost:{port}\r\n"),
        format!("host: {address}\r\norigin: http://{address}\r\n"),
    ] {
        assert!(ask(&good).starts_with("HTTP/1.1 200"), "{good}");
    }
    for bad in [
        format!("host: rebound.example:{port}\r\n"),
        format!("host: {address}\r\norigin: https://evil.example\r\n"),
        format!("host: {address}\r\norigin: null\r\n"),
        format!("host: {address}\r\norigin: http://localhost:{port}\r\n"),
    ] {
        assert!(ask(&bad).starts_with("HTTP/1.1 403"), "{bad}");
    }
    let two = ask(&format!("host: {address}\r\nhost: rebound.example\r\n"));
    assert!(two.starts_with("HTTP/1.1 400"), "{two}");
}

#[test]
fn it_finishes_what_is_in_flight_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let url = format!("{}/v1/detect", server.url);
        let statuses = std::thread::scope(|scope| {
            let send = |number| {
                let url = &url;
                scope.spawn(move || {
                    let png = pattern(number, 600, 600);
                    post(url, &[("content-type", "image/png")], &png).status
                })
            };
            let threads: Vec<_> = (0..12).map(send).collect();
            let start = Instant::now();
            while server.meter("fe_clip_waiting") < 12.0 {
                if threads.iter().any(|thread| thread.is_finished()) {
                    break; // a fast machine
                }
                assert!(start.elapsed() < Duration::from_secs(20));
            }
            server.signal(signal);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(statuses, [200; 12]);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn while_the_model_is_loaded_requests_are_put_off() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("run.toml");
    // Nobody writes to the pipe yet, so that reading the settings takes as long as we like.
    assert!(Command::new("mkfifo").arg(&settings).status().unwrap().success());
    let (server, said) = Server::start_loading(&["--config", settings.to_str().unwrap()]);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/").status, 200);
    assert!(server.get("/readyz").error(503).contains("being loaded"));
    assert!(server.get("/v1/models").error(503).contains("being loaded"));
    let png = pattern(1, 30, 30);
    let post =
        || post(&format!("{}/v1/detect", server.url), &[("content-type", "image/png")], &png);
    let reply = post();
    assert!(reply.header("retry-after").is_some());
    assert!(reply.error(503).contains("being loaded"));
    assert_eq!(server.meter("fe_clip_ready"), 0.0);
    std::fs::write(&settings, "[model]\nmethod = \"clip\"\n").unwrap();
    assert_eq!(said.recv_timeout(Duration::from_secs(60)).unwrap(), "ready");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(post().status, 200);
}

/// Behind a proxy that serves it as https://host/inspect/, addresses from the root lead elsewhere.
#[test]
fn the_page_asks_below_its_own_address() {
    let server = Server::start(&[]);
    let page = server.get("/").text();
    for root in ["/v1/", "\"/", "'/", "`/"] {
        let found = page.match_indices(root).map(|(at, _)| &page[at..(at + 30).min(page.len())]);
        // A pattern of a replacement and closing tags are no addresses.
        let found: Vec<&str> = found.filter(|text| !text.starts_with("\"/\")")).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(page.contains("fetch(HERE + path") && page.contains("ask(\"v1/models\")"));
    let document = server.get("/openapi.json").json();
    assert_eq!(document["servers"][0]["url"], ".");
}
