//! Images that are compared with each other.

use serde_json::Value;

use crate::client::{Reply, form, post};
use crate::images::{Folder, assert_same, pattern};
use crate::process::Server;

fn send(server: &Server, query: &str, images: &[(&str, &[u8])]) -> Reply {
    let parts: Vec<_> = images.iter().map(|(name, bytes)| ("images", *name, *bytes)).collect();
    let (kind, body) = form(&parts);
    post(&format!("{}/v1/group{query}", server.url), &[("content-type", kind)], &body)
}

#[test]
fn groups_are_judged_as_on_the_command_line() {
    let names = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"];
    let bytes: Vec<Vec<u8>> = (0..6).map(|i| pattern(i, 150, 90)).collect();
    let files: Vec<_> = names.into_iter().zip(bytes.clone()).collect();
    let folder = Folder::new(&files);
    let server = Server::start(&[]);
    let lines = folder.detect(&[&["--group"], &names[..], &["--threshold", "0.4"]].concat());
    let mut sent: Vec<(&str, &[u8])> = names.into_iter().zip(bytes.iter().map(|b| &**b)).collect();
    sent.insert(2, ("no-image.png", b"no image"));
    let answer = send(&server, "?threshold=0.4&map=true", &sent).json();
    let images: Vec<&Value> = answer["images"].as_array().unwrap().iter().collect();
    assert_eq!(images.len(), 7);
    assert_eq!(images[2]["path"], "no-image.png");
    assert!(images[2]["error"].as_str().unwrap().contains("no-image.png"), "{}", images[2]);
    let judged = images.into_iter().filter(|image| image["error"].is_null());
    for (image, line) in judged.zip(&lines) {
        for field in ["path", "score", "raw_score", "label", "map_max", "width", "height"] {
            assert_same(image, line, field);
        }
        assert_eq!(image["map"]["rows"], 240);
    }
    assert_eq!(lines.len(), 6);
    assert_eq!(answer["duplicates"], Value::Array(Vec::new()));
}

#[test]
fn a_twin_is_named() {
    let bytes: Vec<Vec<u8>> = (0..5).map(|i| pattern(i, 90, 90)).collect();
    let mut sent: Vec<(&str, &[u8])> =
        ["a", "b", "c", "d", "e"].into_iter().zip(bytes.iter().map(|b| &**b)).collect();
    sent.push(("twin of a", &bytes[0]));
    let config = b"[model]\nbackbone = \"tiny\"\n[model.group]\nduplicates = 0.01\n".to_vec();
    let folder = Folder::new(&[("run.toml", config)]);
    let server = Server::start(&["--config", folder.path("run.toml").to_str().unwrap()]);
    let answer = send(&server, "", &sent).json();
    assert_eq!(answer["duplicates"], serde_json::json!([["a", "twin of a"]]));
}

#[test]
fn what_is_no_group_is_refused() {
    let server = Server::start(&[]);
    let image = pattern(1, 40, 40);
    let four = [("a", &*image); 4];
    let error = send(&server, "", &four).error(422);
    assert_eq!(error, "expected at least 5 parts named images, got 4");
    let too_many = [("a", &*image); 65];
    assert_eq!(send(&server, "", &too_many).error(422), "expected at most 64 images");
    let five = [("a", &*image), ("b", b"x"), ("c", &*image), ("d", &*image), ("e", &*image)];
    send(&server, "", &five).error(415);
    send(&server, "?normals=0", &five).error(422);
    send(&server, "?threshold=2", &five).error(422);
    let url = format!("{}/v1/group", server.url);
    let alone = post(&url, &[("content-type", "image/png")], &image).error(415);
    assert_eq!(alone, "expected multipart/form-data with parts named images");
    let (kind, body) = form(&[("image", "a", &image)]);
    let other = post(&url, &[("content-type", kind)], &body).error(422);
    assert_eq!(other, "expected parts named images, got \"image\"");
}
