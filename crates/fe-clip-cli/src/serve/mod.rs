//! `fe-clip serve`: the model behind a web page and an HTTP interface.

mod answer;
mod answer_group;
mod banks;
mod guard;
mod health;
mod limits;
mod linger;
mod listen;
mod live;
mod meters;
mod page;
mod problem;
mod request;
mod routes;
mod signals;
mod state;
mod upload;
mod worker;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{mpsc, oneshot};

use crate::model::ModelArgs;
use crate::talk;
use crate::thresholds::shipped;
use banks::Banks;
use guard::Door;
use limits::Limits;
use live::{Live, LiveArgs};
use meters::Meters;
use signals::Signals;
use state::{Levels, Server};

/// Show the model as a web page, and answer the same over HTTP.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    fe-clip serve\n  \
    fe-clip serve --addr 127.0.0.1:9000 --adapters runs/mvtec/adapters.safetensors\n  \
    FE_CLIP_TOKEN=secret fe-clip serve --addr 0.0.0.0:8080\n  \
    fe-clip serve --camera rtsp://10.0.0.7/line-3\n  \
    fe-clip serve --health-check && echo ready\n  \
    curl -F image=@photo.jpg 'http://127.0.0.1:8080/v1/detect?threshold=0.5'")]
pub(crate) struct Args {
    /// Where to listen. An address that other machines reach needs --token.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    addr: String,
    /// What clients must send as `Authorization: Bearer …`. Better set as FE_CLIP_TOKEN: other
    /// users of the machine see the command line.
    #[arg(long, env = "FE_CLIP_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    live: LiveArgs,
    /// Images with at least this score are labelled anomalous where a request says nothing else,
    /// in [0, 1]. Default: for `tiny`, and requests without normal images, the one that it was
    /// shipped with, else none.
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Largest body of a request, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_body: u16,
    /// Largest image, in millions of pixels.
    #[arg(long, value_name = "MILLIONS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=178))]
    max_megapixels: u16,
    /// Most requests that wait for their answer; further ones are sent away with 429.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    queue: u16,
    /// Longest time for a request to arrive, and again for its answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
    /// Ask the server that is listening on --addr whether it is ready, and serve nothing: exit code
    /// 0 if it is, 1 if not.
    #[arg(long)]
    health_check: bool,
}

impl Args {
    fn limits(&self) -> Limits {
        let pixels = u64::from(self.max_megapixels) * 1_000_000;
        Limits {
            body: usize::from(self.max_body) << 20,
            // Eight bytes a pixel for the decoder, three for the picture, and some for headers.
            image: data::Limits { max_pixels: pixels, max_bytes: pixels * 11 + (16 << 20) },
            queue: usize::from(self.queue),
            time: Duration::from_secs(u64::from(self.timeout)),
        }
    }
}

/// Serves until it is interrupted.
pub(crate) fn run(args: Args) -> anyhow::Result<bool> {
    if let Some(x) = args.threshold
        && !(0.0..=1.0).contains(&x)
    {
        bail!("--threshold: expected a number in [0, 1], got {x}");
    }
    let addresses: Vec<SocketAddr> =
        args.addr.to_socket_addrs().with_context(|| format!("--addr {}", args.addr))?.collect();
    if args.health_check {
        return Ok(health::is_ready(&addresses));
    }
    let door = Door::new(&addresses, args.token.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2) // they only pass bytes on; the work is elsewhere
        .enable_all()
        .build()
        .context("starting the server")?;
    let done = runtime.block_on(serve(args, &addresses, door));
    // Work of clients that are gone is not waited for.
    runtime.shutdown_background();
    done
}

async fn serve(args: Args, addresses: &[SocketAddr], door: Door) -> anyhow::Result<bool> {
    let listener = tokio::net::TcpListener::bind(addresses)
        .await
        .with_context(|| format!("--addr {}", args.addr))?;
    let address = listener.local_addr().context("asking for the address")?;
    let limits = args.limits();
    let levels = Levels { asked: args.threshold, shipped: shipped(&args.model)? };
    let grace = limits.time * 2;
    let (meters, banks) = (Arc::new(Meters::new()), Arc::new(Banks::default()));
    let (jobs, waiting) = mpsc::channel(limits.queue);
    let (sender, loaded) = oneshot::channel();
    let (news, camera) = args.live.channel().unzip();
    let model = worker::start(args.model, waiting, Arc::clone(&banks), Arc::clone(&meters), sender)
        .context("starting the model's thread")?;
    let server =
        Arc::new(Server::new(limits, levels, door, camera, Arc::clone(&meters), banks, jobs));
    let router = routes::router(Arc::clone(&server));
    let mut signals = Signals::listen()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { _ = stopped.await };
    let serving = tokio::spawn(listen::serve(listener, router, meters, stopped, grace));
    talk::note(format_args!("listening on http://{address}"));

    let mut live = None;
    tokio::select! {
        loaded = loaded => {
            let loaded = loaded.context("the model's thread failed")??;
            if let Some(news) = news {
                if let Some(words) = &loaded.alone {
                    bail!("--camera: {words}");
                }
                live = args.live.start(Arc::clone(&server), news)?;
            }
            server.ready(loaded);
            talk::note(format_args!("ready"));
            signals.next().await;
        }
        () = signals.next() => {}
    }
    talk::note(format_args!("finishing what is in flight; once more to stop at once"));
    live.iter().for_each(Live::stop);
    drop((stop, server));
    let finished = tokio::select! {
        finished = serving => finished.context("the server failed")?,
        () = signals.next() => false,
    };
    if !finished {
        talk::note(format_args!("stopped with requests in flight"));
        return Ok(false);
    }
    // All senders of jobs are gone when the camera is, so the thread ends.
    let end = move || {
        drop(live);
        model.join()
    };
    tokio::task::spawn_blocking(end).await.ok();
    Ok(true)
}
