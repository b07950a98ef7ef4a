//! The crate against transformers, open_clip and OpenAI's tokenizer: each module names the script beside it that
//! made its files. And against files that nobody should make.

#![allow(clippy::unwrap_used)]

mod hub;
mod models;
mod positions;
mod refused;
mod state_dict;
mod tokenizer;
