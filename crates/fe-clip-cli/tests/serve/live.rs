//! `serve --camera`: frames scored as they come, told to all who watch.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::client::get;
use crate::installed::installed;
use crate::process::{Server, refused};

fn ffmpeg(arguments: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-y"]).args(arguments.split(' '));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Moving colours, without loss.
fn video(path: &Path, size: &str, rate: u32, seconds: u32) {
    let mut made = ffmpeg(&format!(
        "-f lavfi -i testsrc2=size={size}:rate={rate} -t {seconds} -c:v ffv1 -pix_fmt gbrp {}",
        path.display()
    ));
    assert!(made.status().unwrap().success());
}

/// One who watches.
struct Viewer(BufReader<ureq::BodyReader<'static>>);

impl Viewer {
    fn new(server: &Server, headers: &[(&str, &str)]) -> Self {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_recv_body(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut request = agent.get(format!("{}/v1/camera", server.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(BufReader::new(response.into_body().into_reader()))
    }

    /// The next event; none when the answer is at its end.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut kind = None;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(named) = line.trim_end().strip_prefix("event: ") {
                kind = Some(named.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((kind.unwrap(), serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// The next event of a kind.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let (found, data) = self.next().unwrap();
            if found == kind {
                return data;
            }
        }
    }
}

#[test]
fn frames_of_a_file_are_told_with_the_command_lines_numbers() {
    if !installed("frames_of_a_file_are_told_with_the_command_lines_numbers") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mkv");
    video(&clip, "1920x400", 10, 3);
    let clip = clip.to_str().unwrap();
    let output = assert_cmd::Command::cargo_bin("fe-clip")
        .unwrap()
        .args(["detect", "--format", "jsonl", "--camera", clip])
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 30);

    let mut server = Server::start(&["--camera", clip, "--rate", "5"]);
    assert_eq!(server.get("/v1/models").json()["camera"], clip);
    let started = Instant::now();
    let (mut viewer, mut other) = (Viewer::new(&server, &[]), Viewer::new(&server, &[]));
    let mut frames = Vec::new();
    let end = loop {
        match viewer.next().unwrap() {
            (kind, frame) if kind == "frame" => frames.push(frame),
            (kind, end) => break (kind, end),
        }
    };
    assert_eq!(end, ("ended".to_owned(), serde_json::json!({ "error": null })));
    // At the speed of the video, whatever the model's.
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
    assert!((1..=15).contains(&frames.len()), "{}", frames.len());
    for frame in &frames {
        let number = frame["frame"].as_u64().unwrap();
        assert_eq!(number % 2, 0, "five of ten a second");
        let line = &lines[number as usize];
        assert_eq!((&frame["path"], &frame["label"]), (&line["path"], &line["label"]));
        assert_eq!((&frame["width"], &frame["height"]), (&line["width"], &line["height"]));
        for key in ["score", "map_max", "stream_time"] {
            let difference = frame[key].as_f64().unwrap() - line[key].as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{key} of {number}: {difference}");
        }
        let regions = |found: &Value| found["regions"].as_array().unwrap().len();
        assert_eq!(regions(frame), regions(line));
        assert_eq!(frame["map"]["rows"], 240);
        let picture = BASE64_STANDARD.decode(frame["picture"].as_str().unwrap()).unwrap();
        let picture = image::load_from_memory(&picture).unwrap();
        assert_eq!((picture.width(), picture.height()), (1280, 266));
    }
    // The other one was told the same, and who comes now hears how it stands.
    assert_eq!(other.until("frame")["map"]["rows"], 240);
    other.until("ended");
    assert_eq!(Viewer::new(&server, &[]).next().unwrap(), end);
    assert!(server.meter("fe_clip_camera_frames_total") >= frames.len() as f64);
    assert_eq!(server.meter("fe_clip_camera_up"), 0.0);
    // An end of the server is one of the answers.
    server.signal("TERM");
    assert!(viewer.next().is_none() && other.next().is_none());
    assert!(server.wait().success());
}

/// A stream on a port; it ends when it is dropped.
struct Stream(Child);

impl Stream {
    fn start(port: u16) -> Self {
        let arguments = format!(
            "-re -f lavfi -i testsrc2=size=160x120:rate=10 -c:v mpeg2video -g 1 -f mpegts \
             -listen 1 http://127.0.0.1:{port}"
        );
        Self(ffmpeg(&arguments).spawn().unwrap())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_camera_that_goes_away_is_told_and_comes_back() {
    if !installed("a_camera_that_goes_away_is_told_and_comes_back") {
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let source = format!("http://me:secret@127.0.0.1:{port}/?key=secret");
    // It need not be there at first.
    let server = Server::start(&["--camera", &source, "--token", "open"]);
    assert_eq!(get(&format!("{}/v1/camera", server.url), &[]).status, 401);
    let key = [("authorization", "Bearer open")];
    let mut viewer = Viewer::new(&server, &key);
    let lost = viewer.until("lost");
    assert!(lost["error"].as_str().unwrap().contains("refused"), "{lost}");
    for _ in 0..2 {
        let stream = Stream::start(port);
        let frame = viewer.until("frame");
        assert_eq!((&frame["width"], &frame["height"]), (&160.into(), &120.into()));
        assert!(frame["unix_time"].is_number() && frame["score"].is_number());
        drop(stream);
        let lost = viewer.until("lost");
        assert!(!format!("{frame}{lost}").contains("secret"), "{frame} {lost}");
    }
    // Who comes while it is away is told so at once.
    assert_eq!(Viewer::new(&server, &key).next().unwrap().0, "lost");
}

#[test]
fn without_a_camera_there_is_nothing_to_watch() {
    let server = Server::start(&[]);
    assert!(server.get("/v1/camera").error(404).contains("--camera"));
    assert_eq!(server.get("/v1/models").json()["camera"], Value::Null);
}

#[test]
fn what_cannot_be_watched_is_told_in_one_line() {
    let flags = |flags: &[&str]| {
        let (code, said) = refused(flags);
        assert_eq!(code, Some(2), "{said}");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(errors.len(), 1, "{said}");
        errors[0].to_owned()
    };
    let said = flags(&["--camera", "/dev/video63"]);
    assert!(said.contains("--camera /dev/video63: No such file"), "{said}");
    let said = flags(&["--camera", "nowhere.mp4"]);
    assert!(said.contains("--camera nowhere.mp4: No such file"), "{said}");
    let said = flags(&["--camera", "/dev/video63", "--rate", "0"]);
    assert!(said.contains("--rate"), "{said}");
}
