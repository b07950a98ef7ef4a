//! `report.html`: the page, its style and its script in one file that loads nothing.

use serde_json::Value;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page with the data that its script shows.
///
/// # Errors
/// If the data cannot be written as JSON.
pub(crate) fn html(data: &Value) -> Result<String, serde_json::Error> {
    // Within a script element only `<` can end it or open a comment: a file may have any name.
    let data = serde_json::to_string(data)?.replace('<', "\\u003c");
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    for (mark, content) in [("/*STYLE*/", STYLE), ("/*DATA*/", &data), ("/*SCRIPT*/", SCRIPT)] {
        let (before, after) = rest.split_once(mark).expect("the page has a place for each part");
        page.push_str(before);
        page.push_str(content);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_cannot_leave_their_element() {
        let page = html(&json!({ "path": "</script><script>alert(1)</script><!--" })).unwrap();
        assert!(!page.contains("<script>alert") && !page.contains("<!--"));
        assert!(page.contains("\\u003c/script>"));
    }

    #[test]
    fn nothing_is_loaded_from_anywhere() {
        let page = html(&json!({})).unwrap();
        assert!(page.contains("default-src 'none'"));
        for outside in ["http://", "https://", "src=\"", "@import", "fetch(", "XMLHttpRequest"] {
            let found = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(outside), "{outside}");
        }
    }
}
