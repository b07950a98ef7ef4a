//! `fe-clip serve` as its users meet it: a real process on a free port of the loopback.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod access;
mod answers;
mod client;
mod groups;
mod images;
#[cfg(target_os = "linux")]
#[path = "../camera/installed.rs"]
mod installed;
mod limits;
mod live;
mod load;
mod places;
mod process;
