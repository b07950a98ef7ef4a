//! Frames between the one who reads and the one who scores.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bounded queue: its writer waits, or the oldest give way.
pub(super) struct Queue<T> {
    most: usize,
    /// Whether the oldest give way.
    drops: bool,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    dropped: u64,
}

/// What there is to take.
pub(crate) enum Taken<T> {
    /// All that waited, at least one.
    Some(Vec<T>),
    /// Nothing yet.
    Nothing,
    /// Nothing will come.
    End,
}

impl<T> Queue<T> {
    pub(super) fn new(most: usize, drops: bool) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false, dropped: 0 };
        Self { most, drops, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Puts one in; waits for room if none gives way. Returns whether anyone takes more.
    pub(super) fn push(&self, one: T) -> bool {
        let full =
            |state: &mut State<T>| !state.closed && !self.drops && state.waiting.len() >= self.most;
        let waited = self.changed.wait_while(self.state(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        if state.waiting.len() >= self.most {
            state.waiting.pop_front();
            state.dropped += 1;
        }
        state.waiting.push_back(one);
        self.changed.notify_all();
        true
    }

    /// Takes all that wait; waits for the first so long.
    pub(super) fn take(&self, wait: Duration) -> Taken<T> {
        let nothing = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let waited = self.changed.wait_timeout_while(self.state(), wait, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return if state.closed { Taken::End } else { Taken::Nothing };
        }
        let taken = state.waiting.drain(..).collect();
        self.changed.notify_all();
        Taken::Some(taken)
    }

    /// Nothing more is put in; what waits can be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits so long, or until it is closed.
    pub(super) fn wait_closed(&self, wait: Duration) {
        let open = |state: &mut State<T>| !state.closed;
        drop(self.changed.wait_timeout_while(self.state(), wait, open));
    }

    /// How many gave way.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &Queue<u32>) -> Option<Vec<u32>> {
        match queue.take(Duration::ZERO) {
            Taken::Some(taken) => Some(taken),
            Taken::Nothing => Some(Vec::new()),
            Taken::End => None,
        }
    }

    #[test]
    fn of_a_live_source_the_oldest_give_way() {
        let queue = Queue::new(2, true);
        assert_eq!(taken(&queue), Some(vec![]));
        assert!((0..5).all(|i| queue.push(i)));
        assert_eq!((taken(&queue), queue.dropped()), (Some(vec![3, 4]), 3));
        assert!(queue.push(5));
        queue.close();
        assert!(!queue.push(6));
        assert_eq!(taken(&queue), Some(vec![5]));
        assert_eq!(taken(&queue), None);
    }

    #[test]
    fn of_a_file_none_is_lost() {
        let queue = Queue::new(3, false);
        let mut found = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!((0..100).all(|i| queue.push(i)));
                queue.close();
            });
            while let Taken::Some(taken) = queue.take(Duration::from_secs(20)) {
                assert!(taken.len() <= 3);
                found.extend(taken);
            }
        });
        assert_eq!(found, (0..100).collect::<Vec<u32>>());
        assert_eq!(queue.dropped(), 0);
    }
}
