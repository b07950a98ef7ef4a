//! `--camera`: frames of a camera, a stream or a video, decoded by an ffmpeg beside us.

mod ffmpeg;
mod queue;
mod source;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fe_clip::{Input, Inspector};
use image::RgbImage;
use serde::Serialize;

use self::ffmpeg::Process;
use self::queue::Queue;
pub(crate) use self::queue::Taken;
pub(crate) use self::source::Source;
use crate::job::Job;
use crate::{interrupt, talk};

/// Frames that wait to be scored, together; of a live source further ones take the place of the
/// oldest: what is seen is new.
const WAITING: usize = 4;
/// A live source from which nothing comes so long is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// Between the attempts to find a live source again; the last one stays.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// Where frames come from.
#[derive(clap::Args)]
pub(crate) struct CameraArgs {
    /// Score the frames of a camera (its number, or /dev/video0), a stream (rtsp://, http://,
    /// udp:// and others), a video file, or an image sequence (frame-%04d.png): of a file all, of
    /// a live source those that there is time for, until Ctrl-C. Needs ffmpeg.
    #[arg(long = "camera", value_name = "SOURCE", conflicts_with_all = ["paths", "watch", "group", "shard", "report"])]
    pub(crate) source: Option<Source>,
    /// At most so many frames a second, by the time in the video; the others are passed over.
    #[arg(long, value_name = "FPS", requires = "source")]
    rate: Option<f64>,
}

impl CameraArgs {
    /// Starts to read; nothing without the flag.
    ///
    /// # Errors
    /// If the rate is none, there is no such file, or no ffmpeg.
    pub(crate) fn start(&self) -> anyhow::Result<Option<Camera>> {
        let Some(source) = &self.source else { return Ok(None) };
        Camera::start(source, self.rate, Pace::Scored).map(Some)
    }
}

/// Which frames of a file there is time for; those of a live source are what they are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// All of them, as fast as they are scored.
    Scored,
    /// Those of the video's own time, as if it were live.
    Watched,
}

/// A frame, and when it was.
pub(crate) struct Frame {
    pub(crate) image: RgbImage,
    pub(crate) moment: Moment,
}

/// Which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Moment {
    /// Counted from 0 since the source was opened, frames that were passed over among them.
    pub(crate) frame: u64,
    /// Seconds in the video, where it says so.
    pub(crate) stream_time: Option<f64>,
    /// Seconds since 1970 when it arrived, of a live source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unix_time: Option<f64>,
}

/// A source that is read.
pub(crate) struct Camera {
    pub(crate) source: Source,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

/// What the reader and the one who scores share.
struct Shared {
    queue: Queue<Frame>,
    running: Mutex<Option<Process>>,
    /// When something last came from the source.
    heard: Mutex<Instant>,
    /// Why a live source is looked for.
    lost: Mutex<Option<String>>,
    /// Why a file could not be read to its end.
    failure: Mutex<Option<String>>,
}

impl Camera {
    /// Starts to read.
    ///
    /// # Errors
    /// If the rate is none, there is no such file or device, or no ffmpeg.
    pub(crate) fn start(source: &Source, rate: Option<f64>, pace: Pace) -> anyhow::Result<Self> {
        if let Some(rate) = rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            bail!("--rate: expected frames a second above 0, got {rate}");
        }
        let start = || {
            source.check()?;
            Process::start(source, rate, pace)
        };
        let process = start().with_context(|| format!("--camera {source}"))?;
        let drops = source.is_live() || pace == Pace::Watched;
        let queue = Queue::new(WAITING, drops);
        let shared = Arc::new(Shared {
            queue,
            running: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            lost: Mutex::default(),
            failure: Mutex::default(),
        });
        let (theirs, from) = (shared.clone(), source.clone());
        let reader = std::thread::Builder::new()
            .name("camera".into())
            .spawn(move || read(&theirs, &from, (rate, pace), process))
            .context("--camera")?;
        Ok(Self { source: source.clone(), shared, reader: Some(reader) })
    }

    /// Frames that wait, or the next one within a fraction of a second.
    pub(crate) fn next(&self) -> Taken<Frame> {
        let taken = self.shared.queue.take(Duration::from_millis(200));
        if matches!(taken, Taken::Nothing) {
            self.end_silence();
        }
        taken
    }

    /// Why a live source is being looked for, while it is.
    pub(crate) fn lost(&self) -> Option<String> {
        lock(&self.shared.lost).clone()
    }

    /// Why a file was not read to its end, if it was not, once its last frame is taken.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.shared.failure).take()
    }

    /// Frames so far that gave way to newer ones.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// Scores frames until the file ends, or Ctrl-C. Returns whether that was the end of it.
    ///
    /// # Errors
    /// If standard output is closed or full, or a file gives no frame.
    pub(crate) fn run(&mut self, inspector: &Inspector, job: &mut Job) -> anyhow::Result<bool> {
        if self.source.is_live() {
            talk::note(format_args!("watching {}; Ctrl-C ends", self.source));
        }
        while !interrupt::asked() {
            let frames = match self.next() {
                Taken::Some(frames) => frames,
                Taken::Nothing => continue,
                Taken::End => break,
            };
            let moments: Vec<Moment> = frames.iter().map(|frame| frame.moment).collect();
            let inputs = frames.into_iter().map(|Frame { image, moment }| {
                Input::pixels(self.source.frame_path(&moment), image)
            });
            for (moment, found) in moments.into_iter().zip(inspector.inspect_together(inputs)) {
                job.moment = Some(moment);
                job.handle(&self.source.frame_stem(&moment), found)?;
            }
        }
        self.stop();
        // An ffmpeg that heard Ctrl-C, too, says that it failed.
        let stopped = interrupt::asked();
        let failure = self.failure().filter(|_| !stopped);
        let dropped = match self.dropped() {
            0 => String::new(),
            dropped => format!(", {dropped} dropped because scoring took longer"),
        };
        talk::note(format_args!(
            "{}: {} frames scored, {} failed{dropped}",
            self.source, job.scored, job.failed
        ));
        match failure {
            Some(reason) if job.done == 0 => bail!("--camera {}: {reason}", self.source),
            Some(reason) => {
                job.moment = None;
                job.failed(PathBuf::from(self.source.to_string()), reason)?;
                Ok(false)
            }
            None => Ok(self.source.is_live() || !stopped),
        }
    }

    fn end_silence(&self) {
        let silent = lock(&self.shared.heard).elapsed() > SILENCE;
        if self.source.is_live() && silent {
            // The reader sees the end, and says why if there is no other reason.
            if let Some(process) = &mut *lock(&self.shared.running) {
                process.kill();
            }
        }
    }

    fn stop(&mut self) {
        self.shared.queue.close();
        if let Some(process) = &mut *lock(&self.shared.running) {
            process.kill();
        }
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has said so.
            let _ = reader.join();
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads until the file ends or nobody takes frames; looks for a live source again when it is
/// lost.
fn read(shared: &Shared, source: &Source, (rate, pace): (Option<f64>, Pace), first: Process) {
    let mut process = Some(first);
    let mut attempt = 0;
    while !shared.queue.is_closed() {
        let started = match process.take() {
            Some(process) => Ok(process),
            None => Process::start(source, rate, pace),
        };
        let outcome = started.map_err(|error| format!("{error:#}")).and_then(|mut process| {
            *lock(&shared.heard) = Instant::now();
            let mut frames = process.frames();
            *lock(&shared.running) = Some(process);
            let mut any = false;
            while let Some((image, frame, stream_time)) = frames.next() {
                *lock(&shared.heard) = Instant::now();
                if lock(&shared.lost).take().is_some() {
                    talk::note(format_args!("{source}: there again"));
                }
                (any, attempt) = (true, 0);
                let unix_time = source.is_live().then(ffmpeg::unix_time);
                let moment = Moment { frame, stream_time, unix_time };
                if !shared.queue.push(Frame { image, moment }) {
                    break;
                }
            }
            drop(frames);
            let ended = lock(&shared.running).take().map(Process::wait);
            match ended.unwrap_or(Ok(())) {
                Ok(()) if !any => Err("no frame came".into()),
                ended => ended,
            }
        });
        if !source.is_live() {
            if !shared.queue.is_closed() {
                *lock(&shared.failure) = outcome.err();
            }
            return shared.queue.close();
        }
        if shared.queue.is_closed() {
            return;
        }
        lock(&shared.lost).get_or_insert_with(|| {
            let reason = outcome.err().unwrap_or_else(|| "it ended".into());
            talk::warning(format_args!("{source}: lost, looking for it again: {reason}"));
            reason
        });
        shared.queue.wait_closed(PAUSES[attempt.min(PAUSES.len() - 1)]);
        attempt += 1;
    }
}
