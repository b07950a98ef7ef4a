//! Sentences about a picture, in the ordinary vocabulary of CLIP's captions.

use rand::Rng;

use crate::{DefectKind, Scene, categories};

const NORMAL: [&str; 10] = [
    "normal",
    "flawless",
    "perfect",
    "intact",
    "undamaged",
    "clean",
    "unblemished",
    "good",
    "new",
    "faultless",
];
const DAMAGED: [&str; 10] = [
    "damaged",
    "broken",
    "defective",
    "flawed",
    "faulty",
    "imperfect",
    "blemished",
    "anomalous",
    "abnormal",
    "bad",
];
const WITHOUT: [&str; 5] =
    ["without defect", "without damage", "without flaw", "with no defects", "in good condition"];
const WITH: [&str; 5] =
    ["with a defect", "with damage", "with a flaw", "with an anomaly", "in bad condition"];
const VIEWS: [&str; 12] = [
    "a photo of",
    "a close-up photo of",
    "a cropped photo of",
    "a picture of",
    "an image of",
    "a good photo of",
    "a photo of the",
    "a close-up of",
    "a photo of one",
    "an industrial inspection image of",
    "a photograph of",
    "a top view of",
];

fn pick<'a>(from: &[&'a str], rng: &mut impl Rng) -> &'a str {
    from[rng.random_range(0..from.len() as u32) as usize]
}

fn chance(probability: f32, rng: &mut impl Rng) -> bool {
    (rng.next_u32() >> 8) as f32 / 16_777_216.0 < probability
}

/// "a" or "an" before a word.
fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// A noun phrase with its article; materials such as "leather" take none.
fn phrase(adjectives: &str, noun: &str, texture: bool) -> String {
    let words =
        if adjectives.is_empty() { noun.to_string() } else { format!("{adjectives} {noun}") };
    let countable =
        !texture || noun.ends_with("tile") || noun.ends_with("cell") || noun.ends_with("pattern");
    if countable && !noun.ends_with("pieces") {
        format!("{} {words}", article(&words))
    } else {
        words
    }
}

/// The name of the picture's prevailing colour; none for a grey-scale camera.
fn color_word(scene: &Scene) -> Option<&'static str> {
    if scene.grey {
        return None;
    }
    let (side, _) = scene.image.dimensions();
    let texture = categories()[scene.category].texture;
    let (from, to) = if texture { (0, side) } else { (side * 3 / 8, side * 5 / 8) };
    let mut sum = [0u64; 3];
    let mut count = 0;
    for y in (from..to).step_by(5) {
        for x in (from..to).step_by(5) {
            for (s, &c) in sum.iter_mut().zip(&scene.image.get_pixel(x, y).0) {
                *s += u64::from(c);
            }
            count += 1;
        }
    }
    let [r, g, b] = sum.map(|s| (s / count.max(1)) as i32);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let spread = high - low;
    if spread * 5 < high || spread < 18 {
        return Some(match high {
            0..=50 => "black",
            51..=170 => "gray",
            _ => "white",
        });
    }
    Some(if high == r {
        if g - b > spread / 2 {
            if high > 170 && g * 4 > r * 3 {
                "yellow"
            } else if high > 190 {
                "orange"
            } else {
                "brown"
            }
        } else if b > g + spread / 3 {
            "pink"
        } else if high < 150 && g > b {
            "brown"
        } else {
            "red"
        }
    } else if high == g {
        "green"
    } else if r > g + spread / 3 {
        "purple"
    } else {
        "blue"
    })
}

/// A caption of the picture.
///
/// Most name the state ("normal", "damaged" and their like) of the thing by its noun or as an
/// "object", "surface" or "part"; some name the defect; some name neither, but material, colour and
/// light. A caption never says of a picture what is not so.
pub fn caption(scene: &Scene, rng: &mut impl Rng) -> String {
    let category = &categories()[scene.category];
    let damaged = scene.defect.is_some();
    if chance(0.12, rng) {
        let state = if damaged { "damaged" } else { "normal" };
        return format!("A photo of a {state} object");
    }
    let (noun, texture) = if chance(0.3, rng) {
        let generic = if category.texture {
            ["surface", "texture", "object"]
        } else {
            ["object", "part", "product"]
        };
        (pick(&generic, rng), false)
    } else {
        (category.noun, category.texture)
    };
    let mut look = Vec::new();
    let style = rng.random_range(0..100u32);
    let plain = style >= 85;
    if let Some(mood) = scene.mood.filter(|_| chance(if plain { 0.7 } else { 0.1 }, rng)) {
        look.push(mood);
    }
    let says_state = style < 60;
    if says_state {
        look.push(pick(if damaged { &DAMAGED } else { &NORMAL }, rng));
    }
    if chance(if plain { 0.8 } else { 0.2 }, rng) {
        look.extend(color_word(scene));
    }
    let mut view = pick(&VIEWS, rng);
    if scene.grey && chance(0.2, rng) {
        view = "a black and white photo of";
    }
    let thing = phrase(&look.join(" "), noun, texture);
    let thing = match view {
        "a photo of the" | "a photo of one" => {
            view.rsplit(' ').next().map_or(thing.clone(), |word| {
                let bare = thing.strip_prefix("a ").or(thing.strip_prefix("an ")).unwrap_or(&thing);
                format!("{word} {bare}")
            })
        }
        _ => thing,
    };
    let view = view.trim_end_matches(" the").trim_end_matches(" one");
    let tail = match (scene.defect, style) {
        (_, 85..) => String::new(),
        (Some(kind), 25..75) => format!(" with {}", kind.phrase()),
        (Some(_), 75..85) => format!(" {}", pick(&WITH, rng)),
        (None, 45..85) => format!(" {}", pick(&WITHOUT, rng)),
        _ => String::new(),
    };
    format!("{view} {thing}{tail}")
}

/// A caption of a photograph, sound or damaged ("a photo of a broken surface with a crack"); `texture` where it shows
/// a material and not things. Its noun says no more than is known.
pub fn photograph_caption(kind: Option<DefectKind>, texture: bool, rng: &mut impl Rng) -> String {
    let nouns =
        if texture { ["surface", "texture", "material"] } else { ["scene", "picture", "object"] };
    let noun = pick(&nouns, rng);
    let style = rng.random_range(0..100u32);
    let state = match kind {
        _ if style >= 75 => "",
        Some(_) => pick(&DAMAGED, rng),
        None => pick(&NORMAL, rng),
    };
    let tail = match (kind, style) {
        (Some(kind), 35..) => format!(" with {}", kind.phrase()),
        (None, 60..) => format!(" {}", pick(&WITHOUT, rng)),
        _ => String::new(),
    };
    format!("a photo of {}{tail}", phrase(state, noun, false))
}

/// A phrase for a region of a picture: the defect there, or the sound material.
///
/// # Panics
/// If the category is not below `categories().len()`.
pub fn region_caption(kind: Option<DefectKind>, category: usize, rng: &mut impl Rng) -> String {
    let category = &categories()[category];
    let generic = chance(0.25, rng);
    let noun = match (generic, category.texture) {
        (false, _) => category.noun,
        (true, true) => pick(&["surface", "texture", "material"], rng),
        (true, false) => pick(&["object", "part", "surface"], rng),
    };
    let texture = category.texture && !generic;
    let choice = rng.random_range(0..4u32);
    match kind {
        Some(kind) => match choice {
            0 => kind.phrase().to_string(),
            1 => {
                let place =
                    if texture { noun.to_string() } else { format!("{} {noun}", article(noun)) };
                let preposition = if chance(0.5, rng) { "on" } else { "in" };
                format!("{} {preposition} {place}", kind.phrase())
            }
            2 => phrase(pick(&DAMAGED, rng), noun, texture),
            _ => phrase("damaged", noun, texture),
        },
        None => match choice {
            0 => phrase("", noun, texture),
            1 => format!("{} {}", phrase("", noun, texture), pick(&WITHOUT, rng)),
            2 => phrase(pick(&NORMAL, rng), noun, texture),
            _ => phrase("normal", noun, texture),
        },
    }
}
