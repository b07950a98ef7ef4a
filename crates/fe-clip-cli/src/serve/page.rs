//! The web page: one document, put together from its parts, and the policy that allows no others.

use axum::http::HeaderValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fe_clip::group::SMALLEST_GROUP;
use fe_clip::overlay::colour;
use sha2::{Digest, Sha256};

/// The page and its content security policy.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: HeaderValue,
}

const SCRIPTS: [&str; 8] = [
    include_str!("page/regions.js"),
    include_str!("page/places.js"),
    include_str!("page/server.js"),
    include_str!("page/picture.js"),
    include_str!("page/results.js"),
    include_str!("page/page.js"),
    include_str!("page/drawing.js"),
    include_str!("page/live.js"),
];

impl Page {
    /// Puts the page together for a server's default threshold.
    pub(super) fn new(threshold: Option<f64>) -> Self {
        let style = include_str!("page/style.css");
        let colours: Vec<[u8; 3]> = (0..=255).map(|v| colour(v as f32 / 255.0).0).collect();
        let script = format!(
            "\"use strict\";\nconst COLOURS = {};\nconst THRESHOLD = {};\nconst SMALLEST_GROUP = {};\n{}",
            serde_json::json!(colours),
            serde_json::json!(threshold.unwrap_or(0.5)),
            SMALLEST_GROUP,
            SCRIPTS.join("\n"),
        );
        let html = include_str!("page/index.html")
            .replace("/* STYLE */", style)
            .replace("/* SCRIPT */", &script);
        let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src \
             'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors \
             'none'",
            hash(&script),
            hash(style),
        );
        Self { html, policy: HeaderValue::try_from(policy).expect("hashes are ASCII") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = Page::new(Some(0.25));
        assert!(page.html.contains("const THRESHOLD = 0.25;"));
        assert!(!page.html.contains("/* STYLE */") && !page.html.contains("/* SCRIPT */"));
        for outside in ["http://", "https://", " src=", "@import", "url("] {
            assert!(!page.html.contains(outside), "{outside}");
        }
    }
}
