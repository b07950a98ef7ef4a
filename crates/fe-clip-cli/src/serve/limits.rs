//! Bounds on what clients may ask for and how long they may take.

use std::time::Duration;

/// Bounds that the command line sets.
pub(super) struct Limits {
    /// Most bytes of a request's body.
    pub(super) body: usize,
    /// What one image may take; checked against its header.
    pub(super) image: data::Limits,
    /// Most requests between their first byte of body and their answer.
    pub(super) queue: usize,
    /// Longest time for a body to arrive, and again for its answer.
    pub(super) time: Duration,
}

/// Most connections at once; further ones wait in the system's backlog.
pub(super) const CONNECTIONS: usize = 512;
/// Bodies in memory at once, in bodies of the largest size.
pub(super) const FULL_BODIES: usize = 8;
/// Longest time for the head of a request, and between two requests of a connection.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(15);
/// Longest time in which a client takes no byte of its answer.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(15);
/// Longest time that the rest of a refused body is read, so that the client sees the answer.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(5);
/// Most bytes of a request's head.
pub(super) const HEAD_BYTES: usize = 16 << 10;
/// Most normal images of a request.
pub(super) const NORMALS: usize = 16;
/// Most bytes of polygons: filling takes as long as there are corners and rows.
pub(super) const POLYGONS: usize = 256 << 10;
/// Most images that are compared with each other.
pub(super) const GROUP: usize = 64;
/// Most normal images in all memory banks that are kept.
pub(super) const KEPT_NORMALS: usize = 64;
/// Most images of a forward pass.
pub(super) const BATCH: usize = 8;
/// Seconds after which a refused client may come again.
pub(super) const RETRY_SECONDS: u64 = 1;
