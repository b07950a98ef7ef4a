//! `fe-clip detect --camera`: videos to their last frame, live sources for as long as they last,
//! and again when they are back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod installed;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use installed::installed;
use serde_json::Value;

fn ffmpeg(arguments: &str, folder: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.current_dir(folder).args(["-hide_banner", "-loglevel", "error", "-y"]);
    command.args(arguments.split(' ')).stdin(Stdio::null());
    command
}

/// Makes a file of moving colours.
fn video(folder: &Path, seconds: u32, file: &str) {
    let arguments = format!("-f lavfi -i testsrc2=size=160x120:rate=10 -t {seconds} {file}");
    let output = ffmpeg(&arguments, folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn detect(folder: &Path, flags: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output = assert_cmd::Command::cargo_bin("fe-clip")
        .unwrap()
        .current_dir(folder)
        .args(["detect", "--format", "jsonl"])
        .args(flags)
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_frame_of_a_file_is_scored_as_its_picture_is() {
    if !installed("every_frame_of_a_file_is_scored_as_its_picture_is") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Without loss, and in RGB: what is decoded is what the pictures hold.
    video(at, 2, "-c:v ffv1 -pix_fmt gbrp clip.mkv");
    fs::create_dir(at.join("frames")).unwrap();
    let status = ffmpeg("-i clip.mkv -start_number 0 frames/%04d.png", at).status().unwrap();
    assert!(status.success());
    let flags = ["--camera", "clip.mkv", "--out", "out", "--save", "map"];
    let (code, lines, said) = detect(at, &flags);
    assert_eq!((code, lines.len()), (Some(0), 20), "{said}");
    assert!(said.contains("clip.mkv: 20 frames scored, 0 failed"), "{said}");
    let (_, pictures, _) = detect(at, &["frames"]);
    assert_eq!(pictures.len(), 20);
    for (number, (line, picture)) in lines.iter().zip(&pictures).enumerate() {
        assert_eq!(line["path"], format!("clip.mkv#{number:06}"));
        assert_eq!(line["frame"], number);
        let time = line["stream_time"].as_f64().unwrap();
        assert!((time - number as f64 / 10.0).abs() < 2e-3, "{line}");
        assert!(line.get("unix_time").is_none());
        assert_eq!((&line["width"], &line["height"]), (&picture["width"], &picture["height"]));
        for key in ["score", "map_max"] {
            let difference = line[key].as_f64().unwrap() - picture[key].as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{line} {picture}");
        }
        assert_eq!(line["map"], format!("out/clip_{number:06}_map.npy"));
        assert!(at.join(line["map"].as_str().unwrap()).exists());
    }
    // The same frames as a sequence.
    let (code, sequence, said) = detect(at, &["--camera", "frames/%04d.png"]);
    assert_eq!((code, sequence.len()), (Some(0), 20), "{said}");
    assert_eq!(sequence[7]["path"], "frames/%04d.png#000007");
    let difference = sequence[7]["score"].as_f64().unwrap() - lines[7]["score"].as_f64().unwrap();
    assert!(difference.abs() < 1e-6);
}

#[test]
fn a_rate_passes_frames_over_and_keeps_their_numbers() {
    if !installed("a_rate_passes_frames_over_and_keeps_their_numbers") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    video(folder.path(), 3, "clip.mp4");
    let (code, lines, said) = detect(folder.path(), &["--camera", "clip.mp4", "--rate", "2"]);
    assert_eq!(code, Some(0), "{said}");
    let numbers: Vec<u64> = lines.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 5, 10, 15, 20, 25]);
    let times: Vec<f64> = lines.iter().map(|line| line["stream_time"].as_f64().unwrap()).collect();
    assert_eq!(times, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
}

#[test]
fn what_is_no_video_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("broken.mp4"), b"no video").unwrap();
    let mut cases = vec![
        (vec!["--camera", "missing.mp4"], "missing.mp4"),
        (vec!["--camera", "63"], "--camera /dev/video63: No such file"),
        (vec!["--camera", "concat://a"], "rtsp"),
        (vec!["--camera", "."], "a folder"),
        (vec!["--camera", "broken.mp4", "--rate", "0"], "--rate"),
        (vec!["--camera", "broken.mp4", "--watch", "."], "--watch"),
    ];
    if installed("what_is_no_video_is_named_with_the_reason") {
        cases.push((vec!["--camera", "broken.mp4"], "Invalid data found"));
        cases.push((vec!["--camera", "none-%03d.png"], "none-%03d.png"));
    }
    for (flags, reason) in cases {
        let (code, lines, said) = detect(at, &flags);
        assert_eq!((code, lines.len()), (Some(2), 0), "{flags:?}: {said}");
        assert!(said.contains(reason), "{flags:?}: {said}");
        let errors = said.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "{flags:?}: {said}");
    }
    // Without ffmpeg there is a clear word, too.
    let output = assert_cmd::Command::cargo_bin("fe-clip")
        .unwrap()
        .env("PATH", at)
        .args(["detect", "--camera"])
        .arg(at.join("broken.mp4"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("ffmpeg") && said.contains("not installed"), "{said}");
}

/// A server of a stream; it ends when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run on a live source.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(source: &str) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
            .args(["detect", "--format", "jsonl", "--camera", source])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.lines.by_ref().for_each(drop);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Without connecting: the server takes one connection.
fn wait_for_listener(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    let listening = || {
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let of_port = format!(":{port:04X} 00000000:0000 0A");
        sockets.contains(&of_port)
    };
    while !listening() {
        assert!(Instant::now() < until, "no server on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Frames come faster than they are scored, the source goes away and comes back.
#[test]
fn a_live_source_drops_frames_and_is_found_again() {
    if !installed("a_live_source_drops_frames_and_is_found_again") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let serve = || {
        let arguments = format!(
            "-re -f lavfi -i testsrc2=size=160x120:rate=30 -c:v mpeg2video -g 1 -f mpegts \
             -listen 1 http://127.0.0.1:{port}"
        );
        let server = ffmpeg(&arguments, folder.path()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_listener(port);
        Server(server)
    };
    let server = serve();
    let source = format!("http://me:secret@127.0.0.1:{port}/?key=secret");
    let mut run = Run::start(&source);
    let lines: Vec<Value> = (0..10).map(|_| run.next()).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for pair in lines.windows(2) {
        let frame = |line: &Value| line["frame"].as_u64().unwrap();
        assert!(frame(&pair[0]) < frame(&pair[1]), "{pair:?}");
        let [first, second] = [0, 1].map(|at: usize| pair[at]["unix_time"].as_f64().unwrap());
        assert!(first < second && (now.as_secs_f64() - first).abs() < 600.0);
    }
    let dropped = lines[9]["frame"].as_u64().unwrap() > 9;
    drop(server);
    let _server = serve();
    // What was left of the first connection may come before; then frames are counted anew.
    let mut last = lines[9]["frame"].as_u64().unwrap();
    loop {
        let frame = run.next()["frame"].as_u64().unwrap();
        if frame < last {
            break;
        }
        last = frame;
    }
    let (code, said) = run.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(": lost, looking for it again").count(), 1, "{said}");
    assert_eq!(said.matches(": there again").count(), 1, "{said}");
    assert!(!said.contains("secret"), "{said}");
    assert!(!dropped || said.contains("dropped because scoring took longer"), "{said}");
}

/// A camera on the network, that is, GStreamer's server of RTSP.
#[test]
fn rtsp_is_read() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/camera/rtsp_server.py");
    let gstreamer = Command::new("/usr/bin/python3").arg(script).output();
    if !installed("rtsp_is_read") {
        return;
    }
    if !gstreamer.is_ok_and(|output| output.status.success()) {
        let words = "rtsp_is_read: SKIPPED, no GStreamer: see tests/camera/rtsp_server.py";
        let mut terminal = std::io::stderr();
        writeln!(terminal, "\n{words}\n").unwrap();
        return;
    }
    let port = free_port();
    let mut server = Command::new("/usr/bin/python3");
    server.arg(script).arg(port.to_string()).stdout(Stdio::piped());
    let mut child = server.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let _server = Server(child);
    assert_eq!(ready.trim(), "ready");
    let source = format!("rtsp://127.0.0.1:{port}/live");
    let mut run = Run::start(&source);
    for _ in 0..5 {
        let line = run.next();
        assert!(line["path"].as_str().unwrap().starts_with(&format!("{source}#")), "{line}");
        assert_eq!((&line["width"], &line["height"]), (&320.into(), &240.into()));
        assert!(line["score"].is_number() && line["unix_time"].is_number(), "{line}");
    }
    let (code, said) = run.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("lost"), "{said}");
}

#[test]
fn a_stream_that_is_not_there_is_told_once_and_waited_for() {
    if !installed("a_stream_that_is_not_there_is_told_once_and_waited_for") {
        return;
    }
    let run = Run::start(&format!("rtsp://me:secret@127.0.0.1:{}/live", free_port()));
    std::thread::sleep(Duration::from_secs(6));
    let (code, said) = run.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("looking for it again").count(), 1, "{said}");
    assert!(said.contains("refused") && !said.contains("secret"), "{said}");
}
