//! What the Python tokenizers do to a text before they split it: `ftfy.fix_text` (except for mojibake),
//! `html.unescape` twice, white space, lower case.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization;

static ENTITY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("&#?[0-9A-Za-z]{1,24};").expect("the pattern is valid"));
static TERMINAL_ESCAPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\x1b\\[[\\d;]*[a-zA-Z]").expect("the pattern is valid"));

/// Repairs characters, decodes HTML, collapses white space and lower-cases.
pub(super) fn clean(text: &str) -> String {
    let fixed;
    // Plain ASCII without control characters and entities is what `fix` returns unchanged.
    let text = if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'&') {
        text
    } else {
        fixed = fix(text);
        &fixed
    };
    let text = htmlize::unescape(htmlize::unescape(text));
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// `ftfy.fix_text`: line by line, each until nothing changes. A `<` is taken for HTML, whose entities stay
/// in that line and in those after it.
fn fix(text: &str) -> String {
    let mut is_html = false;
    text.split_inclusive('\n')
        .map(|line| {
            is_html |= line.contains('<');
            let mut line = line.to_string();
            loop {
                let unescaped = if is_html { line.clone() } else { unescape_unambiguous(&line) };
                let fixed = fix_characters(&unescaped);
                if fixed == line {
                    return line;
                }
                line = fixed;
            }
        })
        .collect()
}

/// Entities with their semicolon only, and names of lower-case letters in upper case too.
fn unescape_unambiguous(text: &str) -> String {
    let decode = |entity: &Captures<'_>| {
        let entity = &entity[0];
        let decoded = htmlize::unescape(entity);
        if !decoded.contains(';') || entity == "&semi;" {
            return decoded.into_owned();
        }
        let lower = entity.to_lowercase();
        match htmlize::unescape(lower.as_str()) {
            decoded if entity == entity.to_uppercase() && !decoded.contains(';') => {
                decoded.to_uppercase()
            }
            _ => entity.to_string(),
        }
    };
    ENTITY.replace_all(text, decode).into_owned()
}

fn fix_characters(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // C1 controls are meant as Windows-1252, which is also how HTML reads their references.
            '\u{80}'..='\u{9f}' => {
                fixed += &htmlize::unescape(format!("&#{};", u32::from(character)))
            }
            '\u{132}'..='\u{133}' | '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' => {
                fixed.extend([character].into_iter().nfkc())
            }
            'ŉ' => fixed += "ʼn",
            'ﬅ' => fixed += "ſt",
            'ﬀ'..='ﬆ' | '\u{3000}' | '\u{ff01}'..='\u{ffef}' => {
                fixed.extend([character].into_iter().nfkc())
            }
            _ => fixed.push(character),
        }
    }
    let straight = |character| match character {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
        other => other,
    };
    let fixed: String = fixed.replace("\r\n", "\n").chars().map(straight).collect();
    let fixed = TERMINAL_ESCAPE.replace_all(&fixed, "");
    fixed.chars().filter(|&character| !is_control(character)).nfc().collect()
}

/// Control characters that are no white space, and markup-unsafe ones (`ftfy.fixes.remove_control_chars`).
fn is_control(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}
