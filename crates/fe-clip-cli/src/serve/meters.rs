//! What is counted, in the text format of Prometheus.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

/// All counters of a server.
pub(super) struct Meters {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    batch_images: Histogram,
    batch_seconds: Histogram,
    /// Batches that the model failed on.
    pub(super) model_failures: IntCounter,
    /// Connections that are open.
    pub(super) connections: IntGauge,
    /// Requests between their first byte of body and their answer.
    pub(super) waiting: IntGauge,
    /// Frames of the camera that were scored, and that were not because newer ones came.
    pub(super) camera_frames: IntCounter,
    pub(super) camera_dropped: IntCounter,
    /// 1 while frames come from the camera.
    pub(super) camera_up: IntGauge,
    /// 1 when the model is loaded.
    pub(super) ready: IntGauge,
}

impl Meters {
    /// Counters that all stand at zero.
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("fe_clip_{name}"), help);
        let requests = IntCounterVec::new(
            opts("requests_total", "Requests answered, by route and status."),
            &["route", "status"],
        );
        let seconds = HistogramVec::new(
            HistogramOpts::from(opts("request_seconds", "Time from the head to the answer."))
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            &["route"],
        );
        let batch_images = Histogram::with_opts(
            HistogramOpts::from(opts("batch_images", "Images of a forward pass."))
                .buckets(vec![1.0, 2.0, 4.0, 8.0]),
        );
        let batch_seconds = Histogram::with_opts(
            HistogramOpts::from(opts("batch_seconds", "Time of a forward pass."))
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        );
        let count = |name, help| register(&registry, IntCounter::with_opts(opts(name, help)));
        let gauge = |name, help| register(&registry, IntGauge::with_opts(opts(name, help)));
        Self {
            requests: register(&registry, requests),
            seconds: register(&registry, seconds),
            batch_images: register(&registry, batch_images),
            batch_seconds: register(&registry, batch_seconds),
            model_failures: count("model_failures_total", "Forward passes that failed."),
            camera_frames: count("camera_frames_total", "Frames of the camera that were scored."),
            camera_dropped: count(
                "camera_dropped_total",
                "Frames of the camera that newer ones came before.",
            ),
            camera_up: gauge("camera_up", "1 while frames come from the camera."),
            connections: gauge("connections", "Connections that are open."),
            waiting: gauge("waiting", "Requests accepted and not yet answered."),
            ready: gauge("ready", "1 when the model is loaded."),
            registry,
        }
    }

    /// Counts a request.
    pub(super) fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Counts a forward pass.
    pub(super) fn batch(&self, images: usize, took: Duration) {
        self.batch_images.observe(images as f64);
        self.batch_seconds.observe(took.as_secs_f64());
    }

    /// The content type of [`text`](Self::text).
    pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

    /// All counters as text.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a vector takes every byte");
        text
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and buckets are valid");
    registry.register(Box::new(collector.clone())).expect("every name is registered once");
    collector
}
