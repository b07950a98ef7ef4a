//! A method folded into one ONNX graph of standard operators: an image in, its raw score and map
//! out.
//!
//! `graph.rs` appends nodes and knows nothing of models; `tower.rs`, `adapters.rs` and `head.rs`
//! say the model in its words, from the same modules that compute it here; `write.rs` puts graph
//! and weights into files without holding a second copy of the weights.

mod adapters;
mod graph;
mod head;
mod initializer;
mod metadata;
mod proto;
#[cfg(test)]
mod tests;
mod tower;
mod write;

use std::path::{Path, PathBuf};

use data::Preprocess;
use ndarray::Array2;

use self::graph::{Graph, OPSET, Side};
use self::proto::{IR_VERSION, ModelProto, OperatorSetIdProto};
use crate::Error;
use crate::calibrate::{Calibration, ModelIdentity};
use crate::memory::MemoryBank;
use crate::model::FeClip;
use crate::precision::Precision;
use crate::score::ScoreScale;

/// Bytes that one protobuf message may have.
pub const MESSAGE_LIMIT: u64 = i32::MAX as u64;

/// What an exported model is to be and to say about itself.
#[derive(Debug, Clone)]
pub struct Export {
    /// Number format of matrices; norms, biases, transforms and the computation are float32 in
    /// either.
    pub precision: Precision,
    /// With more bytes than this in one file the weights go to another one beside it; at most
    /// [`MESSAGE_LIMIT`].
    pub inline_limit: u64,
    /// What the model is made of.
    pub identity: ModelIdentity,
    /// The thresholds to be recorded.
    pub calibration: Option<Calibration>,
}

/// Files that an export has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of graph and weights.
    pub bytes: u64,
    /// The file with the weights, where they are not in the model's own.
    pub data: Option<PathBuf>,
}

/// The parts of a detector that become a graph.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) model: &'a FeClip,
    /// Tokens of normal images, if the method remembers some.
    pub(crate) bank: Option<&'a MemoryBank>,
    /// Upsampling and smoothing of one axis, `[size, grid]`.
    pub(crate) to_pixels: &'a Array2<f32>,
}

/// What the metadata says beside the settings.
pub(crate) struct Facts<'a> {
    pub(crate) method: &'static str,
    pub(crate) preprocess: &'a Preprocess,
    pub(crate) scale: ScoreScale,
}

/// The file beside a model that weights go to.
pub fn data_file(model: &Path) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".data");
    name.into()
}

/// Writes a detector's graph.
pub(crate) fn export(
    path: &Path,
    source: &Source<'_>,
    facts: &Facts<'_>,
    settings: &Export,
) -> Result<Exported, Error> {
    let size = source.to_pixels.nrows();
    let mut graph = Graph::new(settings.precision);
    let batch = || Side::Free("n");
    let square = || Side::Fixed(size);
    let image = graph.input(
        "image",
        &[batch(), Side::Fixed(3), square(), square()],
        "RGB in [0, 1], resized as the metadata fe-clip.preprocess says",
    );
    let (score, map) = head::method(&mut graph, source, facts.preprocess, &image);
    graph.output("score", &[batch()], "raw anomaly score of the image", &score);
    let about = "raw anomaly of every pixel of the input";
    graph.output("map", &[batch(), square(), square()], about, &map);
    let (graph, constants) = graph.finish(facts.method);
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "fe-clip".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!("{}, {size} x {size} pixels", facts.method),
        graph: None,
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        metadata_props: metadata::entries(facts, settings),
    };
    write::write(path, &model, &graph, &constants, settings.inline_limit.min(MESSAGE_LIMIT))
}
