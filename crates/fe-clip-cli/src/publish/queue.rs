//! Results that wait for a target: bounded, the oldest give way.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Message;

/// A queue between the one who scores and the one who delivers.
pub(super) struct Queue {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Message>>,
    /// Whether one was taken and is not done.
    in_work: bool,
    closed: bool,
    tally: Tally,
}

/// What became of results.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    /// Gave way to newer ones.
    pub(super) dropped: u64,
    /// Were not taken, or not in time.
    pub(super) failed: u64,
}

/// What the one who delivers does next.
pub(super) enum Next {
    Message(Arc<Message>),
    /// There is nothing yet.
    Nothing,
    /// Nothing will come.
    End,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn push(&self, message: Arc<Message>) {
        let mut state = self.state();
        if state.waiting.len() == self.most {
            state.waiting.pop_front();
            state.tally.dropped += 1;
        }
        state.waiting.push_back(message);
        self.changed.notify_all();
    }

    /// Takes the oldest, waiting for one so long; [`done`](Self::done) says what became of it.
    pub(super) fn next(&self, wait: Duration) -> Next {
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waited = self.changed.wait_timeout_while(self.state(), wait, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(message) => {
                state.in_work = true;
                Next::Message(message)
            }
            None if state.closed => Next::End,
            None => Next::Nothing,
        }
    }

    pub(super) fn done(&self, delivered: bool) {
        let mut state = self.state();
        state.in_work = false;
        match delivered {
            true => state.tally.delivered += 1,
            false => state.tally.failed += 1,
        }
        self.changed.notify_all();
    }

    /// Nothing more will be pushed.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Waits until everything is done, at most until then; what is not has failed.
    pub(super) fn wait(&self, until: Instant) -> Tally {
        let wait = until.saturating_duration_since(Instant::now());
        let busy = |state: &mut State| state.in_work || !state.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(self.state(), wait, busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = state.waiting.len() as u64 + u64::from(state.in_work);
        Tally { failed: state.tally.failed + left, ..state.tally }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_what_is_left_has_failed() {
        let queue = Queue::new(3);
        for count in 1..=5 {
            queue.push(Arc::new(Message { json: String::new(), score: None, reject: true, count }));
        }
        let Next::Message(first) = queue.next(Duration::ZERO) else { panic!("expected a message") };
        assert_eq!(first.count, 3);
        queue.done(true);
        assert!(matches!(queue.next(Duration::ZERO), Next::Message(m) if m.count == 4));
        queue.close();
        let Tally { delivered, dropped, failed } = queue.wait(Instant::now());
        assert_eq!((delivered, dropped, failed), (1, 2, 2));
        queue.done(false);
        assert!(matches!(queue.next(Duration::ZERO), Next::Message(m) if m.count == 5));
        queue.done(true);
        assert!(matches!(queue.next(Duration::ZERO), Next::End));
    }

    #[test]
    fn an_open_queue_without_messages_has_nothing_yet() {
        assert!(matches!(Queue::new(1).next(Duration::from_millis(1)), Next::Nothing));
    }
}
