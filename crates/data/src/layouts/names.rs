//! Names of files: which are ignored, and which are the same in another spelling.

use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// What systems put beside people's files, in lower case.
const LITTER: [&str; 25] = [
    // Windows
    "$recycle.bin",
    "recycler",
    "recycled",
    "system volume information",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    // macOS
    "__macosx",
    "network trash folder",
    "temporary items",
    "icon\r",
    // Linux and Android
    "lost+found",
    "lost.dir",
    // Synology, QNAP and NetApp
    "@eadir",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "@__thumb",
    "@sharebin",
    "#recycle",
    "#snapshot",
    "~snapshot",
    // picture viewers
    "picasa.ini",
    "zbthumbnail.info",
];

/// Whether a file or folder of this name is no part of the data: hidden, or put there by a system.
pub(crate) fn is_litter(name: &str) -> bool {
    name.starts_with('.') || LITTER.contains(&name.to_lowercase().as_str())
}

/// The form in which names are compared: in lower case and composed (NFC), since macOS stores accents decomposed.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase().nfc().collect()
}

/// The path of this name among several: an exact match, else the first that differs in case or composition alone.
pub(super) fn pick<'a>(paths: &'a [PathBuf], wanted: &str) -> Option<&'a PathBuf> {
    let alike = |path: &&PathBuf| folded(&name(path)) == folded(wanted);
    paths.iter().find(|path| name(path) == wanted).or_else(|| paths.iter().find(alike))
}

/// The last component of a path, for messages.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The last part of a path without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litter_in_any_case() {
        for name in [
            "@eaDir",
            "$RECYCLE.BIN",
            "#recycle",
            ".thumbnails",
            "System Volume Information",
            "__MACOSX",
            "THUMBS.DB",
            "thumbs.db",
            "Desktop.ini",
            "@Recycle",
        ] {
            assert!(is_litter(name), "{name}");
        }
        for name in ["@home", "recycle", "thumbs", "good", "#1.png", "$1"] {
            assert!(!is_litter(name), "{name}");
        }
    }

    #[test]
    fn spellings_of_one_name() {
        assert_eq!(folded("Pru\u{308}fling_MASK"), folded("pr\u{fc}fling_mask"));
        assert_eq!(folded("\u{c4}"), folded("a\u{308}"));
        assert_ne!(folded("u"), folded("\u{fc}"));
    }
}
