//! `detect --save features`: the picture of the paper's Figure 5.

use data::Preprocess;
use fe_clip::LastStage;
use fe_clip::geometry::to_image;
use fe_clip::overlay::colour;
use image::RgbImage;
use ndarray::{Array2, ArrayView2};

use crate::panels::side_by_side;

/// The image beside four maps of eq. 1: of the last stage's tokens, of FFE's and of LFS's output for
/// them, and of the tokens after both. One square is one token, without smoothing.
pub(crate) fn features(image: &RgbImage, last: &LastStage, preprocessing: &Preprocess) -> RgbImage {
    let mut panels = vec![("image", image.clone())];
    let maps = [
        ("tokens before", Some(&last.before)),
        ("FFE", last.ffe.as_ref()),
        ("LFS", last.lfs.as_ref()),
        ("tokens after", Some(&last.after)),
    ];
    for (title, map) in maps {
        panels.extend(map.map(|map| (title, paint(map.view(), image, preprocessing))));
    }
    side_by_side(&panels)
}

fn paint(map: ArrayView2<'_, f32>, image: &RgbImage, preprocessing: &Preprocess) -> RgbImage {
    let (rows, columns) = map.dim();
    let (height, width) = (preprocessing.height, preprocessing.width);
    let squares = Array2::from_shape_fn((height, width), |(y, x)| {
        map[[y * rows / height, x * columns / width]]
    });
    let size = image.dimensions();
    let full = to_image(squares.view(), preprocessing, size, size);
    RgbImage::from_fn(size.0, size.1, |x, y| colour(full[[y as usize, x as usize]].clamp(0.0, 1.0)))
}
