//! The server as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::client::{Reply, get};

/// Longest time that a server may take for what it is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port; killed when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    child: Child,
}

impl Server {
    /// Starts a server and waits until its model is loaded.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let (server, said) = Self::start_loading(flags);
        assert_eq!(said.recv_timeout(PATIENCE).unwrap(), "ready");
        server
    }

    /// Starts a server and waits until it listens; what it says afterwards comes line by line.
    pub(crate) fn start_loading(flags: &[&str]) -> (Self, mpsc::Receiver<String>) {
        let mut child = command(flags).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // The pipe is read to its end, so that the server never waits for it.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let first = lines.recv_timeout(PATIENCE).unwrap();
        let address = first.strip_prefix("listening on http://").expect(&first).to_owned();
        (Self { url: format!("http://{address}"), address, child }, lines)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        get(&format!("{}{path}", self.url), &[])
    }

    /// The value of a counter without labels.
    pub(crate) fn meter(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.expect(name).split_once(' ').unwrap().1.parse().unwrap()
    }

    /// Waits until no request is being worked on.
    pub(crate) fn settle(&self) {
        let start = Instant::now();
        while self.meter("fe_clip_waiting") > 0.0 {
            assert!(start.elapsed() < Duration::from_secs(20), "requests are stuck");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that is expected to give up at once: its exit code and what it says.
pub(crate) fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let output = command(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fe-clip"));
    command.arg("serve").env_remove("FE_CLIP_TOKEN").stdin(Stdio::null());
    if !flags.contains(&"--addr") {
        command.args(["--addr", "127.0.0.1:0"]);
    }
    command.args(flags);
    command
}
