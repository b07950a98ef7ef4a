//! Results that wait for a target: bounded, the oldest give way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::Message;
use super::spool::{Entry, Spool};

/// A queue between the one who scores and the one who delivers.
pub(super) struct Queue {
    /// How many may wait in memory.
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// How many of these are in memory.
    in_memory: usize,
    /// Whether one was taken and is not done, and if so, whether it lies on disk.
    in_work: Option<bool>,
    closed: bool,
    tally: Tally,
    spool: Option<Spool>,
    trouble: Trouble,
}

/// What of the spool was told and is not over.
#[derive(Default)]
struct Trouble {
    /// It takes no files.
    broken: bool,
    /// It is full.
    full: bool,
}

/// Where a result waits.
enum Waiting {
    Memory(Arc<Message>),
    Disk(Entry),
}

/// A result that is being delivered.
pub(super) struct Taken {
    pub(super) message: Arc<Message>,
    entry: Option<Entry>,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    /// It was not taken, now or ever.
    Failed,
}

/// What became of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    /// Gave way to newer ones.
    pub(super) dropped: u64,
    /// Were not taken, or not in time.
    pub(super) failed: u64,
    /// Wait on disk for another run.
    pub(super) kept: u64,
}

/// What the one who delivers does next.
pub(super) enum Next {
    Message(Taken),
    /// There is nothing yet.
    Nothing,
    /// Nothing will come.
    End,
}

impl Queue {
    pub(super) fn new(most: usize, spool: Option<(Spool, VecDeque<Entry>)>) -> Self {
        let (spool, waiting) = spool.unzip();
        let waiting = waiting.unwrap_or_default().into_iter().map(Waiting::Disk).collect();
        let state = State { waiting, spool, ..State::default() };
        Self { most, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a result, on disk where there is a spool; returns what is to be told of that.
    pub(super) fn push(&self, message: Arc<Message>) -> Option<String> {
        let mut state = self.state();
        let (waiting, told) = state.place(message);
        if let Waiting::Memory(_) = waiting {
            if state.in_memory == self.most {
                state.drop_from_memory();
            }
            state.in_memory += 1;
        }
        state.waiting.push_back(waiting);
        self.changed.notify_all();
        told
    }

    /// Takes the oldest, waiting for one so long; [`done`](Self::done) says what became of it.
    /// Those that cannot be read any more have failed, for reasons that `lost` is given.
    pub(super) fn next(&self, wait: Duration, mut lost: impl FnMut(String)) -> Next {
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waited = self.changed.wait_timeout_while(self.state(), wait, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        while let Some(waiting) = state.waiting.pop_front() {
            match state.take(waiting) {
                Ok(taken) => {
                    state.in_work = Some(taken.entry.is_some());
                    return Next::Message(taken);
                }
                Err(error) => {
                    state.tally.failed += 1;
                    lost(error);
                }
            }
        }
        if state.closed { Next::End } else { Next::Nothing }
    }

    /// Says what became of a result; returns what is to be told of its file.
    pub(super) fn done(&self, taken: &Taken, fate: Fate) -> Option<String> {
        let mut state = self.state();
        state.in_work = None;
        if state.waiting.is_empty() {
            state.trouble.full = false;
        }
        match fate {
            Fate::Delivered => state.tally.delivered += 1,
            Fate::Failed => state.tally.failed += 1,
        }
        self.changed.notify_all();
        let (entry, spool) = (taken.entry?, state.spool.as_mut()?);
        let moved = match fate {
            Fate::Delivered => spool.remove(entry),
            Fate::Failed => spool.refuse(entry),
        };
        moved.err().map(|error| format!("{error:#}; the result will be sent again"))
    }

    /// Whether results wait on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.state().spool.is_some()
    }

    /// Waits so long, or until nothing more will be pushed; returns whether that is so.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let open = |state: &mut State| !state.closed;
        let waited = self.changed.wait_timeout_while(self.state(), wait, open);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Nothing more will be pushed.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Waits until everything is done, at most until then; what is not waits on, on disk, or has
    /// failed.
    pub(super) fn wait(&self, until: Instant) -> Tally {
        let wait = until.saturating_duration_since(Instant::now());
        let busy = |state: &mut State| state.in_work.is_some() || !state.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(self.state(), wait, busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let places = state.waiting.iter().map(|waiting| matches!(waiting, Waiting::Disk(_)));
        let mut tally = state.tally;
        for on_disk in places.chain(state.in_work) {
            match on_disk {
                true => tally.kept += 1,
                false => tally.failed += 1,
            }
        }
        tally
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where a result waits, and what is to be told of that.
    fn place(&mut self, message: Arc<Message>) -> (Waiting, Option<String>) {
        if self.spool.is_none() {
            return (Waiting::Memory(message), None);
        }
        let full = self.trouble.full;
        let folder = self.spool.as_ref().map(|spool| spool.folder().display().to_string());
        let folder = folder.unwrap_or_default();
        match self.keep(&message) {
            Err(error) => {
                let news = !std::mem::replace(&mut self.trouble.broken, true);
                let words = || format!("{folder}: {error}; results wait in memory");
                (Waiting::Memory(message), news.then(words))
            }
            Ok(entry) => {
                let over = std::mem::take(&mut self.trouble.broken);
                let over = over.then(|| format!("{folder}: results wait on disk again"));
                let dropped = (self.trouble.full && !full).then(|| {
                    format!("{folder}: --spool-limit is reached; the oldest results are dropped")
                });
                (Waiting::Disk(entry), over.or(dropped))
            }
        }
    }

    /// Puts a result on disk; the oldest there give way.
    fn keep(&mut self, message: &Message) -> io::Result<Entry> {
        let Self { spool: Some(spool), waiting, tally, trouble, .. } = self else {
            return Err(io::Error::other("there is no spool"));
        };
        let encoded = spool.encode(message)?;
        while spool.is_over(encoded.1) {
            if spool.forget_refused() {
                continue;
            }
            let oldest = waiting.iter().position(|waiting| matches!(waiting, Waiting::Disk(_)));
            let Some(Waiting::Disk(oldest)) = oldest.and_then(|at| waiting.remove(at)) else {
                return Err(io::Error::other("--spool-limit is reached"));
            };
            // What cannot be removed is sent, in the next run.
            let _ = spool.remove(oldest);
            tally.dropped += 1;
            trouble.full = true;
        }
        spool.add(encoded)
    }

    fn drop_from_memory(&mut self) {
        let oldest = self.waiting.iter().position(|w| matches!(w, Waiting::Memory(_)));
        if oldest.and_then(|at| self.waiting.remove(at)).is_some() {
            self.in_memory -= 1;
            self.tally.dropped += 1;
        }
    }

    /// Reads what is to be delivered; what cannot be read is put aside.
    fn take(&mut self, waiting: Waiting) -> Result<Taken, String> {
        let entry = match waiting {
            Waiting::Memory(message) => {
                self.in_memory -= 1;
                return Ok(Taken { message, entry: None });
            }
            Waiting::Disk(entry) => entry,
        };
        let Some(spool) = &mut self.spool else { return Err("there is no spool".into()) };
        match spool.read(entry) {
            Ok(message) => Ok(Taken { message: Arc::new(message), entry: Some(entry) }),
            Err(error) => {
                // If it is gone there is nothing to put aside.
                let _ = spool.refuse(entry);
                Err(format!("{error:#}; a result is lost"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn message(count: u64) -> Arc<Message> {
        let (id, json) = (format!("a-{count}"), "{}".into());
        Arc::new(Message { id, count, score: None, reject: true, json })
    }

    fn taken(queue: &Queue) -> Taken {
        match queue.next(Duration::ZERO, |reason| panic!("{reason}")) {
            Next::Message(taken) => taken,
            Next::Nothing | Next::End => panic!("expected a message"),
        }
    }

    fn on_disk(folder: &Path, limit: u64) -> Queue {
        Queue::new(2, Some(Spool::open(folder.to_owned(), limit).unwrap()))
    }

    #[test]
    fn the_oldest_give_way_and_what_is_left_has_failed() {
        let queue = Queue::new(3, None);
        for count in 1..=5 {
            assert_eq!(queue.push(message(count)), None);
        }
        let first = taken(&queue);
        assert_eq!(first.message.count, 3);
        queue.done(&first, Fate::Delivered);
        let second = taken(&queue);
        assert_eq!(second.message.count, 4);
        queue.close();
        let tally = queue.wait(Instant::now());
        assert_eq!(tally, Tally { delivered: 1, dropped: 2, failed: 2, kept: 0 });
        queue.done(&second, Fate::Failed);
        queue.done(&taken(&queue), Fate::Delivered);
        assert!(matches!(queue.next(Duration::ZERO, |_| ()), Next::End));
    }

    #[test]
    fn an_open_queue_without_messages_has_nothing_yet() {
        let queue = Queue::new(1, None);
        assert!(matches!(queue.next(Duration::from_millis(1), |_| ()), Next::Nothing));
        assert!(!queue.pause(Duration::from_millis(1)));
        queue.close();
        assert!(queue.pause(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_on_disk_waits_for_the_next_run_without_what_was_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let queue = on_disk(folder.path(), 1 << 20);
        (1..=5).for_each(|count| assert_eq!(queue.push(message(count)), None));
        queue.done(&taken(&queue), Fate::Delivered);
        queue.done(&taken(&queue), Fate::Failed);
        let third = taken(&queue);
        let tally = queue.wait(Instant::now());
        assert_eq!(tally, Tally { delivered: 1, dropped: 0, failed: 1, kept: 3 });
        // Killed while the third was on its way.
        drop((queue, third));
        let queue = on_disk(folder.path(), 1 << 20);
        assert_eq!(queue.push(message(6)), None);
        let order: Vec<Arc<Message>> = (0..4)
            .map(|_| {
                let taken = taken(&queue);
                queue.done(&taken, Fate::Delivered);
                taken.message
            })
            .collect();
        assert_eq!(order, [3, 4, 5, 6].map(message));
        assert_eq!(queue.wait(Instant::now()).kept, 0);
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_says_so_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = on_disk(folder.path(), 2 * 4096);
        let told: Vec<String> = (1..=4).filter_map(|count| queue.push(message(count))).collect();
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(told.contains("--spool-limit is reached; the oldest"), "{told}");
        let first = taken(&queue);
        assert_eq!(first.message.count, 3);
        queue.done(&first, Fate::Delivered);
        assert_eq!(taken(&queue).message.count, 4);
        let tally = queue.wait(Instant::now());
        assert_eq!(tally, Tally { delivered: 1, dropped: 2, failed: 0, kept: 1 });
    }

    /// As on a full disk: the folder is gone.
    #[test]
    fn a_spool_that_takes_nothing_is_told_once_and_memory_has_the_results() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let queue = on_disk(&spool, 1 << 20);
        queue.push(message(1));
        let first = taken(&queue);
        std::fs::remove_dir_all(&spool).unwrap();
        let told: Vec<String> = (2..=5).filter_map(|count| queue.push(message(count))).collect();
        let [broken] = &told[..] else { panic!("{told:?}") };
        assert!(broken.contains("results wait in memory"), "{broken}");
        queue.done(&first, Fate::Delivered);
        std::fs::create_dir_all(&spool).unwrap();
        let told = queue.push(message(6)).unwrap();
        assert!(told.contains("on disk again"), "{told}");
        // Two have a place in memory.
        let counts = [4, 5, 6].map(|_| {
            let taken = taken(&queue);
            queue.done(&taken, Fate::Delivered);
            taken.message.count
        });
        assert_eq!(counts, [4, 5, 6]);
        assert_eq!(queue.wait(Instant::now()).dropped, 2);
    }

    #[test]
    fn a_damaged_file_costs_no_other_result() {
        let folder = tempfile::tempdir().unwrap();
        let queue = on_disk(folder.path(), 1 << 20);
        (1..=2).for_each(|count| assert_eq!(queue.push(message(count)), None));
        std::fs::write(folder.path().join("000000000001.json"), "").unwrap();
        let mut lost = Vec::new();
        let next = queue.next(Duration::ZERO, |reason| lost.push(reason));
        assert!(matches!(next, Next::Message(taken) if taken.message.count == 2));
        assert!(lost[0].contains("000000000001.json"), "{lost:?}");
        assert!(folder.path().join("refused/000000000001.json").exists());
    }
}
