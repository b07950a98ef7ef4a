//! The fe-clip program.
fn main() {}
