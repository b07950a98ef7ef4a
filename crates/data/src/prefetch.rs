//! Parallel work ahead of its consumer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The results of [`prefetch`], in the order of the items.
#[derive(Debug)]
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
    total: usize,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    ahead: usize,
}

#[derive(Debug)]
struct State<T> {
    /// The next item to work on.
    next: usize,
    /// The next result to hand out.
    due: usize,
    ready: BTreeMap<usize, std::thread::Result<T>>,
    stopped: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A worker's panic is caught and handed out, so no lock is poisoned by a half-done change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Maps items with `threads` threads; at most `ahead` results wait or are being made, so memory is bounded.
///
/// Results come in the order of the items, one an item: let `work` return a `Result` and one bad image does not stop
/// the rest. Dropping the iterator stops the threads after the item each is at.
///
/// ```
/// let lengths: Vec<usize> = data::prefetch(vec!["a", "bcd", "ef"], 2, 4, |word| word.len()).collect();
/// assert_eq!(lengths, [1, 3, 2]);
/// ```
///
/// # Panics
/// If `threads` or `ahead` is zero. A panic of `work` is passed on where its result is due.
pub fn prefetch<I, T>(
    items: Vec<I>,
    threads: usize,
    ahead: usize,
    work: impl Fn(&I) -> T + Send + Sync + 'static,
) -> Prefetch<T>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
{
    assert!(threads > 0 && ahead > 0, "prefetch: expected at least 1 thread and 1 result ahead");
    let total = items.len();
    let state = State { next: 0, due: 0, ready: BTreeMap::new(), stopped: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), ahead });
    let job = Arc::new((items, work));
    let worker = |_| {
        let (shared, job) = (Arc::clone(&shared), Arc::clone(&job));
        std::thread::spawn(move || run(&shared, &job.0, &job.1))
    };
    let workers = (0..threads.min(total)).map(worker).collect();
    Prefetch { shared, workers, total }
}

fn run<I, T>(shared: &Shared<T>, items: &[I], work: &impl Fn(&I) -> T) {
    loop {
        let mut state = shared.lock();
        while !state.stopped && state.next < items.len() && state.next >= state.due + shared.ahead {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.next >= items.len() {
            return;
        }
        let index = state.next;
        state.next += 1;
        drop(state);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&items[index])));
        shared.lock().ready.insert(index, result);
        shared.changed.notify_all();
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        let due = state.due;
        if due >= self.total {
            return None;
        }
        let result = loop {
            if let Some(result) = state.ready.remove(&due) {
                break result;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.due += 1;
        drop(state);
        self.shared.changed.notify_all();
        Some(result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.total - self.shared.lock().due;
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Prefetch<T> {}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Panics of `work` are caught inside, there is nothing else to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn keeps_the_order_whatever_finishes_first() {
        let work = |&i: &u64| {
            std::thread::sleep(Duration::from_micros(i * 7919 % 500));
            i
        };
        let results: Vec<u64> = prefetch((0..200).collect(), 4, 8, work).collect();
        assert_eq!(results, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn never_runs_further_ahead_than_asked() {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&started);
        let results = prefetch((0..100).collect(), 3, 5, move |&i: &usize| {
            counter.fetch_add(1, Ordering::SeqCst);
            i
        });
        for (taken, _) in results.enumerate() {
            std::thread::sleep(Duration::from_micros(200));
            let started = started.load(Ordering::SeqCst);
            assert!(started <= taken + 1 + 5, "{started} started when {} were taken", taken + 1);
        }
    }

    #[test]
    fn hands_a_panic_out_where_it_is_due_and_goes_on() {
        let mut results = prefetch(vec![1, 0, 2], 2, 2, |&i: &i32| 10 / i);
        assert_eq!(results.next(), Some(10));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
        assert!(panic.is_err());
        assert_eq!(results.next(), Some(5));
        assert_eq!(results.next(), None);
    }

    #[test]
    fn stops_when_dropped() {
        let mut results = prefetch((0..1_000_000).collect(), 2, 3, |&i: &u32| i);
        assert_eq!(results.len(), 1_000_000);
        assert_eq!(results.next(), Some(0));
        drop(results);
    }

    #[test]
    fn of_nothing_is_nothing() {
        assert_eq!(prefetch(Vec::<u8>::new(), 2, 2, |&i| i).next(), None);
    }
}
