//! MQTT: a mosquitto of our own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{detect, free_port, image, images, lines, said};

/// Programs of Debian's packages mosquitto and mosquitto-clients; the broker lies where servers do.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether the programs are there; else says loudly that nothing is tested.
fn installed(test: &str) -> bool {
    let there = ["mosquitto", "mosquitto_sub"].iter().all(|name| program(name).is_some());
    if !there {
        // Not by eprintln!, which is silent in a test that passes.
        let words = "SKIPPED, no mosquitto: apt-get install mosquitto mosquitto-clients";
        let mut terminal = std::io::stderr();
        writeln!(terminal, "\n{test}: {words}\n").unwrap();
    }
    there
}

/// A broker on loopback that keeps sessions over a restart.
struct Broker {
    child: Child,
}

impl Broker {
    fn start(folder: &Path, port: u16, more: &str) -> Self {
        let kept = folder.join("kept");
        fs::create_dir_all(&kept).unwrap();
        let configuration = folder.join("mosquitto.conf");
        let user = if cfg!(unix) && is_root() { "user root\n" } else { "" };
        let text = format!(
            "listener {port} 127.0.0.1\n{user}persistence true\npersistence_location {}/\n{more}\n",
            kept.display()
        );
        fs::write(&configuration, text).unwrap();
        let child = Command::new(program("mosquitto").unwrap())
            .arg("-c")
            .arg(&configuration)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child }
    }

    /// Ends it so that it keeps what it has.
    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

/// A subscriber whose messages wait for it while it is away.
struct Subscriber {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Subscriber {
    fn start(port: u16, topic: &str) -> Self {
        let command = || {
            let mut command = Command::new(program("mosquitto_sub").unwrap());
            command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic]);
            command.args(["-c", "-i", "test"]).stdout(Stdio::piped()).stderr(Stdio::null());
            command
        };
        // Ends when the broker has taken the subscription.
        assert!(command().arg("-E").status().unwrap().success());
        let mut child = command().spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_broker_gets_every_result_as_it_is_printed() {
    if !installed("a_broker_gets_every_result_as_it_is_printed") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let _broker = Broker::start(folder.path(), port, "allow_anonymous true");
    let mut subscriber = Subscriber::start(port, "line 3/results");
    let parts = images(6);
    fs::write(parts.path().join("damaged.png"), b"no image").unwrap();
    let target = format!("mqtt://127.0.0.1:{port}/line%203/results");
    let output = detect(parts.path(), &["--publish", &target, "--verbose"]);
    assert_eq!(output.status.code(), Some(1), "the damaged one: {}", said(&output));
    let printed = lines(&output.stdout);
    assert_eq!(printed.len(), 7);
    for line in &printed {
        assert_eq!(*line, subscriber.next());
    }
    let counts = "7 results delivered, 0 dropped, 0 failed";
    assert!(said(&output).contains(counts), "{}", said(&output));
}

#[test]
fn a_broker_that_knows_no_such_user_is_told_in_one_line() {
    if !installed("a_broker_that_knows_no_such_user_is_told_in_one_line") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let _broker = Broker::start(folder.path(), port, "allow_anonymous false");
    let parts = images(2);
    let target = format!("mqtt://me:secret@127.0.0.1:{port}/results");
    let output = detect(parts.path(), &["--publish", &target]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(lines(&output.stdout).len(), 2);
    assert_eq!(said.matches("--publish mqtt").count(), 2, "{said}");
    assert!(said.contains("NotAuthorized") && !said.contains("secret"), "{said}");
}

/// While it is away images are scored; what was found meanwhile arrives afterwards.
#[test]
fn a_broker_that_is_restarted_misses_nothing() {
    if !installed("a_broker_that_is_restarted_misses_nothing") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut broker = Broker::start(folder.path(), port, "allow_anonymous true");
    let mut subscriber = Subscriber::start(port, "results");
    let camera = images(1);
    let mut watch = Command::new(assert_cmd::cargo::cargo_bin("fe-clip"))
        .args(["detect", "--format", "jsonl", "--publish"])
        .arg(format!("mqtt://127.0.0.1:{port}/results"))
        .arg("--watch")
        .arg(camera.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&printed.next().unwrap().unwrap()).unwrap();
    assert_eq!(next(), subscriber.next());
    broker.stop();
    image(&camera.path().join("1.png"), 50);
    image(&camera.path().join("2.png"), 90);
    let meanwhile = [next(), next()];
    let _broker = Broker::start(folder.path(), port, "allow_anonymous true");
    for line in meanwhile {
        assert_eq!(line, subscriber.next());
    }
    let pid = watch.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut said = String::new();
    watch.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0), "{said}");
    let of_it: Vec<&str> = said.lines().filter(|line| line.contains("--publish")).collect();
    assert_eq!(of_it.len(), 2, "{said}");
    assert!(of_it[1].contains("taken again"), "{said}");
}
