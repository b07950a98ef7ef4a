//! The camera of `--camera`: its frames are scored as they come, and all who watch are told.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use data::path_text::to_text;
use data::preprocess;
use fe_clip::Prediction;
use http_body_util::channel::Channel;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::answer::{Found, Judged};
use super::problem::Problem;
use super::state::Server;
use super::upload::File;
use super::worker::{Job, Work};
use crate::camera::{Camera, Frame, Moment, Pace, Source, Taken};

/// Shortest time between two pictures that are sent: less than that of ten a second, of which none
/// should be left out because it came a little early.
const PAUSE: Duration = Duration::from_millis(80);
/// Longest side of a picture that is sent, in pixels, and its quality as JPEG.
const SIDE: u32 = 1280;
const QUALITY: u8 = 80;
/// Who watches hears something at least so often.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct LiveArgs {
    /// Score the frames of a camera (its number, or /dev/video0), a stream (rtsp://, http://,
    /// udp:// and others), a video file, or an image sequence (frame-%04d.png) as they come, and
    /// show them on the page. Needs ffmpeg.
    #[arg(long = "camera", value_name = "SOURCE")]
    source: Option<Source>,
    /// At most so many frames of the camera a second, by the time in the video; the others are
    /// passed over.
    #[arg(long, value_name = "FPS", requires = "source", default_value_t = 10.0)]
    rate: f64,
}

impl LiveArgs {
    /// The two ends of what is told of the camera; nothing without the flag.
    pub(super) fn channel(&self) -> Option<(watch::Sender<News>, Watched)> {
        let source = self.source.as_ref()?;
        let (sender, news) = watch::channel(None);
        Some((sender, Watched { name: source.to_string(), news }))
    }

    /// Starts to read and to score; nothing without the flag.
    ///
    /// # Errors
    /// If the rate is none, there is no such file or device, or no ffmpeg.
    pub(super) fn start(
        &self,
        server: Arc<Server>,
        news: watch::Sender<News>,
    ) -> anyhow::Result<Option<Live>> {
        let Some(source) = &self.source else { return Ok(None) };
        let camera = Camera::start(source, Some(self.rate), Pace::Watched)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (told, show) = (Arc::clone(&stop), Show { server, news, last: None, state: None });
        let thread = std::thread::Builder::new()
            .name("live".into())
            .spawn(move || show.run(&camera, &told))
            .context("--camera")?;
        Ok(Some(Live { stop, thread: Some(thread) }))
    }
}

/// A comment, which is no event.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");

/// An event as those who watch get it; none before the first, and while nobody watches.
type News = Option<Bytes>;

/// What the server knows of its camera.
pub(super) struct Watched {
    /// Without login.
    pub(super) name: String,
    news: watch::Receiver<News>,
}

/// A camera that is being scored, until this is dropped.
pub(super) struct Live {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Ends it, and with it the answers to all who watch.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// What a frame's event holds.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    found: Found<'a>,
    #[serde(flatten)]
    moment: Moment,
    /// JPEG in base64, not larger than [`SIDE`].
    picture: String,
}

/// What is said when there is no frame.
#[derive(Clone, PartialEq)]
enum Trouble {
    /// Gone, and looked for.
    Lost(String),
    /// A file that is at its end, or cannot be read further.
    Ended(Option<String>),
}

/// The one who scores and tells.
struct Show {
    server: Arc<Server>,
    news: watch::Sender<News>,
    /// When a picture was last sent.
    last: Option<Instant>,
    /// What was last told, if it was not a frame.
    state: Option<Trouble>,
}

impl Show {
    fn run(mut self, camera: &Camera, stop: &AtomicBool) {
        let (mut dropped, meters) = (0, Arc::clone(&self.server.meters));
        while !stop.load(Ordering::Relaxed) {
            match camera.next() {
                Taken::Some(frames) => {
                    for frame in frames {
                        match self.score(camera, frame) {
                            Some(()) => meters.camera_frames.inc(),
                            None => meters.camera_dropped.inc(),
                        }
                    }
                }
                Taken::Nothing => {
                    if let Some(reason) = camera.lost() {
                        self.tell(Trouble::Lost(reason));
                    }
                }
                Taken::End => {
                    if !matches!(self.state, Some(Trouble::Ended(_))) {
                        self.tell(Trouble::Ended(camera.failure()));
                    }
                    // Who comes now is told, too.
                    std::thread::sleep(PAUSE);
                }
            }
            meters.camera_dropped.inc_by(camera.dropped() - dropped);
            dropped = camera.dropped();
        }
    }

    /// Has a frame scored, and shows it; nothing if the model has too much to do.
    fn score(&mut self, camera: &Camera, Frame { image, moment }: Frame) -> Option<()> {
        let loaded = self.server.loaded().ok()?;
        let pixels = preprocess(&image, &loaded.preprocess);
        let (answer, receiver) = oneshot::channel();
        self.server.send(Work::Image(Job { pixels, ignored: None, normals: None, answer })).ok()?;
        let prediction = receiver.blocking_recv().ok()?.ok()?;
        self.state = None;
        self.server.meters.camera_up.set(1);
        let nobody = self.news.receiver_count() == 1; // the server's own
        if nobody {
            // Who comes later does not want to see what is over.
            self.news.send_if_modified(|news| news.take().is_some());
        } else if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.last = Some(Instant::now());
            let path = to_text(&camera.source.frame_path(&moment)).into_owned();
            let shown = self
                .event(path, &image, moment, prediction)
                .unwrap_or_else(|problem| event("failed", &json!({ "error": problem.words() })));
            self.news.send_replace(Some(shown));
        }
        Some(())
    }

    fn event(
        &self,
        name: String,
        image: &RgbImage,
        moment: Moment,
        prediction: Prediction,
    ) -> Result<Bytes, Problem> {
        let loaded = self.server.loaded()?;
        let (size, thresholds) = (image.dimensions(), self.server.levels.default());
        let judgement = loaded
            .judge(thresholds, false)
            .judge(&prediction, size)
            .map_err(|error| Problem::answer(&name, &error))?;
        let image = Arc::new(File { name, bytes: Bytes::from(jpeg(image)?) });
        let judged =
            Judged { image, size, prediction, judgement, thresholds, remembered: None, map: true };
        let picture = BASE64_STANDARD.encode(&judged.image.bytes);
        Ok(event("frame", &Shown { found: judged.found(&loaded), moment, picture }))
    }

    /// Says why there are no frames, once.
    fn tell(&mut self, trouble: Trouble) {
        if self.state.as_ref() == Some(&trouble) {
            return;
        }
        let told = match &trouble {
            Trouble::Lost(reason) => event("lost", &json!({ "error": reason })),
            Trouble::Ended(reason) => event("ended", &json!({ "error": reason })),
        };
        self.news.send_replace(Some(told));
        self.state = Some(trouble);
        self.server.meters.camera_up.set(0);
    }
}

/// A picture for the page.
fn jpeg(image: &RgbImage) -> Result<Vec<u8>, Problem> {
    let (width, height) = image.dimensions();
    let longest = width.max(height);
    let smaller = (longest > SIDE).then(|| {
        let side = |side: u32| (side * SIDE / longest).max(1);
        thumbnail(image, side(width), side(height))
    });
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(smaller.as_ref().unwrap_or(image))
        .map_err(|_| Problem::internal())?;
    Ok(bytes.into_inner())
}

/// One of the server-sent events.
fn event(kind: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("results are plain");
    format!("event: {kind}\ndata: {data}\n\n").into()
}

/// Tells a client what the camera sees, until the client goes or the server ends. One that is
/// slower than the camera misses pictures.
pub(super) async fn watch(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let camera = server
        .camera
        .as_ref()
        .ok_or_else(|| Problem::not_found("this server has no camera; it gets one by --camera"))?;
    server.loaded()?;
    let mut news = camera.news.clone();
    let (mut client, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        let now = news.borrow_and_update().clone();
        // At least the head of the answer should not wait for a frame.
        let mut next = now.or(Some(NOTHING));
        loop {
            if let Some(event) = next
                && client.send_data(event).await.is_err()
            {
                return;
            }
            next = match tokio::time::timeout(SILENCE, news.changed()).await {
                Ok(Ok(())) => news.borrow_and_update().clone(),
                Ok(Err(_)) => return,
                Err(_) => Some(NOTHING),
            };
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Proxies that gather an answer before they pass it on would never do so.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::new(body)).into_response())
}
