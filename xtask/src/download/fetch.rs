//! One file over HTTP: resumed where it stopped, checked, renamed when whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use ureq::http::{Response, header};
use ureq::{Agent, Body};

/// How often a broken connection is taken up again.
const ATTEMPTS: usize = 5;

/// Fetches `url` into `path`; until it is whole and its hash is right, it is called `path.part`.
pub(super) fn fetch(url: &str, path: &Path, sha256: Option<&str>) -> Result<()> {
    if !path.exists() {
        let part = beside(path, "part");
        let mut attempt = 1;
        while let Err(error) = resume(url, &part, &beside(path, "validator")) {
            eprintln!("attempt {attempt} of {ATTEMPTS}: {error:#}");
            ensure!(
                attempt < ATTEMPTS,
                "{url}: given up; the next run goes on where this one stopped"
            );
            attempt += 1;
        }
        check(&part, sha256)?;
        std::fs::rename(&part, path).with_context(|| format!("renaming {}", part.display()))?;
        let _ = std::fs::remove_file(beside(path, "validator")); // litter at worst
        return Ok(());
    }
    println!("{} is there", path.display());
    check(path, sha256)
}

/// One connection: fetches the rest of `part`, or all of it if the file has changed at its source.
fn resume(url: &str, part: &Path, validator: &Path) -> Result<()> {
    let mut have = part.metadata().map_or(0, |m| m.len());
    let known = std::fs::read_to_string(validator).unwrap_or_default();
    if known.is_empty() {
        have = 0;
    }
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build()
        .into();
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
        request = request.header(header::IF_RANGE, known.trim());
    }
    let response = request.call().with_context(|| format!("fetching {url}"))?;
    let total = match response.status().as_u16() {
        200 => {
            have = 0;
            number(&response, header::CONTENT_LENGTH)
        }
        206 => {
            let range = text(&response, header::CONTENT_RANGE).unwrap_or_default().to_owned();
            ensure!(
                range.starts_with(&format!("bytes {have}-")),
                "{url}: asked from byte {have}, got {range}"
            );
            range.rsplit('/').next().and_then(|total| total.parse().ok())
        }
        416 => {
            // The part is as long as the file or longer: whole, or of another file.
            let range = text(&response, header::CONTENT_RANGE).unwrap_or_default();
            if range == format!("bytes */{have}") {
                return Ok(());
            }
            std::fs::remove_file(part).with_context(|| format!("removing {}", part.display()))?;
            bail!("{url}: the file has changed, starting again");
        }
        status => bail!("{url}: HTTP status {status}"),
    };
    // Only a strong validator proves that the rest belongs to the start.
    let mark = text(&response, header::ETAG).filter(|etag| !etag.starts_with("W/"));
    let mark = mark.or_else(|| text(&response, header::LAST_MODIFIED)).unwrap_or_default();
    std::fs::write(validator, mark).with_context(|| format!("writing {}", validator.display()))?;
    write(response, part, have, total)
}

fn write(response: Response<Body>, part: &Path, have: u64, total: Option<u64>) -> Result<()> {
    let writing = || format!("writing {}", part.display());
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(have == 0)
        .open(part)
        .with_context(writing)?;
    file.set_len(have).with_context(writing)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(have)).with_context(writing)?;
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left")
        .expect("a valid template");
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style);
    bar.set_position(have);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut length = have;
    loop {
        let read = body
            .read(&mut buffer)
            .with_context(|| format!("the connection broke at byte {length}"))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).with_context(writing)?;
        length += read as u64;
        bar.set_position(length);
    }
    bar.finish_and_clear();
    if let Some(total) = total {
        ensure!(length == total, "the connection ended at byte {length} of {total}");
    }
    Ok(())
}

/// Compares the hash; a file with the wrong one is removed. Without a published hash it is printed.
fn check(path: &Path, sha256: Option<&str>) -> Result<()> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    std::io::copy(&mut file, &mut hash).with_context(|| format!("reading {}", path.display()))?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match sha256 {
        None => println!("sha256 {found} (its authors publish none to compare it with)"),
        Some(wanted) if wanted == found => println!("sha256 {found} is right"),
        Some(wanted) => {
            std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
            bail!("{}: sha256 is {found}, expected {wanted}; removed", path.display());
        }
    }
    Ok(())
}

fn text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn number(response: &Response<Body>, name: header::HeaderName) -> Option<u64> {
    text(response, name)?.parse().ok()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server of one file that breaks every answer off after `cut` bytes, and the ranges it was asked for.
    fn serve(
        content: Vec<u8>,
        etag: &'static str,
        cut: usize,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &content, etag, cut, &log);
            }
        });
        (url, asked)
    }

    fn answer(
        mut stream: TcpStream,
        content: &[u8],
        etag: &str,
        cut: usize,
        log: &Mutex<Vec<String>>,
    ) {
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
        let same = value("if-range:").is_none_or(|tag| tag == etag);
        let (head, body) = match start {
            Some(start) if same && start >= content.len() => {
                (format!("416 X\r\nContent-Range: bytes */{}", content.len()), &content[..0])
            }
            Some(start) if same => {
                let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
                (format!("206 X\r\nContent-Range: {range}"), &content[start..])
            }
            _ => ("200 X".to_owned(), content),
        };
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nETag: {etag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.write_all(&body[..cut.min(length)]);
    }

    fn content() -> Vec<u8> {
        (0..100_000u32).flat_map(|i| (i * 2_654_435_761).to_le_bytes()).collect()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_broken_connection_is_resumed() {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        let (url, asked) = serve(content.clone(), "\"one\"", 150_000);
        let path = folder.path().join("file.bin");
        fetch(&url, &path, Some(&sha256(&content))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content);
        assert_eq!(*asked.lock().unwrap(), ["all", "bytes=150000-", "bytes=300000-"]);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_run_that_gave_up_goes_on_in_the_next() {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        let path = folder.path().join("file.bin");
        let (url, _) = serve(content.clone(), "\"one\"", 60_000);
        let error = fetch(&url, &path, None).unwrap_err();
        assert!(error.to_string().contains("goes on where"), "{error}");
        assert!(!path.exists());
        let (url, asked) = serve(content.clone(), "\"one\"", usize::MAX);
        fetch(&url, &path, Some(&sha256(&content))).unwrap();
        assert_eq!(*asked.lock().unwrap(), ["bytes=300000-"]);
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_fetched_anew() {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        let path = folder.path().join("file.bin");
        std::fs::write(folder.path().join("file.bin.part"), b"old bytes").unwrap();
        std::fs::write(folder.path().join("file.bin.validator"), "\"old\"").unwrap();
        let (url, _) = serve(content.clone(), "\"new\"", usize::MAX);
        fetch(&url, &path, None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    #[test]
    fn a_part_that_is_whole_needs_nothing_more() {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        let path = folder.path().join("file.bin");
        std::fs::write(folder.path().join("file.bin.part"), &content).unwrap();
        std::fs::write(folder.path().join("file.bin.validator"), "\"one\"").unwrap();
        let (url, _) = serve(content.clone(), "\"one\"", usize::MAX);
        fetch(&url, &path, Some(&sha256(&content))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    #[test]
    fn a_wrong_hash_removes_the_file() {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        let (url, _) = serve(content, "\"one\"", usize::MAX);
        let path = folder.path().join("file.bin");
        let error = fetch(&url, &path, Some(&sha256(b"another"))).unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
        assert!(!path.exists() && !folder.path().join("file.bin.part").exists());
    }
}
