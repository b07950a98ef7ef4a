//! MQTT: a mosquitto of our own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::certificates::Certificates;
use crate::{Watch, detect, free_port, image, images, lines, said, without_id};

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
        crate::skipped(test, "no mosquitto: apt-get install mosquitto mosquitto-clients");
    }
    there
}

/// A broker on loopback that keeps sessions over a restart.
struct Broker {
    child: Child,
}

impl Broker {
    fn start(folder: &Path, port: u16, more: &str) -> Self {
        Self::start_as(folder, port, &format!("listener {port} 127.0.0.1\n{more}"))
    }

    /// With listeners of one's own, `port` among them.
    fn start_as(folder: &Path, port: u16, listeners: &str) -> Self {
        let kept = folder.join("kept");
        fs::create_dir_all(&kept).unwrap();
        let configuration = folder.join("mosquitto.conf");
        let user = if cfg!(unix) && is_root() { "user root\n" } else { "" };
        let text = format!(
            "{user}persistence true\npersistence_location {}/\nautosave_interval 1\n\
             autosave_on_changes true\n{listeners}\n",
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

    /// Ends it as a loss of power does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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
        serde_json::from_str(&self.next_text()).unwrap()
    }

    fn next_text(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
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
        assert_eq!(*line, without_id(subscriber.next()));
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
    let target = format!("mqtt://127.0.0.1:{port}/results");
    let mut watch = Watch::start(camera.path(), &["--publish", &target]);
    assert_eq!(watch.next(), without_id(subscriber.next()));
    broker.stop();
    image(&camera.path().join("1.png"), 50);
    image(&camera.path().join("2.png"), 90);
    let meanwhile = [watch.next(), watch.next()];
    let _broker = Broker::start(folder.path(), port, "allow_anonymous true");
    for line in meanwhile {
        assert_eq!(line, without_id(subscriber.next()));
    }
    let (code, said) = watch.stop();
    assert_eq!(code, Some(0), "{said}");
    let of_it: Vec<&str> = said.lines().filter(|line| line.contains("--publish")).collect();
    assert_eq!(of_it.len(), 2, "{said}");
    assert!(of_it[1].contains("taken again"), "{said}");
}

/// Who listens sees whether we are there: while we run, when we end, and when we are killed.
#[test]
fn a_broker_knows_whether_we_are_there() {
    if !installed("a_broker_knows_whether_we_are_there") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let _broker = Broker::start(folder.path(), port, "allow_anonymous true");
    let mut subscriber = Subscriber::start(port, "line/results/status");
    let parts = images(1);
    let target = format!("mqtt://127.0.0.1:{port}/line/results");
    let output = detect(parts.path(), &["--publish", &target]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!([subscriber.next_text(), subscriber.next_text()], ["online", "offline"]);
    // Without a result, too.
    let empty = tempfile::tempdir().unwrap();
    let watch = Watch::start(empty.path(), &["--publish", &target]);
    assert_eq!(subscriber.next_text(), "online");
    watch.kill();
    assert_eq!(subscriber.next_text(), "offline");
    let silent = format!("{target}?status=");
    let output = detect(parts.path(), &["--publish", &silent]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let elsewhere = format!("{target}?status=line/results/status");
    detect(parts.path(), &["--publish", &elsewhere]);
    // Nothing came of the silent one.
    assert_eq!([subscriber.next_text(), subscriber.next_text()], ["online", "offline"]);
}

/// A broker with certificates, a password for those who have one, and a listener for the test.
struct Locked {
    folder: tempfile::TempDir,
    port: u16,
    plain: u16,
    certificates: Certificates,
    listeners: String,
}

impl Locked {
    fn new(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let Some(certificates) = Certificates::new(folder.path()) else {
            crate::skipped(test, "no openssl");
            return None;
        };
        let (port, plain) = (free_port(), free_port());
        let passwords = folder.path().join("passwords");
        let made = Command::new(program("mosquitto_passwd").unwrap())
            .args(["-c", "-b"])
            .arg(&passwords)
            .args(["line 3", "p@ss/word"])
            .status();
        assert!(made.unwrap().success());
        let listeners = format!(
            "per_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous false\n\
             password_file {}\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             listener {plain} 127.0.0.1\nallow_anonymous true",
            passwords.display(),
            certificates.certificate("ca"),
            certificates.certificate("server"),
            certificates.key("server"),
        );
        Some(Self { folder, port, plain, certificates, listeners })
    }

    fn start(&self) -> Broker {
        Broker::start_as(self.folder.path(), self.plain, &self.listeners)
    }

    fn target(&self) -> String {
        format!("mqtts://line%203@localhost:{}/results", self.port)
    }

    /// The flags with which we are let in.
    fn flags(&self) -> Vec<String> {
        let password = self.folder.path().join("password");
        fs::write(&password, "p@ss/word\n").unwrap();
        let named = [
            ("--publish", self.target()),
            ("--publish-ca", self.certificates.certificate("ca")),
            ("--publish-cert", self.certificates.certificate("client")),
            ("--publish-key", self.certificates.key("client")),
            ("--publish-password-file", password.display().to_string()),
        ];
        named.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

#[test]
fn a_broker_behind_certificates_and_a_password_lets_in_who_has_them() {
    let test = "a_broker_behind_certificates_and_a_password_lets_in_who_has_them";
    if !installed(test) {
        return;
    }
    let Some(locked) = Locked::new(test) else { return };
    let _broker = locked.start();
    let mut subscriber = Subscriber::start(locked.plain, "results");
    let parts = images(1);
    let flags = locked.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = detect(parts.path(), &flags);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lines(&output.stdout)[0], without_id(subscriber.next()));

    let other = locked.certificates.certificate("other");
    let wrong = locked.folder.path().join("wrong");
    fs::write(&wrong, "password").unwrap();
    let plain = locked.target().replace("mqtts", "mqtt");
    for (at, value, reason) in [
        (3, other.as_str(), "UnknownIssuer"),
        (9, wrong.to_str().unwrap(), "NotAuthorized"),
        (1, plain.as_str(), "onnection"),
    ] {
        let mut flags = flags.clone();
        flags[at] = value;
        let output = detect(parts.path(), &flags);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(lines(&output.stdout).len(), 1);
        assert!(said(&output).contains(reason), "{reason}: {}", said(&output));
    }
    // Files that are none stop it at the start.
    for (at, named) in [(3, "--publish-ca"), (5, "--publish-cert"), (7, "--publish-key")] {
        let mut flags = flags.clone();
        flags[at] = wrong.to_str().unwrap();
        let output = detect(parts.path(), &flags);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(named) && output.stdout.is_empty(), "{}", said(&output));
    }
}

/// The broker is killed, then we are, then both are there again: every result arrives, in order,
/// and what comes twice is known by its id.
#[test]
fn what_waits_on_disk_outlives_broker_and_program() {
    let test = "what_waits_on_disk_outlives_broker_and_program";
    if !installed(test) {
        return;
    }
    let Some(locked) = Locked::new(test) else { return };
    let broker = locked.start();
    let mut subscriber = Subscriber::start(locked.plain, "results");
    let (camera, spool) = (images(2), locked.folder.path().join("spool"));
    let mut flags = locked.flags();
    flags.extend(["--spool".into(), spool.display().to_string()]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut watch = Watch::start(camera.path(), &flags);
    let mut printed = vec![watch.next(), watch.next()];
    let mut arrived = vec![subscriber.next(), subscriber.next()];
    broker.kill();
    image(&camera.path().join("2.png"), 50);
    image(&camera.path().join("3.png"), 60);
    printed.extend([watch.next(), watch.next()]);
    watch.kill();
    // Both are away: nothing is lost that was printed.
    let mut watch = Watch::start(camera.path(), &flags);
    image(&camera.path().join("4.png"), 70);
    printed.push(watch.next());
    let _broker = locked.start();
    // Killed between a result and its entry in the state, an image may be scored again.
    if printed[4]["path"] != camera.path().join("4.png").to_str().unwrap() {
        printed.push(watch.next());
    }
    while arrived.len() < printed.len() {
        let next = subscriber.next();
        if !arrived.contains(&next) {
            arrived.push(next);
        }
    }
    let (code, said) = watch.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("results wait since before"), "{said}");
    let ids: std::collections::HashSet<&str> =
        arrived.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), printed.len());
    assert_eq!(arrived.into_iter().map(without_id).collect::<Vec<_>>(), printed);
    let left = fs::read_dir(&spool).unwrap().next().unwrap().unwrap().path();
    let left = fs::read_dir(left).unwrap().filter(|f| f.as_ref().unwrap().path().is_file());
    assert_eq!(left.count(), 1, "the lock alone");
}
