//! Boxes as YOLO reads them: a line a region, its class and its box in shares of the image.

use fe_clip::Region;

use crate::own::Mark;

/// The text of a file; its first line ends in a mark that is white space, which readers strip.
///
/// A line is `0 X Y WIDTH HEIGHT`: 0 is the only class, X and Y are the middle of the box.
pub(crate) fn encode(regions: &[Region], (width, height): (u32, u32), mark: Mark) -> String {
    let (w, h) = (f64::from(width), f64::from(height));
    let line = |region: &Region| {
        let [x, y, width, height] =
            [region.x, region.y, region.width, region.height].map(f64::from);
        format!(
            "0 {:.6} {:.6} {:.6} {:.6}",
            (x + width / 2.0) / w,
            (y + height / 2.0) / h,
            width / w,
            height / h
        )
    };
    let mut lines: Vec<String> = regions.iter().map(line).collect();
    match lines.first_mut() {
        Some(first) => first.push_str(&mark.blank()),
        None => lines.push(mark.blank()),
    }
    lines.join("\n") + "\n"
}

/// The mark in the start of a file.
pub(crate) fn mark(start: &[u8]) -> Option<Mark> {
    Mark::parse_blank(start.split(|byte| *byte == b'\n').next()?)
}
