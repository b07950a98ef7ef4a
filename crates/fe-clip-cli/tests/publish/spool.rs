//! `--spool`: what waits on disk while a webhook is away, and what when there is no room.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::certificates::Certificates;
use crate::python::python;
use crate::{Watch, detect, free_port, image, images, lines, said, skipped, without_id};

/// `webhook_server.py` with a log that outlives it.
struct Server {
    python: PathBuf,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// None where there is no Python with the packages.
    fn new(test: &str, import: &str, folder: &Path) -> Option<Self> {
        let Some(python) = python(import) else {
            skipped(test, "FE_CLIP_PYTHON names no Python with tests/publish/requirements.txt");
            return None;
        };
        Some(Self { python, port: free_port(), log: folder.join("log.jsonl") })
    }

    fn start(&self, flags: &[&str]) -> Running {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/publish/webhook_server.py");
        let mut child = Command::new(&self.python)
            .args([script, &self.port.to_string()])
            .arg(&self.log)
            .args(flags)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "no server");
            std::thread::sleep(Duration::from_millis(50));
        }
        Running(child)
    }

    /// What it took, in order.
    fn taken(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let body = |line| serde_json::from_str::<Value>(line).unwrap()["body"].take();
        text.lines().map(body).collect()
    }

    /// Waits until it has taken so many.
    fn wait_for(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(60);
        while self.taken().len() < count {
            assert!(Instant::now() < until, "{:?}", self.taken());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.taken()
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(all).filter(|path| !path.ends_with("lock")).collect()
}

/// Images that are not there, which are results that take no time.
fn detect_missing(count: usize, flags: &[&str]) -> std::process::Output {
    let list: String = (0..count).map(|i| format!("missing-{i}.png\n")).collect();
    assert_cmd::Command::cargo_bin("fe-clip")
        .unwrap()
        .args(["detect", "-", "--format", "jsonl"])
        .args(flags)
        .write_stdin(list)
        .output()
        .unwrap()
}

/// The server dies when it has a result, before it says so; then we are killed; then both are
/// there again: every result is taken once, in order.
#[test]
fn what_waits_on_disk_outlives_server_and_program() {
    let folder = tempfile::tempdir().unwrap();
    let test = "what_waits_on_disk_outlives_server_and_program";
    let Some(server) = Server::new(test, "import http.server", folder.path()) else { return };
    let (camera, spool) = (images(3), folder.path().join("spool").display().to_string());
    let target = format!("http://127.0.0.1:{}/hook", server.port);
    let flags = ["--publish", &target, "--spool", &spool];
    let running = server.start(&["--dies-after", "2"]);
    let mut watch = Watch::start(camera.path(), &flags);
    let mut printed = vec![watch.next(), watch.next(), watch.next()];
    server.wait_for(2);
    drop(running);
    image(&camera.path().join("3.png"), 90);
    printed.push(watch.next());
    watch.kill();
    // The second was taken, but we were not told.
    let waiting = files(Path::new(&spool));
    assert_eq!(waiting.len(), 3, "{waiting:?}");
    let _running = server.start(&[]);
    image(&camera.path().join("4.png"), 95);
    let mut watch = Watch::start(camera.path(), &flags);
    printed.push(watch.next());
    // Killed between a result and its entry in the state, an image may be scored again.
    if printed[4]["path"] != camera.path().join("4.png").to_str().unwrap() {
        printed.push(watch.next());
    }
    let taken = server.wait_for(printed.len());
    let (code, said) = watch.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(taken.into_iter().map(without_id).collect::<Vec<_>>(), printed);
    assert!(files(Path::new(&spool)).is_empty());
}

/// Signatures as the package of Standard Webhooks reads them, over TLS of our own authority.
#[test]
fn a_server_knows_by_signature_and_certificate_whom_it_talks_to() {
    let folder = tempfile::tempdir().unwrap();
    let test = "a_server_knows_by_signature_and_certificate_whom_it_talks_to";
    let server = Server::new(test, "import standardwebhooks", folder.path());
    let (Some(server), Some(certificates)) = (server, Certificates::new(folder.path())) else {
        return;
    };
    let [certificate, key] = [certificates.certificate("server"), certificates.key("server")];
    let _running = server.start(&["--secret", "over the fence", "--tls", &certificate, &key]);
    let secret = folder.path().join("secret");
    fs::write(&secret, "over the fence\n").unwrap();
    let [ca, secret] = [certificates.certificate("ca"), secret.display().to_string()];
    let target = format!("https://localhost:{}/hook", server.port);
    let parts = images(2);
    let known = ["--publish", &target, "--publish-ca", &ca];
    let output = detect(parts.path(), &[&known[..], &["--publish-secret-file", &secret]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        server.taken().into_iter().map(without_id).collect::<Vec<_>>(),
        lines(&output.stdout)
    );
    for (flags, reason) in [(&known[..], "401"), (&known[..2], "UnknownIssuer")] {
        let output = detect(parts.path(), flags);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(reason), "{reason}: {}", said(&output));
    }
    assert_eq!(server.taken().len(), 2);
}

#[test]
fn what_a_server_refuses_for_good_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let test = "what_a_server_refuses_for_good_is_put_aside";
    let Some(server) = Server::new(test, "import standardwebhooks", folder.path()) else { return };
    let _running = server.start(&["--secret", "over the fence"]);
    let spool = folder.path().join("spool");
    let target = format!("http://127.0.0.1:{}/hook", server.port);
    let output = detect_missing(3, &["--publish", &target, "--spool", spool.to_str().unwrap()]);
    assert_eq!(lines(&output.stdout).len(), 3);
    let said = said(&output);
    assert!(said.contains("0 results delivered, 0 dropped, 3 failed"), "{said}");
    let aside = files(&spool);
    assert_eq!(aside.len(), 3);
    assert!(aside.iter().all(|file| file.parent().unwrap().ends_with("refused")), "{aside:?}");
}

/// A limit of 256 files, for two runs with more results.
#[test]
fn a_full_spool_is_told_in_one_line_and_keeps_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let target = format!("http://127.0.0.1:{}/hook", free_port());
    let flags = ["--publish", &target, "--spool", spool.to_str().unwrap(), "--spool-limit", "1"];
    let output = detect_missing(300, &flags);
    let text = said(&output);
    assert_eq!((output.status.code(), lines(&output.stdout).len()), (Some(2), 300), "{text}");
    assert_eq!(text.matches("--spool-limit is reached").count(), 1, "{text}");
    assert!(text.contains("0 results delivered, 44 dropped, 0 failed, 256 wait"), "{text}");
    let mut left = files(&spool);
    left.sort();
    let newest = fs::read_to_string(left.last().unwrap()).unwrap();
    assert!(left.len() == 256 && newest.contains("missing-299.png"), "{newest}");
    let output = detect_missing(10, &flags);
    let text = said(&output);
    assert!(text.contains("256 results wait since before"), "{text}");
    assert!(text.contains("10 dropped, 0 failed, 256 wait"), "{text}");
}

/// A disk of 64 KiB, of a user who may mount one.
#[test]
fn a_full_disk_is_told_in_one_line_and_the_line_goes_on() {
    let test = "a_full_disk_is_told_in_one_line_and_the_line_goes_on";
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k disk \"$1\" && shift && exec \"$@\"";
    let with_disk = |command: &[&str]| {
        let mut all = std::process::Command::new("unshare");
        all.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        all.arg(disk.path()).args(command);
        all
    };
    if !with_disk(&["true"]).output().is_ok_and(|output| output.status.success()) {
        skipped(test, "no disk can be mounted here");
        return;
    }
    let target = format!("http://127.0.0.1:{}/hook", free_port());
    let program = assert_cmd::cargo::cargo_bin("fe-clip").display().to_string();
    let list: String = (0..40).map(|i| format!("missing-{i}.png\n")).collect();
    let paths = tempfile::NamedTempFile::new().unwrap();
    fs::write(paths.path(), list).unwrap();
    let (spool, paths) = (disk.path().join("spool"), paths.path().to_str().unwrap());
    let detect = ["detect", "--list", paths, "--format", "jsonl", "--publish", &target];
    let spool = ["--spool", spool.to_str().unwrap()];
    let command = [&[program.as_str()][..], &detect, &spool].concat();
    let output = with_disk(&command).output().unwrap();
    let text = said(&output);
    assert_eq!(lines(&output.stdout).len(), 40, "{text}");
    assert_eq!(text.matches("No space left on device").count(), 1, "{text}");
    assert!(text.contains("results wait in memory"), "{text}");
    let counts = text.lines().find(|line| line.contains("results delivered")).unwrap();
    assert!(counts.contains("0 dropped") && counts.contains("wait on disk"), "{text}");
}
