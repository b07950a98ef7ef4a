//! What comes back for good and bad images.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::client::{form, get, post};
use crate::images::{
    Folder, assert_same, assert_same_map, assert_same_picture, bomb, files, pattern,
};
use crate::process::Server;

#[test]
fn answers_are_the_command_lines() {
    let folder = Folder::synthetic();
    let server = Server::start(&[]);
    let found = folder.detect(&[
        "parts/gear/test",
        "--threshold",
        "0.4",
        "--out",
        "out",
        "--save",
        "overlay,map",
    ]);
    assert!(found.len() > 3, "{found:?}");
    for line in found {
        let path = line["path"].as_str().unwrap();
        let image = std::fs::read(folder.path(path)).unwrap();
        let url = format!("{}/v1/detect?threshold=0.4&map=true&name={path}", server.url);
        let answer = post(&url, &[("content-type", "image/png")], &image).json();
        for field in ["path", "score", "raw_score", "label", "map_max", "width", "height"] {
            assert_same(&answer, &line, field);
        }
        let map = BASE64_STANDARD.decode(answer["map"]["data"].as_str().unwrap()).unwrap();
        let npy = std::fs::read(folder.path(line["map"].as_str().unwrap())).unwrap();
        assert_eq!(map.len(), 4 * 240 * 240);
        assert_same_map(&map, &npy[npy.len() - map.len()..]);
        let values = map.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let regions = answer["regions"].as_array().unwrap();
        assert_eq!(regions.is_empty(), !values.clone().any(|v| v >= 0.4));
        if let Some(first) = regions.first() {
            assert_eq!(first["peak"], answer["map_max"]);
        }
        let overlay = post(&url, &[("content-type", "image/png"), ("accept", "image/png")], &image);
        assert_eq!(overlay.header("content-type"), Some("image/png"));
        let file = std::fs::read(folder.path(line["overlay"].as_str().unwrap())).unwrap();
        assert_same_picture(&overlay.body, &file);
    }
}

#[test]
fn normal_images_count_as_on_the_command_line() {
    let folder = Folder::synthetic();
    let server = Server::start(&["--threshold", "0.5"]);
    let normals: Vec<Vec<u8>> = files(&folder.path("parts/gear/train"))
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(normals.len(), 3);
    let found = folder.detect(&["parts/gear/test", "--normals", "parts/gear/train"]);
    let url = format!("{}/v1/detect", server.url);
    let mut id = None;
    for line in found {
        let path = line["path"].as_str().unwrap();
        let image = std::fs::read(folder.path(path)).unwrap();
        let mut parts: Vec<(&str, &str, &[u8])> = vec![("image", path, &image)];
        parts.extend(normals.iter().map(|bytes| ("normals", "n.png", bytes.as_slice())));
        let (kind, body) = form(&parts);
        let answer = post(&url, &[("content-type", kind)], &body).json();
        for field in ["score", "raw_score", "map_max"] {
            assert_same(&answer, &line, field);
        }
        assert!(answer["label"].is_string() && answer["threshold"] == 0.5);
        assert_eq!(answer["normals"]["images"], 3);
        // The same by the name that the server gave to the normal images.
        let name = answer["normals"]["id"].as_str().unwrap().to_owned();
        assert!(id.is_none_or(|id| id == name));
        let known = format!("{url}?normals={name}");
        let again = post(&known, &[("content-type", "image/png")], &image).json();
        assert_same(&again, &line, "score");
        let both = post(&known, &[("content-type", kind)], &body);
        assert!(both.error(422).contains("got both"));
        // Without them the answer is another.
        let alone = post(&url, &[("content-type", "image/png")], &image).json();
        assert!(alone["score"] != line["score"] && alone["normals"].is_null());
        id = Some(name);
    }
}

/// The words for a bad file are those of `detect`, with the status that says whose fault it is.
#[test]
fn bad_files_are_refused_in_the_command_lines_words() {
    let png = pattern(1, 60, 40);
    let mut damaged = png.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0xff);
    let bad = [
        ("empty.png", Vec::new(), 415),
        ("text.jpg", b"this is no image".to_vec(), 415),
        ("picture.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".to_vec(), 415),
        ("truncated.png", png[..png.len() / 2].to_vec(), 422),
        ("damaged.png", damaged, 422),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00".to_vec(), 422),
    ];
    let folder = Folder::new(&bad.clone().map(|(name, bytes, _)| (name, bytes)));
    let server = Server::start(&[]);
    for (name, bytes, status) in bad {
        let said = folder.detect(&[name]);
        let words = said[0]["error"].as_str().unwrap();
        let (kind, body) = form(&[("image", name, &bytes)]);
        let url = format!("{}/v1/detect", server.url);
        let reply = post(&url, &[("content-type", kind)], &body);
        assert_eq!(reply.error(status), words);
        assert_eq!(reply.json()["path"], name);
        let url = format!("{url}?name={name}");
        let reply = post(&url, &[("content-type", "image/png")], &bytes);
        assert_eq!(reply.error(status), words);
        // Among the normal images it is the same.
        let (kind, body) = form(&[("image", "good.png", &png), ("normals", name, &bytes)]);
        let reply = post(&url, &[("content-type", kind)], &body);
        assert_eq!(reply.error(status), words);
    }
    let (kind, body) = form(&[("image", "bomb.png", &bomb())]);
    let reply = post(&format!("{}/v1/detect", server.url), &[("content-type", kind)], &body);
    let words = reply.error(413);
    assert!(words.starts_with("bomb.png: 60000 x 60000 = 3600000000 pixels"), "{words}");
    server.settle();
}

#[test]
fn requests_that_make_no_sense_are_told_why() {
    let server = Server::start(&[]);
    let url = |query: &str| format!("{}/v1/detect{query}", server.url);
    let png = pattern(2, 30, 30);
    let raw = |query: &str| post(&url(query), &[("content-type", "image/png")], &png);
    for (query, words) in [
        ("?threshold=1.5", "expected a number in [0, 1], got 1.5"),
        ("?threshold=NaN", "expected a number in [0, 1]"),
        ("?threshold=high", "threshold: invalid float literal"),
        ("?map=1", "map: provided string was not `true` or `false`"),
        ("?shots=3", "unknown field `shots`"),
        ("?threshold=0.1&threshold=0.2", "duplicate field `threshold`"),
        ("?normals=all", "normals: expected 32 hexadecimal digits"),
    ] {
        let said = raw(query).error(422);
        assert!(said.contains(words), "{query}: {said}");
    }
    assert!(raw(&format!("?normals={}", "0".repeat(32))).error(404).contains("send them again"));
    let send = |parts: &[(&str, &str, &[u8])]| {
        let (kind, body) = form(parts);
        post(&url(""), &[("content-type", kind)], &body)
    };
    let image: (&str, &str, &[u8]) = ("image", "a.png", &png);
    let normal: (&str, &str, &[u8]) = ("normals", "n.png", &png);
    assert!(send(&[]).error(422).contains("expected a part named image"));
    assert!(send(&[normal]).error(422).contains("expected a part named image"));
    assert!(send(&[image, image]).error(422).contains("got several"));
    assert!(send(&[image, ("mask", "m.png", &png)]).error(422).contains("got \"mask\""));
    let many: Vec<_> = std::iter::once(image).chain(std::iter::repeat_n(normal, 17)).collect();
    assert!(send(&many).error(422).contains("at most 16"));

    let kind = |kind: &str| post(&url(""), &[("content-type", kind)], &png);
    assert!(kind("text/plain").error(415).contains("text/plain"));
    assert!(kind("application/x-www-form-urlencoded").error(415).contains("multipart/form-data"));
    assert!(kind("multipart/form-data").error(400).contains("boundary"));
    assert!(kind("multipart/form-data; boundary=x").error(400).contains("broken form"));
    assert_eq!(kind("application/octet-stream").status, 200);
    let accept =
        |accept| post(&url(""), &[("content-type", "image/png"), ("accept", accept)], &png);
    assert!(accept("text/html").error(406).contains("image/png"));
    assert_eq!(accept("text/html, */*;q=0.1").status, 200);

    assert_eq!(server.get("/v1/other").error(404), "there is nothing at this address");
    let other = server.get("/v1/detect");
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
    assert_eq!(post(&format!("{}/metrics", server.url), &[], b"").status, 405);
}

#[test]
fn the_server_describes_itself() {
    let server = Server::start(&["--threshold", "0.25"]);
    assert_eq!(server.get("/healthz").json()["status"], "alive");
    assert_eq!(server.get("/readyz").json()["status"], "ready");
    let models = server.get("/v1/models").json();
    assert_eq!(models["models"][0]["id"], "tiny");
    assert_eq!(models["models"][0]["image_size"], 240);
    assert_eq!(models["models"][0]["threshold"], 0.25);
    let document = server.get("/openapi.json").json();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for path in document["paths"].as_object().unwrap().keys() {
        let known = server.get(path).status;
        let expected: &[u16] = if path == "/v1/camera" { &[404] } else { &[200, 405] };
        assert!(expected.contains(&known), "{path}: {known}");
    }
    let png = pattern(3, 30, 30);
    let url = format!("{}/v1/detect", server.url);
    assert_eq!(post(&url, &[("content-type", "image/png")], &png).json()["threshold"], 0.25);
    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    let text = metrics.text();
    for line in [
        "fe_clip_requests_total{route=\"/v1/detect\",status=\"200\"} 1",
        "fe_clip_batch_images_count 1",
        "fe_clip_waiting 0",
        "fe_clip_ready 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_page_stands_alone() {
    let server = Server::start(&[]);
    let page = get(&server.url, &[]);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    assert!(page.header("access-control-allow-origin").is_none());
    let text = page.text();
    assert!(text.contains("<canvas id=\"picture\"") && text.contains("function findRegions"));
}
