//! Results that wait on disk, a file each: they outlive this program.
//!
//! A file is named by its number, in the order in which results were found, and appears under that
//! name when it is complete. What was taken by the target is removed.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::message::Message;

/// What file systems give a file at least; a result is smaller.
const BLOCK: u64 = 4096;
/// Names of files that are not complete end so.
const INCOMPLETE: &str = "part";
/// Where results lie that a target refused for good.
const REFUSED: &str = "refused";

/// The folder of a target.
pub(super) struct Spool {
    folder: PathBuf,
    /// Most that may lie there, in bytes.
    limit: u64,
    /// What lies there.
    bytes: u64,
    /// Number of the next result.
    next: u64,
    refused: VecDeque<Entry>,
    /// Held as long as this program writes there.
    _lock: File,
}

/// A result that lies there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    number: u64,
    bytes: u64,
}

impl Spool {
    /// Opens a folder, or makes it; with what waits there, the oldest first.
    ///
    /// # Errors
    /// If it cannot be read or written, or another program writes there.
    pub(super) fn open(folder: PathBuf, limit: u64) -> anyhow::Result<(Self, VecDeque<Entry>)> {
        let named = || format!("--spool: {}", folder.display());
        fs::create_dir_all(folder.join(REFUSED)).with_context(named)?;
        let lock = File::create(folder.join("lock")).with_context(named)?;
        lock.try_lock()
            .map_err(|error| match error {
                TryLockError::WouldBlock => anyhow!("another fe-clip sends what waits there"),
                TryLockError::Error(error) => error.into(),
            })
            .with_context(named)?;
        let waiting = entries(&folder).with_context(named)?;
        let refused = entries(&folder.join(REFUSED)).with_context(named)?;
        let all = || waiting.iter().chain(&refused);
        let bytes = all().map(|entry| entry.bytes).sum();
        let next = all().map(|entry| entry.number + 1).max().unwrap_or(1);
        Ok((Self { folder, limit, bytes, next, refused, _lock: lock }, waiting))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether more lies there, or would with so many bytes, than may.
    pub(super) fn is_over(&self, more: u64) -> bool {
        self.bytes + more > self.limit
    }

    /// What a result takes.
    ///
    /// # Errors
    /// If it is larger than all that may lie there.
    pub(super) fn encode(&self, message: &Message) -> io::Result<(Vec<u8>, u64)> {
        let text = serde_json::to_vec(message)?;
        let bytes = blocks(text.len() as u64);
        if bytes > self.limit {
            return Err(io::Error::other("the result is larger than --spool-limit"));
        }
        Ok((text, bytes))
    }

    /// Adds a result as [`encode`](Self::encode) has it.
    ///
    /// # Errors
    /// If the system refuses the file.
    pub(super) fn add(&mut self, (text, bytes): (Vec<u8>, u64)) -> io::Result<Entry> {
        let entry = Entry { number: self.next, bytes };
        let path = self.path(entry);
        let incomplete = path.with_extension(INCOMPLETE);
        let written = fs::write(&incomplete, text).and_then(|()| fs::rename(&incomplete, &path));
        if written.is_err() {
            // A disk that is full has a part of it.
            let _ = fs::remove_file(&incomplete);
        }
        written?;
        self.next += 1;
        self.bytes += bytes;
        Ok(entry)
    }

    /// # Errors
    /// If the file is gone, or none of a result, as after a loss of power.
    pub(super) fn read(&self, entry: Entry) -> anyhow::Result<Message> {
        let path = self.path(entry);
        let read = || Ok::<_, anyhow::Error>(serde_json::from_slice(&fs::read(&path)?)?);
        read().with_context(|| path.display().to_string())
    }

    /// # Errors
    /// If the system does not let the file be removed: it will be sent again.
    pub(super) fn remove(&mut self, entry: Entry) -> anyhow::Result<()> {
        self.bytes -= entry.bytes;
        remove(&self.path(entry))
    }

    /// Puts a result aside that the target does not want.
    ///
    /// # Errors
    /// If the system does not let the file be moved: it will be sent again.
    pub(super) fn refuse(&mut self, entry: Entry) -> anyhow::Result<()> {
        let path = self.path(entry);
        let aside = self.folder.join(REFUSED).join(name(entry));
        fs::rename(&path, aside).with_context(|| path.display().to_string())?;
        self.refused.push_back(entry);
        Ok(())
    }

    /// Makes room by the oldest of what was put aside; false if there is nothing.
    pub(super) fn forget_refused(&mut self) -> bool {
        let Some(entry) = self.refused.pop_front() else { return false };
        self.bytes -= entry.bytes;
        // What stays counts again at the next start.
        let _ = fs::remove_file(self.folder.join(REFUSED).join(name(entry)));
        true
    }

    fn path(&self, entry: Entry) -> PathBuf {
        self.folder.join(name(entry))
    }
}

fn name(entry: Entry) -> String {
    format!("{:012}.json", entry.number)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| path.display().to_string()),
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK)
}

/// The results in a folder, in order; what was not complete is removed.
fn entries(folder: &Path) -> io::Result<VecDeque<Entry>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let path = file.path();
        if path.extension().is_some_and(|extension| extension == INCOMPLETE) {
            fs::remove_file(&path)?;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|e| e == "json")) {
            found.push(Entry { number, bytes: blocks(file.metadata()?.len()) });
        }
    }
    found.sort_by_key(|entry| entry.number);
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(count: u64) -> Message {
        let (id, json) = (format!("a-{count}"), format!("{{\"count\":{count}}}"));
        Message { id, count, score: Some(0.5), reject: false, json }
    }

    fn add(spool: &mut Spool, count: u64) -> Entry {
        let encoded = spool.encode(&message(count)).unwrap();
        spool.add(encoded).unwrap()
    }

    #[test]
    fn what_waits_is_found_again_in_order_and_what_is_not_complete_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, waiting) = Spool::open(folder.path().join("a"), 1 << 20).unwrap();
        assert!(waiting.is_empty());
        let entries = [1, 2, 3, 4].map(|count| add(&mut spool, count));
        spool.remove(entries[1]).unwrap();
        spool.refuse(entries[2]).unwrap();
        let error = Spool::open(folder.path().join("a"), 1 << 20).err().unwrap();
        assert!(format!("{error:#}").contains("another fe-clip"), "{error:#}");
        drop(spool);
        fs::write(folder.path().join("a/000000000009.part"), "{\"id\":").unwrap();
        let (mut spool, waiting) = Spool::open(folder.path().join("a"), 1 << 20).unwrap();
        assert_eq!(waiting, [entries[0], entries[3]]);
        assert_eq!(spool.read(waiting[1]).unwrap(), message(4));
        assert!(!folder.path().join("a/000000000009.part").exists());
        // Numbers go on, so that the order stays.
        assert_eq!(add(&mut spool, 5).number, 5);
    }

    #[test]
    fn what_lies_there_is_counted_in_blocks_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path().to_owned(), 2 * BLOCK).unwrap();
        let first = add(&mut spool, 1);
        assert!(!spool.is_over(BLOCK) && spool.is_over(BLOCK + 1));
        spool.refuse(first).unwrap();
        add(&mut spool, 2);
        assert!(spool.is_over(1));
        assert!(spool.forget_refused() && !spool.forget_refused());
        assert!(!spool.is_over(BLOCK));
        let large = Message { json: "x".repeat(9000), ..message(3) };
        assert!(spool.encode(&large).unwrap_err().to_string().contains("--spool-limit"));
        let third = add(&mut spool, 3);
        fs::write(spool.path(third), "").unwrap();
        let error = format!("{:#}", spool.read(third).unwrap_err());
        assert!(error.contains("000000000003.json"), "{error}");
    }
}
