//! `fe-clip detect https://…`: images on web servers, and what is said of stores that are not built in.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpListener;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use command::{errors, fe_clip};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8, (y * 5) as u8, 90]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A server that is busy the first time it is asked for `busy.png`, and has no `none.png`.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    static BUSY: AtomicUsize = AtomicUsize::new(0);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") {
                    if reader.read_line(&mut head).unwrap() == 0 {
                        return;
                    }
                }
                let target = head.split(' ').nth(1).unwrap();
                let path = target.split('?').next().unwrap();
                let (status, body) = match path {
                    "/none.png" => ("404 Not Found", b"no".to_vec()),
                    "/page.png" => ("200 OK", b"<html>please log in</html>".to_vec()),
                    "/busy.png" if BUSY.fetch_add(1, Ordering::Relaxed) == 0 => {
                        ("503 Service Unavailable", b"later".to_vec())
                    }
                    _ => ("200 OK", png()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            });
        }
    });
    address
}

#[test]
fn images_of_a_web_server_score_as_their_files_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    fs::write(&file, png()).unwrap();
    let out = folder.path().join("out");
    let server = server();
    let signed = format!("{server}/left/a.png?X-Amz-Signature=1/2.3&x=4");
    let list = [
        file.to_str().unwrap().to_owned(),
        signed.clone(),
        format!("{server}/none.png"),
        format!("{server}/busy.png"),
        format!("{server}/page.png"),
        format!("{server}/folder/"),
    ];
    let arguments = ["detect", "-", "--format", "jsonl", "--out", out.to_str().unwrap()];
    let done = fe_clip(&arguments, &list.join("\n"));
    assert_eq!(done.status.code(), Some(1), "{}", errors(&done));
    let lines = lines(&done);
    assert_eq!(lines.len(), 6);
    for (line, address) in lines.iter().zip(&list) {
        assert_eq!(line["path"], address.as_str());
    }
    assert!(lines[0]["score"].is_f64());
    for same in [1, 3] {
        assert_eq!(lines[same]["score"], lines[0]["score"], "{same}");
    }
    let error = |at: usize| lines[at]["error"].as_str().unwrap();
    assert!(error(2).contains("404") && error(2).contains("/none.png"), "{}", error(2));
    assert!(error(4).contains("/page.png") && error(4).contains("not an image"), "{}", error(4));
    assert!(error(5).contains("do not list their files"), "{}", error(5));
    let overlay = lines[1]["overlay"].as_str().unwrap();
    assert!(overlay.ends_with("a_overlay.png") && !overlay.contains("Signature"), "{overlay}");
    assert!(fs::metadata(overlay).unwrap().len() > 0);
}

#[test]
fn what_cannot_be_done_is_said() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/a.png", listener.local_addr().unwrap())
    };
    let normals = ["detect", "a.png", "--normals", "s3://bucket/good/"];
    for (arguments, code, words) in [
        (&["detect", &gone][..], 2, "cannot be fetched"),
        (&["detect", "http://127.0.0.1:9/folder/"], 2, "do not list their files"),
        (&["detect", "a.png", "--out", "https://127.0.0.1/out"], 2, "not write"),
        (&normals, 2, "folder of this machine"),
        (&["detect", "a.png", "--out", "s3://b/out", "--report"], 2, "folder of this machine"),
        (&["detect", "--watch", ".", "--out", "s3://b/out"], 2, "folder of this machine"),
    ] {
        let done = fe_clip(arguments, "");
        let said = errors(&done);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(!std::path::Path::new("s3:").exists());
}
