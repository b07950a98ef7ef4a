//! Recognises what stands in the place of a model's file after a download that went wrong.

/// What the first bytes show a file to be, if it is such a stand-in; as the end of a sentence.
pub fn impostor(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(512)];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |with: &str| {
        text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    if bytes.is_empty() {
        Some("is empty: its download or copy did not finish")
    } else if starts("version https://git-lfs.github.com/spec/")
        || starts("version https://hawser.github.com/spec/")
    {
        Some("is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository")
    } else if ["<!doctype", "<html", "<head", "<?xml", "<!--", "<error"].into_iter().any(starts) {
        Some(
            "is a web page, not the file itself: the server answered with a message or a log-in; \
             open it in a browser, and download the file again",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impostors_are_known_by_their_first_bytes() {
        for (bytes, part) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LFS"),
            (b"\n  <!DOCTYPE html><html>", "web page"),
            (b"\xef\xbb\xbf<HTML lang=en>", "web page"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "web page"),
        ] {
            assert!(impostor(bytes).is_some_and(|what| what.contains(part)), "{part}");
        }
        for bytes in [&b"PK\x03\x04"[..], b"{\"model_type\": \"clip\"}", b"version 2", b"<"] {
            assert_eq!(impostor(bytes), None);
        }
    }
}
