//! Where to look: parts of a form that say it as `--roi` and `--ignore` do.

use crate::client::{form, post};
use crate::images::{Folder, assert_same, assert_same_picture, files, pattern};
use crate::process::Server;

const HALF: &[u8] = br#"{"polygons": [[[0, 0], [80, 0], [80, 160], [0, 160]]]}"#;

/// A mask of the left part.
fn mask(width: u32, height: u32, part: u32) -> Vec<u8> {
    let mask =
        image::GrayImage::from_fn(width, height, |x, _| image::Luma([255 * u8::from(x < part)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    mask.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn answers_are_the_command_lines_for_the_same_places() {
    let folder = Folder::synthetic();
    let server = Server::start(&["--threshold", "0.3"]);
    let path = files(&folder.path("parts/gear/test"))[0].display().to_string();
    let image = std::fs::read(&path).unwrap();
    let size = image::load_from_memory(&image).unwrap();
    let third = mask(size.width(), size.height(), size.width() / 3);
    std::fs::write(folder.path("half.json"), HALF).unwrap();
    std::fs::write(folder.path("third.png"), &third).unwrap();
    let url = format!("{}/v1/detect", server.url);
    let mut scores = Vec::new();
    for (flags, parts) in [
        (&[][..], vec![]),
        (&["--roi", "half.json"][..], vec![("roi", "half.json", HALF)]),
        (&["--ignore", "third.png"], vec![("ignore", "third.png", &third[..])]),
        (
            &["--roi", "half.json", "--ignore", "third.png"],
            vec![("ignore", "third.png", &third[..]), ("roi", "half.json", HALF)],
        ),
    ] {
        let usual = [path.as_str(), "--threshold", "0.3", "--out", "out"];
        let line = folder.detect(&[&usual[..], flags].concat()).swap_remove(0);
        let mut all: Vec<(&str, &str, &[u8])> = vec![("image", &path, &image)];
        all.extend(parts);
        let (kind, body) = form(&all);
        let answer = post(&url, &[("content-type", kind)], &body).json();
        assert!(line["score"].is_number(), "{line}");
        for field in ["score", "raw_score", "label", "map_max"] {
            assert_same(&answer, &line, field);
        }
        let count = |value: &serde_json::Value| value["regions"].as_array().unwrap().len();
        assert_eq!(count(&answer), count(&line), "{flags:?}");
        let picture = post(&url, &[("content-type", kind), ("accept", "image/png")], &body);
        let file = std::fs::read(folder.path(line["overlay"].as_str().unwrap())).unwrap();
        assert_same_picture(&picture.body, &file);
        scores.push(answer["score"].to_string());
    }
    scores.dedup();
    assert_eq!(scores.len(), 4, "{scores:?}");
}

#[test]
fn places_that_make_no_sense_are_refused() {
    let server = Server::start(&[]);
    let url = format!("{}/v1/detect", server.url);
    let image = pattern(1, 60, 40);
    let other = mask(61, 40, 9);
    let nothing = mask(60, 40, 0);
    let outside = br#"{"polygons": [[[0, 0], [61, 0], [9, 9]]]}"#;
    let many = format!("{{\"polygons\": [[{}]]}}", vec!["[1, 2]"; 50_000].join(", "));
    for (parts, words) in [
        (vec![("roi", &b"text"[..])], "roi: "),
        (vec![("ignore", b"{}")], "ignore: expected {\"polygons\""),
        (vec![("roi", b"{\"polygons\": []}")], "at least one polygon"),
        (vec![("roi", &other)], "the mask is 61 x 40, the image 60 x 40"),
        (vec![("roi", &nothing)], "nothing is left to look at"),
        (vec![("ignore", outside)], "[61, 0] lies outside"),
        (vec![("roi", many.as_bytes())], "roi: polygons of more than 262144 bytes"),
        (vec![("roi", HALF), ("roi", HALF)], "one part named roi, got several"),
    ] {
        let mut all: Vec<(&str, &str, &[u8])> = vec![("image", "a.png", &image)];
        all.extend(parts.iter().map(|(name, bytes)| (*name, "file", *bytes)));
        let (kind, body) = form(&all);
        let said = post(&url, &[("content-type", kind)], &body).error(422);
        assert!(said.contains(words), "{words}: {said}");
    }
}
