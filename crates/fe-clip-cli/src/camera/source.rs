//! What `--camera` names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::bail;

use super::{Moment, Pace};

/// Schemes of sources that go on until someone ends them.
const STREAMS: [&str; 10] =
    ["rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt", "http", "https"];

/// Where frames come from. A stream is shown without login and without what follows a question
/// mark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// A camera of this machine.
    Device(PathBuf),
    Stream(String),
    File(PathBuf),
    /// Images whose names have a number where `%d` or `%04d` stands.
    Sequence(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((scheme, _)) = text.split_once("://") {
            return match STREAMS.contains(&scheme) {
                true => Ok(Self::Stream(text.to_owned())),
                false => Err(format!("expected one of {} before ://", STREAMS.join(", "))),
            };
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Device(format!("/dev/video{text}").into()));
        }
        let path = Path::new(text);
        if text.starts_with("/dev/video") || path.starts_with("/dev/v4l") {
            Ok(Self::Device(path.to_owned()))
        } else if !path.exists() && has_number(text) {
            Ok(Self::Sequence(text.to_owned()))
        } else {
            Ok(Self::File(path.to_owned()))
        }
    }
}

/// Whether a name has a place for a number.
fn has_number(name: &str) -> bool {
    name.match_indices('%').any(|(at, _)| {
        name[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('d')
    })
}

impl Source {
    /// Whether it goes on until someone ends it.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Stream(_))
    }

    /// Refuses what is not there now and will not come.
    ///
    /// # Errors
    /// If there is no such file or device.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Device(path) if !cfg!(target_os = "linux") => {
                bail!("{}: cameras are read by V4L2, which is Linux's", path.display())
            }
            Self::File(path) if path.is_dir() => {
                bail!("a folder; its images are scored without --camera")
            }
            Self::Device(path) | Self::File(path) => {
                path.metadata()?;
                Ok(())
            }
            Self::Stream(_) | Self::Sequence(_) => Ok(()),
        }
    }

    /// What ffmpeg is told to read, and how fast.
    pub(super) fn input(&self, pace: Pace) -> Vec<std::ffi::OsString> {
        let mut input: Vec<std::ffi::OsString> = match self {
            Self::Device(_) => vec!["-f".into(), "v4l2".into()],
            // A second shows what is in a stream; the usual five are lost at each start.
            Self::Stream(_) => vec!["-analyzeduration".into(), "1000000".into()],
            Self::Sequence(_) => vec!["-f".into(), "image2".into()],
            Self::File(_) => Vec::new(),
        };
        if matches!(self, Self::Stream(url) if url.starts_with("rtsp")) {
            // UDP loses packets, and half pictures look like defects.
            input.extend(["-rtsp_transport".into(), "tcp".into()]);
        }
        if pace == Pace::Watched && !self.is_live() {
            input.push("-re".into());
        }
        input.push("-i".into());
        input.push(match self {
            Self::Device(path) => path.into(),
            Self::Stream(text) | Self::Sequence(text) => text.into(),
            Self::File(path) => {
                // A name is no protocol, whatever is in it.
                let mut file = std::ffi::OsString::from("file:");
                file.push(path);
                file
            }
        });
        input
    }

    /// Takes login and query out of what ffmpeg says.
    pub(super) fn redacted(&self, said: &str) -> String {
        match self {
            Self::Stream(url) => said.replace(url, &self.to_string()),
            _ => said.to_owned(),
        }
    }

    /// What results call a frame.
    pub(crate) fn frame_path(&self, moment: &Moment) -> PathBuf {
        let mut path = match self {
            Self::File(path) | Self::Device(path) => path.clone().into_os_string(),
            Self::Stream(_) | Self::Sequence(_) => self.to_string().into(),
        };
        path.push(format!("#{}", number(moment)));
        path.into()
    }

    /// What its outputs are called, without ending.
    pub(super) fn frame_stem(&self, moment: &Moment) -> PathBuf {
        let shown = self.to_string();
        let last = match self {
            Self::Stream(_) => shown.split_once("://").map_or(&*shown, |(_, place)| place),
            _ => Path::new(&shown).file_stem().and_then(|name| name.to_str()).unwrap_or("video"),
        };
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = last.trim_matches('/').chars().map(plain).take(40).collect();
        format!("{name}_{}", number(moment)).into()
    }
}

/// Of a file, the frame; of a live source milliseconds since 1970, which no other run has.
fn number(moment: &Moment) -> String {
    match moment.unix_time {
        Some(time) => format!("{}", (time * 1000.0) as u64),
        None => format!("{:06}", moment.frame),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) | Self::File(path) => path.display().fmt(f),
            Self::Sequence(pattern) => f.write_str(pattern),
            Self::Stream(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let (host, path) = match rest.split_once('/') {
                    Some((host, path)) => (host, format!("/{path}")),
                    None => (rest, String::new()),
                };
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                write!(f, "{scheme}://{host}{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_known_by_their_form() {
        let source = |text: &str| text.parse::<Source>();
        assert_eq!(source("2"), Ok(Source::Device("/dev/video2".into())));
        assert_eq!(source("/dev/video0"), Ok(Source::Device("/dev/video0".into())));
        assert_eq!(source("frames/%04d.png"), Ok(Source::Sequence("frames/%04d.png".into())));
        assert_eq!(source("100%.mp4"), Ok(Source::File("100%.mp4".into())));
        assert_eq!(source("rtsp://h/1"), Ok(Source::Stream("rtsp://h/1".into())));
        assert!(source("concat://a").is_err());
    }

    #[test]
    fn a_file_that_is_watched_is_read_at_its_own_speed() {
        let input = |text: &str, pace| {
            let source: Source = text.parse().unwrap();
            let input = source.input(pace);
            input.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(input("a.mp4", Pace::Scored), "-i file:a.mp4");
        assert_eq!(input("a.mp4", Pace::Watched), "-re -i file:a.mp4");
        assert_eq!(input("%04d.png", Pace::Watched), "-f image2 -re -i %04d.png");
        let rtsp = "-analyzeduration 1000000 -rtsp_transport tcp -i rtsp://h/1";
        assert_eq!(input("rtsp://h/1", Pace::Watched), rtsp);
    }

    #[test]
    fn a_login_is_shown_nowhere() {
        let source: Source = "rtsp://me:p@ss@10.0.0.2:554/live/1?user=me&key=s".parse().unwrap();
        assert_eq!(source.to_string(), "rtsp://10.0.0.2:554/live/1");
        let said = "rtsp://me:p@ss@10.0.0.2:554/live/1?user=me&key=s: Connection refused";
        assert_eq!(source.redacted(said), "rtsp://10.0.0.2:554/live/1: Connection refused");
        let moment = Moment { frame: 3, stream_time: None, unix_time: Some(1.5) };
        assert_eq!(source.frame_path(&moment).to_str(), Some("rtsp://10.0.0.2:554/live/1#1500"));
        assert_eq!(source.frame_stem(&moment).to_str(), Some("10.0.0.2_554_live_1_1500"));
    }
}
