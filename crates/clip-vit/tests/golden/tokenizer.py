"""Writes tokenizer.json: nasty texts with the ids of OpenAI's and of open_clip's tokenizer.

Usage: python tokenizer.py   (versions: requirements.txt)
"""
import importlib.util
import json
import pathlib
import random

import ftfy
import open_clip.tokenizer

FOLDER = pathlib.Path(__file__).parent


def openai_tokenizer():
    """clip.simple_tokenizer alone: the package itself imports torchvision and pkg_resources."""
    import importlib.metadata

    file = next(f for f in importlib.metadata.files("clip-anytorch") if f.name == "simple_tokenizer.py")
    spec = importlib.util.spec_from_file_location("simple_tokenizer", file.locate())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


TEXTS = [
    "", " ", "\t\n\r ", "a", "A photo of a normal object", "A photo of a damaged object", "A photo of a damaged object.",
    "a photo of the metal nut for visual inspection.", "  Héllo &amp;  WORLD!! 123 ",
    "a JPEG corrupted photo of a {}", "don't won't I'VE they'LL he'D we're it's I'm 'S'T",
    "don’t “quote” ‘x’ ‛y‟ ʼn", "rock'n'roll''s 'sabc s' '", "naïve café Ångström Æsir œuvre ß ẞ straße ĳ Ĳ ŉ Ǆ ǅ ǆ ﬁ ﬃ ﬅ ﬆ",
    "e\u0301 a\u030a n\u0303 \u1e9b\u0323 o\u0302\u0323", "ΑΣ ΣΑΣ ὈΔΥΣΣΕΎΣ ΜΆΪΟΣ Σ", "İstanbul ISPARTA ı ſ 'ſ K Å Ω",
    "Привет, мир! Ёлка", "你好，世界。漢字カタカナひらがな", "한국어 텍스트 ㅎㅏㄴ", "שלום עולם", "مرحبا بالعالم ١٢٣", "हिन्दी में पाठ १२३", "ภาษาไทย",
    "ＬＯＵＤ　ＮＯＩＳＥＳ １２３ ｶﾀｶﾅ ﾊﾟ ￥", "😀😃 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 ❤️ ☃ ✓", "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    "&lt;b&gt;bold&lt;/b&gt;", "<b>&amp;</b>", "&amp;amp;amp;amp;lt;", "&amp", "&ampx &notit; &notin; &copy2024 &AMP; &LT &EACUTE; &Eacute; &eacute &SZLIG; &NTILDE; &nTILDE;",
    "&#65; &#x41; &#X41 &#65 &#x1F600; &#0; &#128; &#x80; &#150; &#xD800; &#x110000; &#99999999999999999999; &#; &#x; &; &unknown; &semi;",
    "&frac12; &hellip; &mdash; &nbsp; &zwj; &NotEqualTilde; &CounterClockwiseContourIntegral; &fjlig;", "x &lt y &gt z && a&b & c",
    "&lt;a &amp;\n&lt;b < c\n&eacute; &EACUTE;", "5 &lt; 6 < 7 &amp; 8\n&AMP; &HELLIP;",
    "1234567890 1,234.56 1e-5 ½ ² Ⅷ ① ٣", "C:\\path\\to\\file_name.png", "https://example.com/a?b=c&d=e#f", "user@host.tld #tag $5.00 50% a_b__c --flag",
    "..... !!! ??? ;;; ((())) [[]] {{}} <<>> ~~~ ``` ^^^ === +++ ***", "—–‐‑‒― … · • § ¶ † ‡ ° ± × ÷ µ € £ ¥ ™ ® ©",
    "a\u00a0b\u2003c\u200bd\u200ce\u200df\ufeffg\u2028h\u2029i\u0085j\u180ek\u3000l", "\x00\x01\x07\x08tab\x0bvt\x0cff\x1b[31mred\x1b[0m\x1b[m\x1b\x7f",
    "a\x1cb\x1db\x1ec\x1fd", "\u0080\u0093 \u0094 \u0099 \u009f", "\u202eright\u202c \u200fmark\u200e \u206a\ufff9x\ufffa\ufffc",
    "\ufffd \ufffe \uffff \U0010ffff \ue000", "line one\r\nline two\rline three\nline four", "\u0344 \u0958 \u2126 \ufb1d \u0d4a \u1100\u1161\u11a8",
    "<|startoftext|> a <|endoftext|>", "<|STARTOFTEXT|><|EndOfText|>", "<start_of_text>a<end_of_text>", "<|startoftext|", "a</w> </w> </W>", "Ġ Ċ ĠĠ ¡¬ ® ÿ Ā",
    "z̸̢̛a̷l̶g̵o̴ ț̷e̵x̶t̸", "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 300, "ab" * 200, "é" * 120, "1" * 100, "!" * 100,
    "the quick brown fox jumps over the lazy dog " * 12, "ǅungla ǈ ǋ", "ﬀﬂ ﷺ ﷽", "ᾳ ᾼ ŉa Ꭰ ꭰ Ა ა ẞ", "ⓐ Ⓐ ㈱ ㎏ ℃ ™ ㏂", "𝒜𝓁𝑔 𝔸 𝟙 𐐀 𐐨",
]
MOJIBAKE = ["schÃ¶n", "âœ” No problems", "The Mona Lisa doesnâ€™t have eyebrows."]


def is_mojibake(text):
    """Whether ftfy's repair of wrongly decoded text, which is not reproduced, acts on it."""
    return ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False)


def random_texts(count):
    """Random strings of awkward pieces."""
    rng = random.Random(0)
    pieces = (
        list("abcXYZ019 .,!?'\"&;#<>/-_\t\n") + ["'s", "'LL", "&amp;", "&lt;", "&#39;", "&quot", "é", "É", "e\u0301", "ß", "İ", "Σ", "ς", "ﬁ", "“", "’"]
        + ["…", "😀", "\u200d", "漢", "カ", "ﾊ", "ﾟ", "Ａ", "\u3000", "\u00a0", "\u2028", "½", "²", "٣", "ї", "한", "\x1b[1m", "\x07", "the", "photo", "Object"]
    )
    return ["".join(rng.choice(pieces) for _ in range(rng.randint(1, 24))) for _ in range(count)]


def main():
    openai, open_clip_ = openai_tokenizer(), open_clip.tokenizer.SimpleTokenizer()
    cases = []
    texts = TEXTS + random_texts(400)
    for text in (text for text in texts if not is_mojibake(text)):
        case = {"text": text, "ids": openai.encode(text)}
        if (other := open_clip_.encode(text)) != case["ids"]:
            case["open_clip"] = other
        cases.append(case)
    rows = open_clip_(["a photo of a cat", "the quick brown fox jumps over the lazy dog " * 12, ""]).tolist()
    short = open_clip_(["a photo of a cat"], context_length=5).tolist()
    mojibake = [{"text": text, "ids": openai.encode(text)} for text in MOJIBAKE + [text for text in texts if is_mojibake(text)]]
    document = {"cases": cases, "mojibake": mojibake, "rows": rows, "short": short}
    # One case a line: differences stay readable.
    lines = ",\n".join(json.dumps(case) for case in cases)
    tail = json.dumps({key: document[key] for key in ("mojibake", "rows", "short")})[1:]
    (FOLDER / "tokenizer.json").write_text('{"cases": [\n' + lines + "\n],\n" + tail + "\n")
    json.loads((FOLDER / "tokenizer.json").read_text())
    print(len(cases), "cases;", sum("open_clip" in case for case in cases), "differ between OpenAI and open_clip")


main()
