//! The scene before the camera: colour, relief and gloss of every pixel.

use std::ops::Range;
use std::rc::Rc;

use crate::dice::{blend, cos_turn, floor, lerp, sin_turn, smoothstep};

/// The surface at one point.
#[derive(Clone, Copy)]
pub(crate) struct Texel {
    /// Reflectance, perceptual (square root of linear), in [0, 1].
    pub(crate) color: [f32; 3],
    /// Relief in image sides; only slopes matter.
    pub(crate) height: f32,
    /// Strength of the mirror-like reflection.
    pub(crate) gloss: f32,
}

impl Texel {
    pub(crate) fn new(color: [f32; 3], height: f32, gloss: f32) -> Self {
        Self { color, height, gloss }
    }
}

/// Left, top, right and bottom in image sides.
pub(crate) type Bounds = [f32; 4];

/// Square raster of the scene; coordinates are image sides, (0, 0) the top left corner.
#[derive(Clone)]
pub(crate) struct Canvas {
    pub(crate) size: usize,
    pub(crate) color: Vec<[f32; 3]>,
    pub(crate) height: Vec<f32>,
    pub(crate) gloss: Vec<f32>,
    /// How much of the pixel belongs to the thing under inspection, in [0, 1]. No defect changes
    /// it, nor what lies behind: copies of a canvas share both.
    pub(crate) region: Rc<Vec<f32>>,
    /// What lies behind the object; empty for a texture.
    pub(crate) behind: Rc<Vec<[f32; 3]>>,
}

impl Canvas {
    /// Without pixels: [`fill`](Self::fill) must come first.
    pub(crate) fn new(size: usize) -> Self {
        let pixels = size * size;
        Self {
            size,
            color: Vec::with_capacity(pixels),
            height: Vec::with_capacity(pixels),
            gloss: Vec::with_capacity(pixels),
            region: Rc::new(vec![1.0; pixels]),
            behind: Rc::default(),
        }
    }

    /// The rows from the first to the last that differ.
    pub(crate) fn rows_unlike(&self, other: &Self) -> Range<usize> {
        // No early exit: comparisons of whole rows are vectorised.
        let differ = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(false, |d, (a, b)| d | (a != b));
        let unlike = |y: &usize| {
            let row = y * self.size..(y + 1) * self.size;
            let (a, b) = (&self.color[row.clone()], &other.color[row.clone()]);
            differ(a.as_flattened(), b.as_flattened())
                || differ(&self.height[row.clone()], &other.height[row.clone()])
                || differ(&self.gloss[row.clone()], &other.gloss[row])
        };
        let first = (0..self.size).find(unlike).unwrap_or(0);
        let last = (first..self.size).rev().find(unlike).map_or(first, |y| y + 1);
        first..last
    }

    /// Side of a pixel.
    pub(crate) fn pixel(&self) -> f32 {
        1.0 / self.size as f32
    }

    /// Pixels whose centres may lie in the bounds: columns and rows.
    pub(crate) fn pixels(&self, bounds: Bounds) -> (Range<usize>, Range<usize>) {
        let at = |v: f32, extra: f32| {
            (floor(v * self.size as f32) + extra).clamp(0.0, self.size as f32) as usize
        };
        (at(bounds[0], -1.0)..at(bounds[2], 2.0), at(bounds[1], -1.0)..at(bounds[3], 2.0))
    }

    /// Covers the whole image, once.
    pub(crate) fn fill(&mut self, mut texel: impl FnMut(f32, f32) -> Texel) {
        self.fill_rows(|columns, v, row| {
            for (t, u) in row.iter_mut().zip(columns) {
                *t = texel(*u, v);
            }
        });
    }

    /// [`fill`](Self::fill) by rows: the closure is given the columns, the row and where to put its texels.
    pub(crate) fn fill_rows(&mut self, mut texels: impl FnMut(&[f32], f32, &mut [Texel])) {
        let pixel = self.pixel();
        let centres: Vec<f32> = (0..self.size).map(|i| (i as f32 + 0.5) * pixel).collect();
        let mut row = vec![Texel::new([0.0; 3], 0.0, 0.0); self.size];
        for v in &centres {
            texels(&centres, *v, &mut row);
            self.color.extend(row.iter().map(|t| t.color));
            self.height.extend(row.iter().map(|t| t.height));
            self.gloss.extend(row.iter().map(|t| t.gloss));
        }
    }

    /// Declares what is drawn so far to be the background of an object.
    pub(crate) fn keep_behind(&mut self) {
        self.behind = Rc::new(self.color.clone());
        Rc::make_mut(&mut self.region).fill(0.0);
    }

    /// Draws a shape. `distance` is signed, in image sides, negative inside; `skin` is given the
    /// point and the distance.
    pub(crate) fn stamp(
        &mut self,
        bounds: Bounds,
        distance: impl Fn(f32, f32) -> f32,
        mut skin: impl FnMut(f32, f32, f32) -> Texel,
    ) {
        let (columns, rows) = self.pixels(bounds);
        let pixel = self.pixel();
        let region = Rc::make_mut(&mut self.region);
        for y in rows {
            let v = (y as f32 + 0.5) * pixel;
            for x in columns.clone() {
                let u = (x as f32 + 0.5) * pixel;
                let d = distance(u, v);
                let cover = (0.5 - d * self.size as f32).min(1.0);
                if cover > 0.0 {
                    let t = skin(u, v, d);
                    let i = y * self.size + x;
                    self.color[i] = blend(self.color[i], t.color, cover);
                    self.height[i] = lerp(self.height[i], t.height, cover);
                    self.gloss[i] = lerp(self.gloss[i], t.gloss, cover);
                    region[i] = region[i].max(cover);
                }
            }
        }
    }

    /// Cuts a shape out, down to what lies behind the object, and takes it out of the region.
    pub(crate) fn punch(&mut self, bounds: Bounds, distance: impl Fn(f32, f32) -> f32) {
        let (columns, rows) = self.pixels(bounds);
        let pixel = self.pixel();
        let region = Rc::make_mut(&mut self.region);
        for y in rows {
            for x in columns.clone() {
                let d = distance((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
                let cover = (0.5 - d * self.size as f32).min(1.0);
                if cover > 0.0 {
                    let i = y * self.size + x;
                    self.color[i] = blend(self.color[i], self.behind[i], cover);
                    self.height[i] *= 1.0 - cover;
                    self.gloss[i] *= 1.0 - cover;
                    region[i] *= 1.0 - cover;
                }
            }
        }
    }

    /// Darkens what lies under a shape, with an edge `soft` image sides wide.
    pub(crate) fn shadow(
        &mut self,
        bounds: Bounds,
        distance: impl Fn(f32, f32) -> f32,
        soft: f32,
        strength: f32,
    ) {
        let (columns, rows) = self.pixels(grow(bounds, soft));
        let pixel = self.pixel();
        for y in rows {
            for x in columns.clone() {
                let d = distance((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
                let dark = 1.0 - strength * smoothstep(soft, -soft, d);
                for channel in &mut self.color[y * self.size + x] {
                    *channel *= dark;
                }
            }
        }
    }
}

/// Bounds with a margin on every side.
pub(crate) fn grow(bounds: Bounds, by: f32) -> Bounds {
    [bounds[0] - by, bounds[1] - by, bounds[2] + by, bounds[3] + by]
}

/// Bounds of a disc.
pub(crate) fn around(x: f32, y: f32, radius: f32) -> Bounds {
    [x - radius, y - radius, x + radius, y + radius]
}

/// Where a thing lies: centre, turn and scale.
#[derive(Clone, Copy)]
pub(crate) struct Pose {
    pub(crate) x: f32,
    pub(crate) y: f32,
    cos: f32,
    sin: f32,
    /// Image sides of one local unit.
    pub(crate) scale: f32,
}

impl Pose {
    pub(crate) fn new(x: f32, y: f32, turns: f32, scale: f32) -> Self {
        // The polynomial is not exactly on the circle: normalise.
        let (cos, sin) = (cos_turn(turns), sin_turn(turns));
        let norm = (cos * cos + sin * sin).sqrt();
        Self { x, y, cos: cos / norm, sin: sin / norm, scale }
    }

    /// Image to local coordinates.
    #[inline]
    pub(crate) fn local(&self, u: f32, v: f32) -> (f32, f32) {
        let (x, y) = ((u - self.x) / self.scale, (v - self.y) / self.scale);
        (x * self.cos + y * self.sin, y * self.cos - x * self.sin)
    }

    /// Local to image coordinates.
    pub(crate) fn image(&self, x: f32, y: f32) -> (f32, f32) {
        (
            self.x + (x * self.cos - y * self.sin) * self.scale,
            self.y + (x * self.sin + y * self.cos) * self.scale,
        )
    }

    /// The pose of a part at local (x, y), turned further.
    pub(crate) fn part(&self, x: f32, y: f32, turns: f32, scale: f32) -> Self {
        let (u, v) = self.image(x, y);
        let turned = Pose::new(u, v, turns, self.scale * scale);
        Self {
            cos: self.cos * turned.cos - self.sin * turned.sin,
            sin: self.sin * turned.cos + self.cos * turned.sin,
            ..turned
        }
    }

    /// Bounds of a local disc about the centre.
    pub(crate) fn bounds(&self, radius: f32) -> Bounds {
        around(self.x, self.y, radius * self.scale)
    }
}

/// Signed distance to a rounded box of half extents `a`, `b`.
#[inline]
pub(crate) fn rounded_box(x: f32, y: f32, a: f32, b: f32, radius: f32) -> f32 {
    let (dx, dy) = (x.abs() - a + radius, y.abs() - b + radius);
    let outside = crate::dice::length(dx.max(0.0), dy.max(0.0));
    outside + dx.max(dy).min(0.0) - radius
}

/// Signed distance to a regular polygon of in-radius `radius`.
#[inline]
pub(crate) fn polygon(x: f32, y: f32, sides: usize, radius: f32) -> f32 {
    let sector = crate::dice::fract(crate::dice::angle_turns(x, y) * sides as f32 + 0.5) - 0.5;
    crate::dice::length(x, y) * cos_turn(sector / sides as f32) - radius
}
