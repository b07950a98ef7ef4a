//! The ffmpeg that decodes: pictures on its standard output, when they were on standard error.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use data::Limits;
use image::RgbImage;

use super::Pace;
use super::source::Source;

/// How long a picture waits for the line that says when it was.
const LINE: Duration = Duration::from_secs(2);
/// Bytes of a line that is read; what ffmpeg says of itself is shorter.
const LONGEST_LINE: u64 = 64 * 1024;

/// A running ffmpeg.
pub(super) struct Process {
    child: Child,
    stdout: Option<ChildStdout>,
    times: Option<Receiver<Shown>>,
    /// Reads what is said, and returns the last error among it.
    listener: Option<JoinHandle<Option<String>>>,
    source: Source,
    killed: bool,
}

/// A frame that ffmpeg shows: its number, and its time in seconds.
type Shown = (u64, Option<f64>);

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn start(source: &Source, rate: Option<f64>, pace: Pace) -> anyhow::Result<Self> {
        Self::start_as("ffmpeg", source, rate, pace)
    }

    /// Starts a program as if it were ffmpeg.
    fn start_as(
        program: impl AsRef<OsStr>,
        source: &Source,
        rate: Option<f64>,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        // The size stands in the head of every picture: it need not be known before, and may
        // change.
        let filter = match rate {
            None => "showinfo=checksum=0".to_owned(),
            Some(rate) => {
                let turn = |time: &str| format!("floor({time}*{rate}+0.001)");
                format!(
                    "showinfo=checksum=0,select='isnan(prev_selected_t)+gt({},{})',\
                     showinfo=checksum=0",
                    turn("t"),
                    turn("prev_selected_t")
                )
            }
        };
        let started = Command::new(program)
            .args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"])
            .args(source.input(pace))
            .args(["-map", "0:v:0", "-vf", &filter, "-fps_mode", "passthrough"])
            .args(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("ffmpeg decodes videos and cameras, and is not installed or not in PATH")
            }
            started => started.context("starting ffmpeg")?,
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, times) = mpsc::channel();
        let last_filter = if rate.is_some() { "_2 " } else { "_0 " };
        let listener = stderr.map(|stderr| {
            std::thread::spawn(move || {
                listen(BufReader::new(stderr), last_filter, |shown| {
                    // Nobody may want frames any more.
                    let _ = sender.send(shown);
                })
            })
        });
        let (source, times) = (source.clone(), Some(times));
        Ok(Self { child, stdout, times, listener, source, killed: false })
    }

    /// Its frames; nothing the second time.
    pub(super) fn frames(&mut self) -> Frames {
        Frames { pictures: self.stdout.take().map(BufReader::new), times: self.times.take() }
    }

    pub(super) fn kill(&mut self) {
        self.killed = true;
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it said last if it failed.
    pub(super) fn wait(mut self) -> Result<(), String> {
        drop(self.stdout.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let said = self.listener.take().and_then(|listener| listener.join().ok()).flatten();
        match said {
            _ if self.killed => Err("nothing came any more".into()),
            _ if status.success() => Ok(()),
            Some(said) => Err(self.source.redacted(&said)),
            None => Err(format!("ffmpeg: {status}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands on which frames come out of the last filter, and keeps the last error.
fn listen(
    mut said: impl BufRead,
    last_filter: &str,
    mut show: impl FnMut(Shown),
) -> Option<String> {
    let (mut error, mut number) = (None, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        match said.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return error,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        if let Some((_, reason)) =
            line.split_once("[error] ").or_else(|| line.split_once("[fatal] "))
        {
            error = Some(reason.trim().to_owned());
        }
        let Some((filter, said)) =
            line.strip_prefix("[Parsed_showinfo").and_then(|line| line.split_once("] "))
        else {
            continue;
        };
        let value = |key: &str| said.split_once(key)?.1.split_whitespace().next();
        let (Some(n), Some(time)) = (value(" n:"), value("pts_time:")) else { continue };
        // The first filter counts all frames.
        if filter.starts_with("_0 ") {
            number = n.parse().unwrap_or(number);
        }
        if filter.starts_with(last_filter) {
            show((number, time.parse().ok()));
        }
    }
}

/// The frames of a running ffmpeg.
pub(super) struct Frames {
    pictures: Option<BufReader<ChildStdout>>,
    times: Option<Receiver<Shown>>,
}

impl Frames {
    /// The next one with its number and time; none when it ended, or sends anything else.
    pub(super) fn next(&mut self) -> Option<(RgbImage, u64, Option<f64>)> {
        let image = picture(self.pictures.as_mut()?)?;
        let (number, time) = self.times.as_ref()?.recv_timeout(LINE).ok()?;
        Some((image, number, time))
    }
}

/// Reads a picture in the form of PPM that ffmpeg writes.
fn picture(from: &mut impl BufRead) -> Option<RgbImage> {
    let mut field = |most: u64| {
        let mut text = Vec::new();
        from.by_ref().take(most).read_until(b'\n', &mut text).ok()?;
        String::from_utf8(text).ok()
    };
    if field(3)? != "P6\n" {
        return None;
    }
    let size = field(24)?;
    let (width, height) = size.trim_end().split_once(' ')?;
    let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
    let pixels = u64::from(width) * u64::from(height);
    if field(4)? != "255\n" || pixels == 0 || pixels > Limits::default().max_pixels {
        return None;
    }
    let mut samples = vec![0; 3 * pixels as usize];
    from.read_exact(&mut samples).ok()?;
    RgbImage::from_raw(width, height, samples)
}

/// Seconds since 1970.
pub(super) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_read_one_after_the_other_and_none_is_too_large() {
        let stream = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyzP6\n1 1\n255\nxy".to_vec();
        let mut from = &stream[..];
        assert_eq!(picture(&mut from).unwrap().into_raw(), b"abcdef");
        assert_eq!(picture(&mut from).unwrap().into_raw(), b"xyz");
        assert!(picture(&mut from).is_none());
        for bad in
            ["P5\n1 1\n255\nx", "P6\n99999 99999\n255\n", "P6\n0 1\n255\n", "P6\n1\n255\nabc"]
        {
            assert!(picture(&mut bad.as_bytes()).is_none(), "{bad}");
        }
    }

    /// A camera of this machine is read by V4L2: what ffmpeg is asked, and what comes of its
    /// answer, by a script in its place.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_device_is_read_by_v4l2() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (script, asked) = (folder.path().join("ffmpeg"), folder.path().join("asked"));
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{}'\n\
             printf 'P6\\n1 1\\n255\\nxyz'\n\
             echo '[Parsed_showinfo_0 @ 0x5] [info] n:   7 pts: 14 pts_time:1.4 pos: 1' >&2\n",
            asked.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let source: Source = "0".parse().unwrap();
        // A live source has its own speed, whoever watches.
        for pace in [Pace::Scored, Pace::Watched] {
            let mut process = Process::start_as(&script, &source, None, pace).unwrap();
            let mut frames = process.frames();
            let (image, number, time) = frames.next().unwrap();
            assert_eq!((image.into_raw(), number, time), (b"xyz".to_vec(), 7, Some(1.4)));
            assert!(frames.next().is_none());
            assert_eq!(process.wait(), Ok(()));
            let expected = "-hide_banner -nostdin -nostats -loglevel level+info -f v4l2 \
                            -i /dev/video0 -map 0:v:0 -vf showinfo=checksum=0 \
                            -fps_mode passthrough -f image2pipe -c:v ppm -pix_fmt rgb24 pipe:1";
            let asked = std::fs::read_to_string(&asked).unwrap();
            assert_eq!(asked.lines().collect::<Vec<_>>().join(" "), expected);
        }
    }

    #[test]
    fn numbers_are_the_first_filters_and_times_the_last_ones() {
        let line = |filter: u8, n: u8, time: &str| {
            format!(
                "[Parsed_showinfo_{filter} @ 0x5] [info] n:{n:4} pts:  {n} pts_time:{time}  pos: 1\n"
            )
        };
        let said = [
            "[Parsed_showinfo_0 @ 0x5] [info] config in time_base: 1/10\n".to_owned(),
            line(0, 0, "0"),
            line(2, 0, "0"),
            line(0, 1, "0.1"),
            line(0, 2, "NOPTS"),
            line(2, 1, "NOPTS"),
            "[in#0 @ 0x5] [error] a.mp4: damaged\n".to_owned(),
            "Conversion failed!\n".to_owned(),
        ]
        .concat();
        let mut shown = Vec::new();
        let error = listen(said.as_bytes(), "_2 ", |one| shown.push(one));
        assert_eq!(shown, [(0, Some(0.0)), (2, None)]);
        assert_eq!(error.as_deref(), Some("a.mp4: damaged"));
    }
}
