//! Delivering what waits in a queue, again and again where that may help.

use std::thread;
use std::time::Duration;

use super::message::{Message, random};
use super::queue::{Fate, Next, Queue};
use super::target::Target;
use super::{Deliver, Refusal};
use crate::talk;

/// How often a connection is looked after while there is nothing to send.
const IDLE: Duration = Duration::from_secs(5);
/// Before the second attempt for a result; each pause is twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest one when the run is over and a little is waited for what is left.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Attempts for a result that is kept nowhere.
const ATTEMPTS: u32 = 6;

/// Delivers until the queue is closed and empty. What is wrong is told when it begins and when it
/// is over. A queue on disk gives up no result that may be taken later.
pub(super) fn work(queue: &Queue, to: &mut dyn Deliver, target: &Target) {
    let mut wrong = false;
    to.idle();
    loop {
        let lost = |reason| talk::error(format_args!("--publish {target}: {reason}"));
        let taken = match queue.next(IDLE, lost) {
            Next::Message(taken) => taken,
            Next::Nothing => {
                to.idle();
                continue;
            }
            Next::End => return to.close(),
        };
        let fate = attempts(queue, to, &taken.message, |reason| {
            if !std::mem::replace(&mut wrong, true) {
                talk::warning(format_args!("--publish {target}: {reason}"));
            }
        });
        if fate == Fate::Delivered && std::mem::take(&mut wrong) {
            talk::note(format_args!("--publish {target}: results are taken again"));
        }
        if let Some(trouble) = queue.done(&taken, fate) {
            talk::warning(format_args!("--publish {target}: {trouble}"));
        }
    }
}

/// Tries until a result is taken, or there is no use in it.
fn attempts(
    queue: &Queue,
    to: &mut dyn Deliver,
    message: &Message,
    mut wrong: impl FnMut(String),
) -> Fate {
    for attempt in 1.. {
        let Err(Refusal { reason, again }) = to.deliver(message) else { return Fate::Delivered };
        wrong(reason);
        if !again || (attempt == ATTEMPTS && !queue.is_on_disk()) {
            break;
        }
        let wait = pause(attempt, random());
        if queue.pause(wait) {
            thread::sleep(wait.min(LAST_PAUSE));
        }
    }
    Fate::Failed
}

/// The pause after so many attempts: doubled, then up to a quarter shorter by chance, so that
/// many lines do not fall upon a broker at once that is there again.
fn pause(attempts: u32, chance: u64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE);
    whole - whole.mul_f64(0.25 * (chance as f64 / u64::MAX as f64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::queue::Tally;
    use super::super::spool::Spool;
    use super::*;

    /// A target that refuses as it is told, and remembers what it was given.
    struct Scripted {
        answers: Vec<Result<(), Refusal>>,
        given: Vec<u64>,
        closed: bool,
    }

    impl Scripted {
        /// The last of the answers comes first.
        fn new(answers: Vec<Result<(), Refusal>>) -> Self {
            Self { answers, given: Vec::new(), closed: false }
        }
    }

    impl Deliver for Scripted {
        fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
            self.given.push(message.count);
            self.answers.pop().unwrap_or(Ok(()))
        }

        fn close(&mut self) {
            self.closed = true;
        }
    }

    fn fill(queue: &Queue) {
        for count in 1..=3 {
            let (id, json) = (format!("a-{count}"), "{}".into());
            let message = Message { id, count, score: Some(0.5), reject: false, json };
            assert_eq!(queue.push(Arc::new(message)), None);
        }
        queue.close();
    }

    fn target() -> Target {
        "http://localhost/".parse().unwrap()
    }

    #[test]
    fn what_is_refused_for_now_is_sent_again_and_what_is_refused_for_good_is_not() {
        let mut to = Scripted::new(vec![
            Ok(()),
            Err(Refusal::for_good("no")),
            Err(Refusal::for_now("wait")),
        ]);
        let queue = Queue::new(8, None);
        fill(&queue);
        work(&queue, &mut to, &target());
        // The first is refused for now, then for good.
        assert_eq!(to.given, [1, 1, 2, 3]);
        assert!(to.closed);
        let tally = queue.wait(Instant::now());
        assert_eq!(tally, Tally { delivered: 2, dropped: 0, failed: 1, kept: 0 });
    }

    #[test]
    fn what_is_on_disk_is_never_given_up_and_what_is_not_is_after_some_attempts() {
        let refused = || (0..7).map(|_| Err(Refusal::for_now("wait"))).collect();
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned(), 1 << 20).unwrap();
        for (queue, given, failed) in [
            (Queue::new(8, None), vec![1, 1, 1, 1, 1, 1, 2, 2, 3], 1),
            (Queue::new(8, Some(spool)), vec![1, 1, 1, 1, 1, 1, 1, 1, 2, 3], 0),
        ] {
            let mut to = Scripted::new(refused());
            fill(&queue);
            work(&queue, &mut to, &target());
            assert_eq!(to.given, given);
            assert_eq!(queue.wait(Instant::now()).failed, failed);
        }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_differ_by_a_quarter() {
        let seconds = |attempts| pause(attempts, 0).as_secs_f64();
        assert_eq!([1, 2, 3, 7, 100].map(seconds), [0.5, 1.0, 2.0, 30.0, 30.0]);
        assert!((pause(2, u64::MAX).as_secs_f64() - 0.75).abs() < 1e-6);
    }
}
