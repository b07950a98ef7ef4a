//! Noise from tables that are drawn once: smooth, fractal and cellular.

use std::sync::LazyLock;

use crate::dice::{fract, lattice, split, unit};
use crate::wide::wide;

const SIDE: usize = 512;

/// Samples in a row of a table: the first one comes again at the end, as the first row does below the last, so that
/// the neighbours of a sample are always beside it.
const ROW: usize = SIDE + 1;

/// A table of period 512 × 512, read with bilinear interpolation.
pub(crate) struct Tile {
    samples: Vec<f32>,
    /// No value lies farther from zero.
    largest: f32,
}

impl Tile {
    /// Value at (x, y) in lattice cells; the period is 64 cells for [`SMOOTH`], 16 for [`FRACTAL`].
    #[inline]
    fn sample(&self, x: f32, y: f32) -> f32 {
        let ((fx, ix), (fy, iy)) = (split(x), split(y));
        between(self.corners((iy & (SIDE - 1)) * ROW + (ix & (SIDE - 1))), fx, fy)
    }

    /// A sample and its neighbours: right, below, and right of that.
    #[inline(always)]
    fn corners(&self, at: usize) -> [f32; 4] {
        let near = &self.samples[at..at + ROW + 2];
        [near[0], near[1], near[ROW], near[ROW + 1]]
    }

    /// Puts the values at (x, y) in the place of each x.
    ///
    /// All but the table look-up is vectorised.
    fn along(&self, x: &mut [f32], y: f32) {
        const BLOCK: usize = 64;
        let (fy, iy) = split(y);
        let row = (iy & (SIDE - 1)) * ROW;
        let mut columns = [0; BLOCK];
        let [mut a, mut b, mut c, mut d] = [[0.0; BLOCK]; 4];
        wide(
            #[inline(always)]
            || {
                for x in x.chunks_mut(BLOCK) {
                    for (x, column) in x.iter_mut().zip(&mut columns) {
                        (*x, *column) = split(*x);
                    }
                    for (i, column) in columns.iter().enumerate() {
                        let column = column & (SIDE - 1);
                        let near = self.corners(row + column);
                        (a[i], b[i], c[i], d[i]) = (near[0], near[1], near[2], near[3]);
                    }
                    for ((x, (a, b)), (c, d)) in
                        x.iter_mut().zip(a.iter().zip(&b)).zip(c.iter().zip(&d))
                    {
                        *x = between([*a, *b, *c, *d], *x, fy);
                    }
                }
            },
        );
    }
}

/// Bilinear interpolation between the corners: above, left and right, then below.
#[inline(always)]
fn between([a, b, c, d]: [f32; 4], fx: f32, fy: f32) -> f32 {
    let top = a + (b - a) * fx;
    let bottom = c + (d - c) * fx;
    top + (bottom - top) * fy
}

fn gradient(x: i32, y: i32, period: i32, seed: u32, dx: f32, dy: f32) -> f32 {
    let hash = lattice(x.rem_euclid(period), y.rem_euclid(period), seed);
    (unit(hash, 0) * 2.0 - 1.0) * dx + (unit(hash, 16) * 2.0 - 1.0) * dy
}

/// Gradient noise of unit cells, period `period`, about [-1, 1].
fn perlin(x: f32, y: f32, period: i32, seed: u32) -> f32 {
    let (fx, fy) = (fract(x), fract(y));
    let (ix, iy) = ((x - fx) as i32, (y - fy) as i32);
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (u, v) = (fade(fx), fade(fy));
    let corner =
        |i: i32, j: i32| gradient(ix + i, iy + j, period, seed, fx - i as f32, fy - j as f32);
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * u;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * u;
    (top + (bottom - top) * v) * 1.6
}

fn table(f: impl Fn(f32, f32) -> f32) -> Tile {
    let at = |i: usize| (i % SIDE) as f32;
    let samples: Vec<f32> = (0..ROW * ROW).map(|i| f(at(i % ROW), at(i / ROW))).collect();
    // Interpolation may round beyond the samples, by less than a thousandth.
    let largest = 1.001 * samples.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    Tile { samples, largest }
}

static SMOOTH: LazyLock<Tile> = LazyLock::new(|| table(|x, y| perlin(x / 8.0, y / 8.0, 64, 11)));

static FRACTAL: LazyLock<Tile> = LazyLock::new(|| {
    table(|x, y| {
        let octave = |k: i32| {
            let scale = (1 << k) as f32;
            perlin(x / 32.0 * scale, y / 32.0 * scale, 16 << k, 100 + k as u32)
                / scale.sqrt()
                / scale.sqrt()
        };
        (0..5).map(octave).sum::<f32>() * 0.75
    })
});

static RIDGED: LazyLock<Tile> = LazyLock::new(|| {
    table(|x, y| {
        let octave = |k: i32| {
            let scale = (1 << k) as f32;
            (1.0 - 2.0 * perlin(x / 32.0 * scale, y / 32.0 * scale, 16 << k, 300 + k as u32).abs())
                / scale
        };
        (0..4).map(octave).sum::<f32>() * 0.55
    })
});

/// An offset into the noise tables: fields of different offsets are independent.
#[derive(Clone, Copy)]
pub(crate) struct Noise {
    x: f32,
    y: f32,
    smooth: &'static Tile,
    fractal: &'static Tile,
    ridged: &'static Tile,
}

impl Noise {
    pub(crate) fn new(seed: u32) -> Self {
        let hash = lattice(seed as i32, 77, 5);
        let offset = |shift: u32| ((hash >> shift) & 0x1ff) as f32 + 0.37;
        Self { x: offset(0), y: offset(12), smooth: &SMOOTH, fractal: &FRACTAL, ridged: &RIDGED }
    }

    /// One octave, about [-1, 1], features of one unit.
    #[inline]
    pub(crate) fn smooth(&self, x: f32, y: f32) -> f32 {
        self.smooth.sample(x * 8.0 + self.x, y * 8.0 + self.y)
    }

    /// Five octaves, about [-1, 1], largest features of one unit.
    #[inline]
    pub(crate) fn fractal(&self, x: f32, y: f32) -> f32 {
        self.fractal.sample(x * 32.0 + self.x, y * 32.0 + self.y)
    }

    /// [`smooth`](Self::smooth) along a row: the values take the places of the x.
    pub(crate) fn smooth_along(&self, x: &mut [f32], y: f32) {
        x.iter_mut().for_each(|x| *x = *x * 8.0 + self.x);
        self.smooth.along(x, y * 8.0 + self.y);
    }

    /// [`fractal`](Self::fractal) along a row: the values take the places of the x.
    pub(crate) fn fractal_along(&self, x: &mut [f32], y: f32) {
        x.iter_mut().for_each(|x| *x = *x * 32.0 + self.x);
        self.fractal.along(x, y * 32.0 + self.y);
    }

    /// What [`fractal`](Self::fractal) never exceeds in magnitude.
    #[inline]
    pub(crate) fn largest_fractal(&self) -> f32 {
        self.fractal.largest
    }

    /// Four octaves with sharp crests, about [-1, 1].
    #[inline]
    pub(crate) fn ridged(&self, x: f32, y: f32) -> f32 {
        self.ridged.sample(x * 32.0 + self.x, y * 32.0 + self.y)
    }

    /// One sample a cell without interpolation: white noise in [0, 1).
    #[inline]
    pub(crate) fn white(&self, x: f32, y: f32) -> f32 {
        unit(lattice(crate::dice::floor(x) as i32, crate::dice::floor(y) as i32, self.x as u32), 3)
    }
}

/// The nearest and second nearest feature point of a jittered unit lattice.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    /// Distance to the nearest point.
    pub(crate) near: f32,
    /// Distance to the second nearest point.
    pub(crate) next: f32,
    /// Hash of the nearest point.
    pub(crate) id: u32,
}

/// Cellular noise: the feature points about one lattice cell, kept while it is asked about that
/// cell.
pub(crate) struct Cells {
    jitter: f32,
    seed: u32,
    at: Option<(i32, i32)>,
    /// Column, row and hash of each point; places are relative to the cell.
    points: [(f32, f32, u32); 9],
}

impl Cells {
    /// `jitter` in [0, 1] moves the points from the lattice.
    pub(crate) fn new(jitter: f32, seed: u32) -> Self {
        Self { jitter, seed, at: None, points: [(0.0, 0.0, 0); 9] }
    }

    /// The feature points about (x, y), in lattice cells.
    #[inline]
    pub(crate) fn near(&mut self, x: f32, y: f32) -> Cell {
        let (fx, fy) = (fract(x), fract(y));
        let at = ((x - fx) as i32, (y - fy) as i32);
        if self.at != Some(at) {
            self.look_at(at);
        }
        let (mut near, mut next, mut id) = (9.0f32, 9.0f32, 0);
        for (px, py, hash) in self.points {
            let (dx, dy) = (px - fx, py - fy);
            let d = dx * dx + dy * dy;
            let nearest = d < near;
            next = if nearest { near } else { next.min(d) };
            id = if nearest { hash } else { id };
            near = near.min(d);
        }
        Cell { near: near.sqrt(), next: next.sqrt(), id }
    }

    fn look_at(&mut self, at: (i32, i32)) {
        self.at = Some(at);
        let around = (-1..=1).flat_map(|j| (-1..=1).map(move |i| (i, j)));
        for (point, (i, j)) in self.points.iter_mut().zip(around) {
            let hash = lattice(at.0 + i, at.1 + j, self.seed);
            let place = |i: i32, shift| i as f32 + 0.5 + (unit(hash, shift) - 0.5) * self.jitter;
            *point = (place(i, 0), place(j, 16), hash);
        }
    }
}
