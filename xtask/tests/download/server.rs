//! A server of one file on the loopback interface.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What is served and how.
pub(crate) struct Serving {
    pub(crate) content: Vec<u8>,
    pub(crate) etag: &'static str,
    /// Every answer breaks off after as many bytes.
    pub(crate) cut: usize,
    /// Whether the length of an answer is announced.
    pub(crate) length: bool,
}

impl Serving {
    pub(crate) fn whole(content: &[u8]) -> Self {
        Self { content: content.to_vec(), etag: "\"one\"", cut: usize::MAX, length: true }
    }

    pub(crate) fn start(self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/set.zip", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                self.answer(stream.unwrap(), &log);
            }
        });
        Server { url, asked }
    }

    fn answer(&self, mut stream: TcpStream, log: &Mutex<Vec<String>>) {
        let mut headers = Vec::new();
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            match line {
                Ok(line) if !line.is_empty() => headers.push(line.to_ascii_lowercase()),
                _ => break,
            }
        }
        let value = |name: &str| headers.iter().find_map(|h| h.strip_prefix(name)).map(str::trim);
        let start = value("range: bytes=").and_then(|r| r.trim_end_matches('-').parse().ok());
        log.lock().unwrap().push(value("range:").unwrap_or("all").to_owned());
        let same = value("if-range:").is_none_or(|tag| tag == self.etag);
        let all = self.content.len();
        let (head, body) = match start {
            Some(start) if same && start >= all => {
                (format!("416 X\r\nContent-Range: bytes */{all}"), &self.content[..0])
            }
            Some(start) if same => {
                let range = format!("bytes {start}-{}/{all}", all - 1);
                (format!("206 X\r\nContent-Range: {range}"), &self.content[start..])
            }
            _ => ("200 X".to_owned(), self.content.as_slice()),
        };
        let length = body.len();
        let announced =
            if self.length { format!("Content-Length: {length}\r\n") } else { String::new() };
        // The client may have hung up, which it is free to do.
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nETag: {}\r\n{announced}Connection: close\r\n\r\n",
            self.etag
        );
        let _ = stream.write_all(&body[..self.cut.min(length)]);
    }
}

impl Server {
    /// The range of each request, `all` where none was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
