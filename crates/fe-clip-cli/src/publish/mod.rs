//! `--publish`: results to where the plant wants them, beside the scoring and never in its way.

mod message;
mod modbus;
mod mqtt;
mod queue;
mod security;
mod signature;
mod spool;
mod target;
mod webhook;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::message::{Message, Run};
use self::queue::{Queue, Tally};
use self::security::{Security, SecurityArgs};
use self::spool::Spool;
pub(crate) use self::target::Target;
use self::work::work;
use crate::lines::Line;
use crate::talk;

/// Results that wait in memory for a target; further ones take the place of the oldest.
const WAITING: usize = 256;
/// How long an attempt may take, and in the end all that still waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long targets that have got everything may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where results go beside standard output.
#[derive(clap::Args)]
pub(crate) struct PublishArgs {
    /// Also send each result to mqtt(s)://HOST[:PORT]/TOPIC or as a POST to http(s)://…, as JSON,
    /// or to modbus://HOST[:502]/[UNIT][?coil=N&register=N]: a coil that is set for what is not
    /// normal, registers with the score in thousandths and a counter. May be given several times.
    #[arg(long = "publish", value_name = "URL")]
    targets: Vec<Target>,
    /// Keep results on disk until mqtt and http targets have them, also for the next run.
    #[arg(long, value_name = "DIR", requires = "targets")]
    spool: Option<PathBuf>,
    /// Most that --spool keeps for one target; the oldest results give way.
    #[arg(long, value_name = "MIB", requires = "spool", default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..1 << 30))]
    spool_limit: u64,
    #[command(flatten)]
    security: SecurityArgs,
}

impl PublishArgs {
    /// Starts a thread for each target.
    ///
    /// # Errors
    /// If a target needs labels and nothing `labels` images, a file that a flag names is of no
    /// use, the spool is, or the system gives no thread.
    pub(crate) fn start(&self, labels: bool) -> anyhow::Result<Publishers> {
        if let Some(target) = self.targets.iter().find(|target| target.needs_labels() && !labels) {
            bail!("--publish {target} needs --threshold or --calibration");
        }
        if self.spool.is_some() && !self.targets.iter().any(Target::takes_what_waited) {
            bail!("--spool: controllers are told what is now, and nothing waits for them");
        }
        let security = match self.targets[..] {
            [] => Security::default(),
            _ => self.security.read()?,
        };
        let start = |target| self.start_one(target, &security);
        let running = self.targets.iter().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Publishers { run: Run::new(), running })
    }

    fn start_one(&self, target: &Target, security: &Security) -> anyhow::Result<Publisher> {
        let named = || format!("--publish {target}");
        let mut to = target.open(security).with_context(named)?;
        let spool = match &self.spool {
            Some(folder) if target.takes_what_waited() => {
                Some(Spool::open(folder.join(target.folder()), self.spool_limit << 20)?)
            }
            _ => None,
        };
        if let Some((_, waiting)) = spool.as_ref().filter(|(_, waiting)| !waiting.is_empty()) {
            talk::note(format_args!(
                "--publish {target}: {} results wait since before",
                waiting.len()
            ));
        }
        let queue = Arc::new(Queue::new(WAITING, spool));
        let (theirs, of_thread) = (queue.clone(), target.clone());
        let thread = thread::Builder::new()
            .name("publish".into())
            .spawn(move || work(&theirs, &mut *to, &of_thread))
            .with_context(named)?;
        Ok(Publisher { target: target.clone(), queue, thread })
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

    /// Says good-bye: nothing more will be sent.
    fn close(&mut self) {}
}

/// The running targets of a run.
pub(crate) struct Publishers {
    run: Run,
    running: Vec<Publisher>,
}

impl Publishers {
    /// Hands on the result that is the `count`-th of the run; never waits for a target.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn send(&self, line: &Line<'_>, count: usize) -> anyhow::Result<()> {
        if self.running.is_empty() {
            return Ok(());
        }
        let message = Arc::new(Message::new(line, &self.run, count as u64)?);
        for publisher in &self.running {
            if let Some(news) = publisher.queue.push(message.clone()) {
                talk::warning(format_args!("--publish {}: {news}", publisher.target));
            }
        }
        Ok(())
    }

    /// Waits a little for what is still on its way, and tells what did not arrive. Returns whether
    /// all did.
    pub(crate) fn finish(self) -> bool {
        let until = Instant::now() + PATIENCE;
        for publisher in &self.running {
            publisher.queue.close();
        }
        let arrived = self.running.into_iter().map(|publisher| publisher.finish(until));
        arrived.fold(true, |all, one| all & one)
    }
}

/// A target with its queue; its thread ends some time after the queue is closed.
struct Publisher {
    target: Target,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Publisher {
    fn finish(self, until: Instant) -> bool {
        let tally = self.queue.wait(until);
        let Tally { delivered, dropped, failed, kept } = tally;
        let mut counts = format!(
            "--publish {}: {delivered} results delivered, {dropped} dropped, {failed} failed",
            self.target
        );
        if kept > 0 {
            counts += &format!(", {kept} wait on disk for the next run");
        }
        if dropped + failed + kept > 0 {
            talk::warning(counts);
            return false;
        }
        talk::detail(counts);
        let until = Instant::now() + FAREWELL;
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}
