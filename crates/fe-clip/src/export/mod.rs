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
mod settings;
#[cfg(test)]
mod tests;
mod tower;
mod write;

use std::path::Path;

use self::graph::{Graph, OPSET, Side};
pub(crate) use self::metadata::Facts;
use self::proto::{IR_VERSION, ModelProto, OperatorSetIdProto};
pub use self::settings::{Export, Exported, MESSAGE_LIMIT, data_file};
use crate::Error;
use crate::scorer::GraphSource;

/// Writes a detector's graph.
pub(crate) fn export(
    path: &Path,
    source: &GraphSource<'_>,
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
