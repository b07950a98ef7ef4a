//! Feeds arrays to the accumulators.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use ::metrics::{Connectivity, PixelHistogram, PixelMetrics, Score, Undefined};
use anyhow::{Result, ensure};
use ndarray::{ArrayView1, ArrayView3};

use super::npy::{Element, Npy};
use super::shard::{Pixels, Shard};
use super::{Args, Bins};

/// Counts the pixels, and the images by their own scores or the maximum of each map.
pub(crate) fn measure(args: &Args, maps: &Path, masks: &Path) -> Result<Shard> {
    let (maps, masks) = (Npy::open(maps)?, Npy::open(masks)?);
    maps.require_floats()?;
    let shape: [usize; 3] = maps.shape()?;
    ensure!(
        masks.shape()? == shape,
        "{}: maps of shape {shape:?} do not fit masks of shape {:?}",
        maps.path.display(),
        masks.shape::<3>()?
    );
    let mut shard = match maps.element {
        Element::Double => count(&maps, &masks, shape, Npy::doubles, args, Pixels::Double)?,
        _ => count(&maps, &masks, shape, Npy::singles, args, Pixels::Single)?,
    };
    if let (Some(scores), Some(labels)) = (&args.scores, &args.labels) {
        shard.images = count_images(&Npy::open(scores)?, &Npy::open(labels)?)?;
    }
    Ok(shard)
}

/// Counts some images.
type Add<'a, S> = dyn FnMut(ArrayView3<'_, S>, ArrayView3<'_, bool>) -> Result<(), Undefined> + 'a;

fn count<'a, S: Score + PartialOrd + Into<f64>>(
    maps: &'a Npy,
    masks: &Npy,
    shape: [usize; 3],
    read: impl Fn(&'a Npy, Range<usize>) -> Cow<'a, [S]> + Copy,
    args: &Args,
    exact: impl Fn(PixelMetrics<S>) -> Pixels,
) -> Result<Shard>
where
    [S]: ToOwned<Owned = Vec<S>>,
{
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    let mut count = |add: &mut Add<'_, S>| {
        for_each_part(maps, masks, shape, read, |map, mask| {
            add(map, mask)?;
            for (map, mask) in map.outer_iter().zip(mask.outer_iter()) {
                if let Some(score) = map.as_slice().and_then(greatest) {
                    scores.push(score.into());
                    labels.push(mask.iter().any(|&anomalous| anomalous));
                }
            }
            Ok(())
        })
    };
    let counted = match args.histogram {
        None => {
            let mut pixels = PixelMetrics::new(Connectivity::Eight);
            count(&mut |map, mask| pixels.add_all(map, mask))?.map(|()| exact(pixels))
        }
        Some(bins) => {
            let (low, high) = range(bins, maps, shape, read, args)?;
            let mut pixels = PixelHistogram::new(Connectivity::Eight, low, high);
            let mut images = 0;
            let mut add = |map: ArrayView3<'_, S>, mask: ArrayView3<'_, bool>| {
                for (map, mask) in map.outer_iter().zip(mask.outer_iter()) {
                    pixels.add(map, mask).map_err(|undefined| in_image(images, undefined))?;
                    images += 1;
                }
                Ok(())
            };
            count(&mut add)?.map(|()| Pixels::Histogram(pixels))
        }
    };
    Ok(match counted {
        Ok(pixels) => Shard { images: image_metrics(&scores, &labels), pixels: Ok(pixels) },
        Err(undefined) => Shard { images: Err(undefined.clone()), pixels: Err(undefined) },
    })
}

/// Adds the image to the position of a NaN, which has row and column alone.
fn in_image(image: usize, undefined: Undefined) -> Undefined {
    match undefined {
        Undefined::NotANumber { index } => {
            Undefined::NotANumber { index: [vec![image], index].concat() }
        }
        other => other,
    }
}

/// Reads one image for each thread at a time, so that memory does not grow with the images.
fn for_each_part<'a, S: Score>(
    maps: &'a Npy,
    masks: &Npy,
    [images, height, width]: [usize; 3],
    read: impl Fn(&'a Npy, Range<usize>) -> Cow<'a, [S]>,
    mut visit: impl FnMut(ArrayView3<'_, S>, ArrayView3<'_, bool>) -> Result<(), Undefined>,
) -> Result<Result<(), Undefined>>
where
    [S]: ToOwned<Owned = Vec<S>>,
{
    let size = height * width;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for first in (0..images).step_by(threads) {
        let count = threads.min(images - first);
        let range = first * size..(first + count) * size;
        let (map, mask) = (read(maps, range.clone()), masks.truths(range)?);
        let visited = visit(
            ArrayView3::from_shape((count, height, width), &map)?,
            ArrayView3::from_shape((count, height, width), &mask)?,
        );
        if let Err(undefined) = visited {
            return Ok(Err(undefined));
        }
    }
    Ok(Ok(()))
}

/// The range of a histogram: the one given, or that of the finite scores.
fn range<'a, S: Score + Into<f64>>(
    bins: Bins,
    maps: &'a Npy,
    [images, height, width]: [usize; 3],
    read: impl Fn(&'a Npy, Range<usize>) -> Cow<'a, [S]>,
    args: &Args,
) -> Result<(f64, f64)>
where
    [S]: ToOwned<Owned = Vec<S>>,
{
    if let Bins::Given(low, high) = bins {
        return Ok((low, high));
    }
    ensure!(
        args.partial.is_none(),
        "--partial needs --histogram=LOW,HIGH, the same for all that is to be merged"
    );
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for image in 0..images {
        for &score in &*read(maps, image * height * width..(image + 1) * height * width) {
            let score: f64 = score.into();
            if score.is_finite() {
                (low, high) = (low.min(score), high.max(score));
            }
        }
    }
    let width = high - low;
    // One score, or none, or a range without a width: a bin for each side of it.
    Ok(if width.is_normal() { (low, high) } else { (-1.0, 1.0) })
}

/// The greatest of some scores, by SIMD lanes.
fn greatest<S: Copy + PartialOrd>(scores: &[S]) -> Option<S> {
    let greater = |left: S, right: S| if right > left { right } else { left };
    let (chunks, rest) = scores.as_chunks::<16>();
    let mut lanes = [*scores.first()?; 16];
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, score);
        }
    }
    lanes.iter().chain(rest).copied().reduce(greater)
}

/// An image is a map of one pixel: its metrics are those of the pixels.
fn image_metrics(scores: &[f64], labels: &[bool]) -> Result<PixelMetrics<f64>, Undefined> {
    let mut images = PixelMetrics::new(Connectivity::Eight);
    let column = |length| (length, 1, 1);
    let scores = ArrayView1::from(scores).into_shape_with_order(column(scores.len()));
    let labels = ArrayView1::from(labels).into_shape_with_order(column(labels.len()));
    let (scores, labels) = (scores.expect("one column"), labels.expect("one column"));
    match images.add_all(scores, labels) {
        Ok(()) => Ok(images),
        Err(Undefined::NotANumber { index }) => {
            Err(Undefined::NotANumber { index: vec![index[0]] })
        }
        Err(other) => Err(other),
    }
}

fn count_images(scores: &Npy, labels: &Npy) -> Result<Result<PixelMetrics<f64>, Undefined>> {
    scores.require_floats()?;
    let ([count], [labelled]) = (scores.shape()?, labels.shape()?);
    ensure!(
        count == labelled,
        "{}: {count} scores do not fit {labelled} labels",
        scores.path.display()
    );
    let labels = labels.truths(0..count)?;
    Ok(match scores.element {
        Element::Double => image_metrics(&scores.doubles(0..count), &labels),
        _ => {
            let scores: Vec<f64> =
                scores.singles(0..count).iter().map(|&score| score.into()).collect();
            image_metrics(&scores, &labels)
        }
    })
}
