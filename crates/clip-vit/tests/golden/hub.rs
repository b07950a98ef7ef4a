//! Downloads from a server on loopback that speaks as the hub does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use clip_vit::{Error, Hub, load};
use sha2::{Digest, Sha256};

use crate::models::golden;

const ID: &str = "someone/some-clip";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a server does and has seen.
#[derive(Default)]
struct Behaviour {
    files: HashMap<&'static str, Vec<u8>>,
    /// Bytes of the next answer's body after which the connection breaks off, once.
    break_after: Option<usize>,
    /// Whether one byte of every large file is wrong.
    corrupt: bool,
    /// The status of every answer, unless it is 200.
    refusal: Option<u16>,
    /// File and range of every request for a body, and the token it came with.
    requests: Vec<(String, String, String)>,
}

struct Server {
    endpoint: String,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Server {
    fn start(files: &[(&'static str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Behaviour { files: files.iter().cloned().collect(), ..Default::default() };
        let behaviour = Arc::new(Mutex::new(behaviour));
        let shared = behaviour.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client may hang up whenever it likes.
                let _ = answer(stream, &shared);
            }
        });
        Self { endpoint, behaviour }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            cache: cache.to_path_buf(),
            endpoint: self.endpoint.clone(),
            token: Some("secret".into()),
            offline: false,
            progress: false,
        }
    }

    fn ranges(&self, file: &str) -> Vec<String> {
        let requests = &self.behaviour.lock().unwrap().requests;
        requests
            .iter()
            .filter(|(name, ..)| name == file)
            .map(|(_, range, _)| range.clone())
            .collect()
    }
}

fn answer(mut stream: TcpStream, behaviour: &Mutex<Behaviour>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    let path = request.split(' ').nth(1).unwrap().to_string();
    let headers: HashMap<String, String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.into()))
        })
        .collect();
    let mut behaviour = behaviour.lock().unwrap();
    if let Some(status) = behaviour.refusal {
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return stream.write_all(head.as_bytes());
    }
    if path.starts_with("/api/models/") {
        let siblings: Vec<String> =
            behaviour.files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
        let body = format!(r#"{{"siblings":[{}],"sha":"{COMMIT}"}}"#, siblings.join(","));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        return stream.write_all(body.as_bytes());
    }
    let name = path.rsplit('/').next().unwrap().to_string();
    let Some(file) = behaviour.files.get(name.as_str()).cloned() else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let range = headers.get("range").cloned().unwrap_or_default();
    let token = headers.get("authorization").cloned().unwrap_or_default();
    let (start, end) = range.strip_prefix("bytes=").unwrap_or("0-").split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse().map_or(file.len(), |end: usize| end + 1);
    let is_large = name.ends_with("safetensors") || name.ends_with("bin");
    // As on the hub: sha256 of large files, 40 digits that differ by content of the others.
    let mut etag: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    if !is_large {
        etag.truncate(40);
    }
    if start >= file.len() {
        return stream.write_all(
            b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\
         ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        end - start,
        end - 1,
        file.len(),
    );
    stream.write_all(head.as_bytes())?;
    let mut body = file[start..end].to_vec();
    if end - start > 1 {
        behaviour.requests.push((name, range, token));
        if behaviour.corrupt && is_large {
            body[100] ^= 1;
        }
        if is_large && let Some(n) = behaviour.break_after.take() {
            body.truncate(n);
        }
    }
    stream.write_all(&body)
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(golden(path)).unwrap()
}

fn single() -> Server {
    Server::start(&[
        ("config.json", read("hf_gelu/config.json")),
        ("model.safetensors", read("hf_gelu/model.safetensors")),
    ])
}

#[test]
fn a_model_is_downloaded_once() {
    let server = single();
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    let path = hub.locate(ID).unwrap();
    assert_eq!(path, cache.path().join("models--someone--some-clip/snapshots").join(COMMIT));
    load(&path, None, &Device::default()).unwrap();
    assert!(
        server
            .behaviour
            .lock()
            .unwrap()
            .requests
            .iter()
            .all(|(.., token)| token == "Bearer secret")
    );

    let requests = server.behaviour.lock().unwrap().requests.len();
    let offline = Hub { offline: true, ..hub.clone() };
    for revision in ["main", COMMIT] {
        assert_eq!(offline.snapshot(ID, revision).unwrap(), path);
        assert_eq!(hub.snapshot(ID, revision).unwrap(), path);
    }
    assert_eq!(server.behaviour.lock().unwrap().requests.len(), requests);
}

#[test]
fn shards_and_pickled_weights_are_found() {
    let index = read("hf_sharded/model.safetensors.index.json");
    let files = [
        ("config.json", read("hf_sharded/config.json")),
        ("model.safetensors.index.json", index),
        ("model-00001-of-00004.safetensors", read("hf_sharded/model-00001-of-00004.safetensors")),
        ("model-00002-of-00004.safetensors", read("hf_sharded/model-00002-of-00004.safetensors")),
        ("model-00003-of-00004.safetensors", read("hf_sharded/model-00003-of-00004.safetensors")),
        ("model-00004-of-00004.safetensors", read("hf_sharded/model-00004-of-00004.safetensors")),
    ];
    let pickled = [
        ("config.json", read("hf_pickled/config.json")),
        ("pytorch_model.bin", read("hf_pickled/pytorch_model.bin")),
    ];
    for files in [&files[..], &pickled[..]] {
        let server = Server::start(files);
        let cache = tempfile::tempdir().unwrap();
        let path = server.hub(cache.path()).snapshot(ID, "main").unwrap();
        load(&path, None, &Device::default()).unwrap();
        assert_eq!(
            Hub { offline: true, ..server.hub(cache.path()) }.snapshot(ID, "main").unwrap(),
            path
        );
    }
}

#[test]
fn an_interrupted_download_is_continued() {
    let server = single();
    server.behaviour.lock().unwrap().break_after = Some(20_000);
    let cache = tempfile::tempdir().unwrap();
    let path = server.hub(cache.path()).snapshot(ID, "main").unwrap();
    assert_eq!(server.ranges("model.safetensors"), ["bytes=0-", "bytes=20000-"]);
    assert_eq!(
        std::fs::read(path.join("model.safetensors")).unwrap(),
        read("hf_gelu/model.safetensors")
    );
}

#[test]
fn a_download_goes_on_in_the_next_process() {
    let server = single();
    let weights = read("hf_gelu/model.safetensors");
    let hash: String = Sha256::digest(&weights).iter().map(|byte| format!("{byte:02x}")).collect();
    for (kept, expected) in [(12_345, "bytes=12345-"), (weights.len(), "bytes=0-")] {
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--someone--some-clip/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{hash}.part")), &weights[..kept]).unwrap();
        let path = server.hub(cache.path()).snapshot(ID, "main").unwrap();
        assert_eq!(server.ranges("model.safetensors").last().unwrap(), expected);
        assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), weights);
    }
}

#[test]
fn a_corrupted_download_is_refused_and_removed() {
    let server = single();
    server.behaviour.lock().unwrap().corrupt = true;
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    let error = hub.snapshot(ID, "main").unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    server.behaviour.lock().unwrap().corrupt = false;
    load(&hub.snapshot(ID, "main").unwrap(), None, &Device::default()).unwrap();
}

#[test]
fn refusals_say_what_to_do() {
    let server = single();
    let cache = tempfile::tempdir().unwrap();
    let with = server.hub(cache.path());
    let without = Hub { token: None, ..with.clone() };
    for (status, hub, parts) in [
        (401, &without, ["gated or private", "no token was sent", "set HF_TOKEN"]),
        (401, &with, ["gated or private", "the token that was sent", "accept the terms"]),
        (403, &with, ["gated or private", "accept the terms at http", "HF_TOKEN"]),
        (404, &without, ["there is no such model", "\"main\"", "check the name"]),
        (429, &without, ["too many requests", "wait", "HF_TOKEN"]),
    ] {
        server.behaviour.lock().unwrap().refusal = Some(status);
        let error = hub.snapshot(ID, "main").unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!("{ID} from http")), "{message}");
        assert!(message.contains(&format!("status {status}: ")), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(std::error::Error::source(&error).is_none(), "the status is told once");
    }
}

#[test]
fn open_clip_repositories_are_found() {
    let server = Server::start(&[
        ("open_clip_config.json", b"{}".to_vec()),
        ("open_clip_model.safetensors", read("open_clip/half.safetensors")),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    let path = hub.snapshot(ID, "main").unwrap();
    assert!(path.join("open_clip_model.safetensors").is_file());
    let offline = Hub { offline: true, ..hub };
    assert_eq!(offline.snapshot(ID, "main").unwrap(), path);
}

#[test]
fn what_cannot_be_had_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("config.json", read("hf_gelu/config.json"))]);
    let hub = server.hub(cache.path());
    let error = hub.snapshot(ID, "main").unwrap_err();
    assert!(matches!(&error, Error::Config { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("{ID}: holds no model")), "{message}");
    let nobody = Hub { endpoint: "http://127.0.0.1:9".into(), ..hub.clone() };
    let error = nobody.snapshot(ID, "main").unwrap_err();
    assert!(matches!(&error, Error::Download { id, .. } if id == ID), "{error}");
    let offline = Hub { offline: true, ..hub.clone() };
    let error = offline.snapshot(ID, "main").unwrap_err().to_string();
    assert!(error.contains(ID) && error.contains("HF_HUB_OFFLINE"), "{error}");
    for name in ["nothing", "../etc/passwd", "a/b/c", "a/weights.safetensors", "/nowhere/x"] {
        assert!(matches!(offline.locate(name), Err(Error::NoModel { .. })), "{name}");
    }
}
