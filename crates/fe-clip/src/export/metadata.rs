//! What an exported model says about itself: texts, most of them JSON.

use std::path::Path;

use data::{Preprocess, Resize};
use serde_json::json;

use super::proto::StringStringEntryProto;
use super::settings::Export;
use crate::score::ScoreScale;

/// What the metadata says beside the settings.
pub(crate) struct Facts<'a> {
    pub(crate) method: &'static str,
    pub(crate) preprocess: &'a Preprocess,
    pub(crate) scale: ScoreScale,
}

/// Keys begin with `fe-clip.`; docs/deploy.md lists them.
pub(super) fn entries(facts: &Facts<'_>, settings: &Export) -> Vec<StringStringEntryProto> {
    let Export { precision, identity, calibration, .. } = settings;
    let preprocess = facts.preprocess;
    let mut resize = json!({
        "mode": preprocess.resize,
        "width": preprocess.width,
        "height": preprocess.height,
        "filter": "bicubic, a = -0.5, antialiased, on 8-bit RGB: Pillow's BICUBIC",
        "scale": "divide by 255; mean and deviation are inside the graph",
    });
    if preprocess.resize == Resize::Letterbox {
        resize["padding"] = json!(preprocess.mean.map(|mean| (mean * 255.0).round() as u8));
    }
    let scale = match facts.scale {
        ScoreScale::Unit => "score = raw",
        ScoreScale::Open => "score = raw up to 0.5, above it 1 - 1 / (4 raw)",
    };
    let mut config = identity.config.clone();
    // A file that is passed on says nothing of the folders it was made from.
    let place = Path::new(&config.backbone);
    if place.is_absolute()
        && let Some(name) = place.file_name()
    {
        config.backbone = name.to_string_lossy().into_owned();
    }
    let mut entries = vec![
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("method", facts.method.to_string()),
        ("prompts", json!(identity.prompts).to_string()),
        ("preprocess", resize.to_string()),
        ("score-scale", scale.to_string()),
        ("config", json!(config).to_string()),
        (
            "sha256",
            json!({
                "backbone": identity.backbone,
                "adapters": identity.adapters,
                "normals": identity.references,
            })
            .to_string(),
        ),
        ("weights", json!(precision).to_string()),
    ];
    if let Some(calibration) = calibration {
        let thresholds = json!({
            "score": calibration.image.threshold,
            "map": calibration.pixel.threshold,
            "rule": "a raw value above its threshold is anomalous",
            "false_alarm_rate": calibration.false_alarm_rate,
        });
        entries.push(("thresholds", thresholds.to_string()));
    }
    let entry = |(key, value): (&str, String)| StringStringEntryProto {
        key: format!("fe-clip.{key}"),
        value,
    };
    entries.into_iter().map(entry).collect()
}
