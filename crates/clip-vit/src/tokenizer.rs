//! CLIP's byte-pair tokenizer, with OpenAI's vocabulary built in.
//!
//! Text is cleaned, lower-cased, split into words, and each word's UTF-8 bytes are merged by rank.
//! Ids are those of OpenAI's `simple_tokenizer.py`: 256 byte symbols, the same 256 at the end of a word,
//! 48,894 merges, start of text, end of text.
//!
//! The one thing not reproduced is the repair of mojibake (text decoded with the wrong encoding, `schÃ¶n`),
//! which the Python tokenizers leave to `ftfy`: such text is tokenized as it stands.
//! Numeric HTML references to code points that Unicode reserves (`&#xFFFE;`) stay, where Python drops them.
//!
//! Source: Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units*, and
//! <https://github.com/openai/CLIP/blob/d05afc436d78f1c48dc0dbf8e5980a9d471f35f6/clip/simple_tokenizer.py>.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use regex::Regex;

mod clean;

/// Id of the start-of-text token.
pub const START_OF_TEXT: u32 = 49_406;
/// Id of the end-of-text token, the largest of all ids.
pub const END_OF_TEXT: u32 = 49_407;
/// Number of ids.
pub const VOCABULARY_SIZE: usize = 49_408;

const VOCABULARY: &[u8] = include_bytes!("../data/bpe_simple_vocab_16e6.txt.gz");
const MERGES: usize = VOCABULARY_SIZE - 2 * 256 - 2;
const WORDS: &str =
    r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// CLIP's tokenizer.
///
/// ```
/// let tokenizer = clip_vit::Tokenizer::new();
/// assert_eq!(tokenizer.encode("A photo of a normal object"), [320, 1125, 539, 320, 5967, 14115]);
/// ```
pub struct Tokenizer {
    /// Two neighbouring symbols to the symbol that replaces them; a smaller result is merged earlier.
    merges: HashMap<(u32, u32), u32>,
    byte_symbols: [u32; 256],
    words: Regex,
}

impl Tokenizer {
    /// Reads the vocabulary that is built in.
    pub fn new() -> Self {
        let mut symbols = HashMap::with_capacity(VOCABULARY_SIZE);
        let mut byte_symbols = [0; 256];
        for (id, (byte, character)) in byte_characters().into_iter().enumerate() {
            byte_symbols[usize::from(byte)] = id as u32;
            symbols.insert(character.to_string(), id as u32);
            symbols.insert(format!("{character}</w>"), id as u32 + 256);
        }
        let mut merges = HashMap::with_capacity(MERGES);
        let lines = BufReader::new(GzDecoder::new(VOCABULARY)).lines().skip(1).take(MERGES);
        for (line, id) in lines.zip(2 * 256..) {
            let line = line.expect("the vocabulary that is built in is a gzip file of UTF-8 lines");
            let (first, second) = line.split_once(' ').expect("a merge has two symbols");
            merges.insert((symbols[first], symbols[second]), id);
            symbols.insert([first, second].concat(), id);
        }
        let words = Regex::new(WORDS).expect("the pattern is valid");
        Self { merges, byte_symbols, words }
    }

    /// The ids of a text, without start, end and padding.
    ///
    /// Empty for a text without visible characters.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = clean::clean(text);
        let mut ids = Vec::new();
        for word in self.words.find_iter(&text) {
            match word.as_str() {
                "<|startoftext|>" => ids.push(START_OF_TEXT),
                "<|endoftext|>" => ids.push(END_OF_TEXT),
                word => ids.extend(self.merge(word)),
            }
        }
        ids
    }

    /// The rows that a text tower takes: start, ids, end, padded with zeros.
    ///
    /// A text that is too long loses its last ids and keeps the end token, as in open_clip
    /// (OpenAI's own function raises an error instead).
    ///
    /// # Shapes
    /// - output: `[texts, context_length]`
    ///
    /// # Panics
    /// If `context_length` is less than 2.
    pub fn tokenize(&self, texts: &[impl AsRef<str>], context_length: usize) -> Vec<Vec<u32>> {
        assert!(
            context_length >= 2,
            "tokenize: expected a context of at least 2, got {context_length}"
        );
        let row = |text: &str| {
            let mut row = vec![START_OF_TEXT];
            row.extend(self.encode(text));
            row.truncate(context_length - 1);
            row.push(END_OF_TEXT);
            row.resize(context_length, 0);
            row
        };
        texts.iter().map(|text| row(text.as_ref())).collect()
    }

    fn merge(&self, word: &str) -> Vec<u32> {
        let mut symbols: Vec<u32> =
            word.bytes().map(|byte| self.byte_symbols[usize::from(byte)]).collect();
        if let Some(last) = symbols.last_mut() {
            *last += 256;
        }
        let rank = |pair: &[u32]| self.merges.get(&(pair[0], pair[1])).copied();
        while let Some(merged) = symbols.windows(2).filter_map(rank).min() {
            let mut kept = 0;
            let mut next = 0;
            while next < symbols.len() {
                let is_pair =
                    next + 1 < symbols.len() && rank(&symbols[next..next + 2]) == Some(merged);
                symbols[kept] = if is_pair { merged } else { symbols[next] };
                kept += 1;
                next += if is_pair { 2 } else { 1 };
            }
            symbols.truncate(kept);
        }
        symbols
    }
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes in the order of their ids, each with the character that stands for it in the vocabulary file:
/// the visible ones of Latin-1 for themselves, then the others, from U+0100 on.
fn byte_characters() -> Vec<(u8, char)> {
    let visible = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let hidden = (0..=u8::MAX).filter(|byte| !visible(byte)).zip('\u{100}'..);
    (0..=u8::MAX).filter(visible).map(|byte| (byte, char::from(byte))).chain(hidden).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn vocabulary_is_openais() {
        let mut lines = Vec::new();
        GzDecoder::new(VOCABULARY).read_to_end(&mut lines).unwrap();
        let digest = Sha256::digest(&lines);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "685491abbdad36159d094ecdc23bebc0dd53f8d1df35c4d74ef6036db2ba7572");
        assert_eq!(Tokenizer::new().merges.len(), MERGES);
    }

    #[test]
    fn openais_vectors() {
        let tokenizer = Tokenizer::new();
        let cases: [(&str, &[u32]); 5] = [
            ("A photo of a normal object", &[320, 1125, 539, 320, 5967, 14115]),
            ("A photo of a damaged object", &[320, 1125, 539, 320, 13568, 14115]),
            ("A photo of a damaged object.", &[320, 1125, 539, 320, 13568, 14115, 269]),
            (
                "a photo of the metal nut for visual inspection.",
                &[320, 1125, 539, 518, 4044, 6491, 556, 7195, 15142, 269],
            ),
            ("  Héllo &amp;  WORLD!! 123 ", &[71, 3459, 19293, 261, 1002, 748, 272, 273, 274]),
        ];
        for (text, ids) in cases {
            assert_eq!(tokenizer.encode(text), ids, "{text}");
        }
    }

    #[test]
    fn rows_are_framed_padded_and_cut() {
        let tokenizer = Tokenizer::new();
        let rows = tokenizer.tokenize(&["", "a photo", "a photo of a normal object"], 5);
        assert_eq!(rows[0], [START_OF_TEXT, END_OF_TEXT, 0, 0, 0]);
        assert_eq!(rows[1], [START_OF_TEXT, 320, 1125, END_OF_TEXT, 0]);
        assert_eq!(rows[2], [START_OF_TEXT, 320, 1125, 539, END_OF_TEXT]);
    }
}
