//! The tokenizer against OpenAI's and open_clip's own (`tokenizer.py`).

use clip_vit::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    mojibake: Vec<Case>,
    rows: Vec<Vec<u32>>,
    short: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("tokenizer.json")).unwrap()
}

#[test]
fn nasty_texts_have_openais_ids() {
    let tokenizer = Tokenizer::new();
    let cases = golden().cases;
    assert!(cases.len() > 400);
    let wrong: Vec<String> = cases
        .iter()
        .filter(|case| tokenizer.encode(&case.text) != case.ids)
        .map(|case| {
            format!(
                "{:?}: expected {:?}, got {:?}",
                case.text,
                case.ids,
                tokenizer.encode(&case.text)
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} texts differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn rows_are_open_clips() {
    let tokenizer = Tokenizer::new();
    let golden = golden();
    let long = "the quick brown fox jumps over the lazy dog ".repeat(12);
    assert_eq!(tokenizer.tokenize(&["a photo of a cat", &long, ""], 77), golden.rows);
    assert_eq!(tokenizer.tokenize(&["a photo of a cat"], 5), golden.short);
}

/// The documented difference, so that the documentation is told when it ends.
#[test]
fn mojibake_is_not_repaired() {
    let tokenizer = Tokenizer::new();
    for case in golden().mojibake {
        assert_ne!(tokenizer.encode(&case.text), case.ids, "{}", case.text);
        assert!(!tokenizer.encode(&case.text).is_empty());
    }
}
