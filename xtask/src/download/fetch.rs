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
/// More than `most` bytes are refused, whatever was announced.
pub(super) fn fetch(url: &str, path: &Path, sha256: Option<&str>, most: u64) -> Result<()> {
    if !path.exists() {
        let (part, validator) = (beside(path, "part"), beside(path, "validator"));
        let mut attempt = 1;
        while let Err(error) = resume(url, &part, &validator, most) {
            if error.is::<TooLarge>() {
                discard([&part, &validator]);
                return Err(error.context(url.to_owned()));
            }
            eprintln!("attempt {attempt} of {ATTEMPTS}: {error:#}");
            ensure!(
                attempt < ATTEMPTS,
                "{url}: given up; the next run goes on where this one stopped"
            );
            attempt += 1;
        }
        if let Err(error) = check(&part, sha256) {
            discard([&part, &validator]);
            return Err(error.context("what was fetched is thrown away"));
        }
        std::fs::rename(&part, path).with_context(|| format!("renaming {}", part.display()))?;
        discard([&validator]);
        return Ok(());
    }
    println!("{} is there", path.display());
    check(path, sha256)
}

/// Removes what may be there; what stays is litter at worst.
fn discard<const N: usize>(files: [&Path; N]) {
    for file in files {
        let _ = std::fs::remove_file(file);
    }
}

/// Trying again does not help.
#[derive(Debug)]
struct TooLarge(u64);

impl std::error::Error for TooLarge {}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {} bytes", self.0)
    }
}

/// One connection: fetches the rest of `part`, or all of it if the file has changed at its source.
fn resume(url: &str, part: &Path, validator: &Path, most: u64) -> Result<()> {
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
    ensure!(total.is_none_or(|total| total <= most), TooLarge(most));
    write(response, part, have, total, most)
}

fn write(
    response: Response<Body>,
    part: &Path,
    have: u64,
    total: Option<u64>,
    most: u64,
) -> Result<()> {
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
        length += read as u64;
        ensure!(length <= most, TooLarge(most));
        file.write_all(&buffer[..read]).with_context(writing)?;
        bar.set_position(length);
    }
    bar.finish_and_clear();
    if let Some(total) = total {
        ensure!(length == total, "the connection ended at byte {length} of {total}");
    }
    Ok(())
}

/// Compares the hash; without one to compare with it is printed.
pub(super) fn check(path: &Path, sha256: Option<&str>) -> Result<()> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    std::io::copy(&mut file, &mut hash).with_context(|| format!("reading {}", path.display()))?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    match sha256 {
        None => println!("sha256 {found} (its authors publish none to compare it with)"),
        Some(wanted) if wanted.eq_ignore_ascii_case(&found) => println!("sha256 {found} is right"),
        Some(wanted) => bail!("{}: sha256 is {found}, expected {wanted}", path.display()),
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
