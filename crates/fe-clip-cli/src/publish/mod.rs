//! `--publish`: results to where the plant wants them, beside the scoring and never in its way.

mod modbus;
mod mqtt;
mod queue;
mod target;
mod webhook;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::queue::{Next, Queue, Tally};
pub(crate) use self::target::Target;
use crate::lines::Line;
use crate::talk;

/// Results that wait for a target; further ones take the place of the oldest.
const WAITING: usize = 256;
/// Milliseconds between the attempts for one result.
const PAUSES: [u64; 5] = [500, 1000, 2000, 4000, 8000];
/// How long an attempt may take, and in the end all that still waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a connection is looked after while there is nothing to send.
const IDLE: Duration = Duration::from_secs(5);

/// Where results go beside standard output.
#[derive(clap::Args)]
pub(crate) struct PublishArgs {
    /// Also send each result to mqtt://HOST[:1883]/TOPIC or as a POST to http(s)://…, as JSON, or
    /// to modbus://HOST[:502]/[UNIT][?coil=N&register=N]: a coil that is set for what is not
    /// normal, registers with the score in thousandths and a counter. May be given several times.
    #[arg(long = "publish", value_name = "URL")]
    targets: Vec<Target>,
}

impl PublishArgs {
    /// Starts a thread for each target.
    ///
    /// # Errors
    /// If a target needs labels and nothing `labels` images, or the system gives no thread.
    pub(crate) fn start(&self, labels: bool) -> anyhow::Result<Publishers> {
        if let Some(target) = self.targets.iter().find(|target| target.needs_labels() && !labels) {
            bail!("--publish {target} needs --threshold or --calibration");
        }
        let running = self.targets.iter().map(Publisher::start).collect::<Result<_, _>>();
        Ok(Publishers(running.context("--publish")?))
    }
}

/// A result on its way.
pub(crate) struct Message {
    /// As a line of JSON, without its end.
    json: String,
    /// In [0, 1]; absent where there is none.
    score: Option<f64>,
    /// Whether it is anything but a normal image.
    reject: bool,
    /// Which result of the run it is, counted from 1.
    count: u64,
}

impl Message {
    fn new(line: &Line<'_>, count: u64) -> anyhow::Result<Self> {
        let json = serde_json::to_string(line).context("encoding a result")?;
        let (score, reject) = match line {
            Line::Found(found) => (Some(found.score), found.label == Some("anomalous")),
            Line::Failed { .. } => (None, true),
        };
        Ok(Self { json, score, reject, count })
    }
}

/// Why a target did not take a result.
#[derive(Debug)]
struct Refusal {
    reason: String,
    /// Whether it may take it a little later.
    again: bool,
}

impl Refusal {
    fn for_now(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), again: true }
    }

    fn for_good(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), again: false }
    }
}

/// What takes results.
trait Deliver {
    /// Sends a result and waits, at most [`PATIENCE`] or little more, until it has arrived.
    fn deliver(&mut self, message: &Message) -> Result<(), Refusal>;

    /// Looks after the connection while there is nothing to send.
    fn idle(&mut self) {}
}

/// The running targets of a run.
pub(crate) struct Publishers(Vec<Publisher>);

impl Publishers {
    /// Hands on the result that is the `count`-th of the run; never waits.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn send(&self, line: &Line<'_>, count: usize) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let message = Arc::new(Message::new(line, count as u64)?);
        for publisher in &self.0 {
            publisher.queue.push(message.clone());
        }
        Ok(())
    }

    /// Waits a little for what is still on its way, and tells what did not arrive. Returns whether
    /// all did.
    pub(crate) fn finish(self) -> bool {
        let until = Instant::now() + PATIENCE;
        for publisher in &self.0 {
            publisher.queue.close();
        }
        let arrived = self.0.iter().map(|publisher| {
            let Tally { delivered, dropped, failed } = publisher.queue.wait(until);
            let counts = format!(
                "--publish {}: {delivered} results delivered, {dropped} dropped, {failed} failed",
                publisher.target
            );
            match dropped + failed {
                0 => talk::detail(counts),
                _ => talk::warning(counts),
            }
            dropped + failed == 0
        });
        arrived.fold(true, |all, one| all & one)
    }
}

/// A target with its queue; its thread ends some time after the queue is closed.
struct Publisher {
    target: Target,
    queue: Arc<Queue>,
}

impl Publisher {
    fn start(target: &Target) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(WAITING));
        let (theirs, of_thread) = (queue.clone(), target.clone());
        thread::Builder::new()
            .name("publish".into())
            .spawn(move || work(&theirs, &mut *of_thread.open(), &of_thread))?;
        Ok(Self { target: target.clone(), queue })
    }
}

/// Delivers until the queue is closed and empty. What is wrong is told when it begins and when it
/// is over.
fn work(queue: &Queue, to: &mut dyn Deliver, target: &Target) {
    let mut wrong = false;
    loop {
        let message = match queue.next(IDLE) {
            Next::Message(message) => message,
            Next::Nothing => {
                to.idle();
                continue;
            }
            Next::End => return,
        };
        let mut pauses = PAUSES.iter();
        let delivered = loop {
            let Err(Refusal { reason, again }) = to.deliver(&message) else { break true };
            if !wrong {
                talk::warning(format_args!("--publish {target}: {reason}"));
                wrong = true;
            }
            match pauses.next() {
                Some(&pause) if again => thread::sleep(Duration::from_millis(pause)),
                _ => break false,
            }
        };
        if delivered && wrong {
            talk::note(format_args!("--publish {target}: results are taken again"));
            wrong = false;
        }
        queue.done(delivered);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    /// A target that refuses as it is told, and remembers what it was given.
    struct Scripted {
        answers: Mutex<Vec<Result<(), Refusal>>>,
        given: mpsc::Sender<u64>,
    }

    impl Deliver for Scripted {
        fn deliver(&mut self, message: &Message) -> Result<(), Refusal> {
            self.given.send(message.count).unwrap();
            self.answers.lock().unwrap().pop().unwrap_or(Ok(()))
        }
    }

    fn message(count: u64) -> Arc<Message> {
        Arc::new(Message { json: "{}".into(), score: Some(0.5), reject: false, count })
    }

    #[test]
    fn what_is_refused_for_now_is_sent_again_and_what_is_refused_for_good_is_not() {
        let (given, counts) = mpsc::channel();
        let answers = vec![Ok(()), Err(Refusal::for_good("no")), Err(Refusal::for_now("wait"))];
        let mut target = Scripted { answers: Mutex::new(answers), given };
        let queue = Queue::new(8);
        (1..=3).for_each(|count| queue.push(message(count)));
        queue.close();
        work(&queue, &mut target, &"http://localhost/".parse().unwrap());
        // The first is refused for now, then for good.
        assert_eq!(counts.try_iter().collect::<Vec<_>>(), [1, 1, 2, 3]);
        let Tally { delivered, dropped, failed } = queue.wait(Instant::now());
        assert_eq!((delivered, dropped, failed), (2, 0, 1));
    }

    #[test]
    fn a_failed_image_is_rejected_and_has_no_score() {
        let line = Line::Failed { path: "a.png", error: "a.png: damaged", moment: None };
        let Message { json, score, reject, count } = Message::new(&line, 7).unwrap();
        assert_eq!((score, reject, count), (None, true, 7));
        assert_eq!(json, r#"{"path":"a.png","error":"a.png: damaged"}"#);
    }
}
