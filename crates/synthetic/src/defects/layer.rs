//! Coverage masks that defects are composed of: strokes and blobs.

use crate::canvas::{Canvas, around, grow};
use crate::dice::{Dice, blend, cos_turn, length, lerp, sin_turn, smoothstep, times};
use crate::noise::Noise;

/// A path in image sides with a half width at each point.
pub(super) type Path = Vec<(f32, f32, f32)>;

/// Coverage in [0, 1] of every pixel.
pub(super) struct Layer {
    size: usize,
    cover: Vec<f32>,
    rows: std::ops::Range<usize>,
}

impl Layer {
    pub(super) fn new(size: usize) -> Self {
        Self { size, cover: vec![0.0; size * size], rows: size..0 }
    }

    fn touch(&mut self, rows: &std::ops::Range<usize>) {
        self.rows = self.rows.start.min(rows.start)..self.rows.end.max(rows.end);
    }

    /// A line through the points, its half width interpolated, its edge `soft` wide.
    pub(super) fn stroke(&mut self, canvas: &Canvas, path: &Path, soft: f32) {
        let edge = soft.max(canvas.pixel());
        for pair in path.windows(2) {
            let ((ax, ay, aw), (bx, by, bw)) = (pair[0], pair[1]);
            let reach = aw.max(bw) + edge;
            let bounds = grow([ax.min(bx), ay.min(by), ax.max(bx), ay.max(by)], reach);
            let (columns, rows) = canvas.pixels(bounds);
            self.touch(&rows);
            let (dx, dy) = (bx - ax, by - ay);
            let inverse = 1.0 / (dx * dx + dy * dy).max(1e-12);
            for y in rows {
                let v = (y as f32 + 0.5) * canvas.pixel() - ay;
                for x in columns.clone() {
                    let u = (x as f32 + 0.5) * canvas.pixel() - ax;
                    let t = ((u * dx + v * dy) * inverse).clamp(0.0, 1.0);
                    let d = length(u - t * dx, v - t * dy) - lerp(aw, bw, t);
                    let cover = (0.5 - d / edge).clamp(0.0, 1.0);
                    let at = &mut self.cover[y * self.size + x];
                    *at = at.max(cover);
                }
            }
        }
    }

    /// A region about (x, y).
    pub(super) fn blob(&mut self, canvas: &Canvas, x: f32, y: f32, blob: &Blob) {
        let reach = blob.radius * blob.stretch.max(1.0) * (1.3 + 1.2 * blob.rough);
        let (columns, rows) = canvas.pixels(around(x, y, reach));
        self.touch(&rows);
        for py in rows {
            for px in columns.clone() {
                let (u, v) = (
                    (px as f32 + 0.5) * canvas.pixel() - x,
                    (py as f32 + 0.5) * canvas.pixel() - y,
                );
                let cover = blob.cover(u, v);
                let at = &mut self.cover[py * self.size + px];
                *at = at.max(cover);
            }
        }
    }

    /// Multiplies the coverage by a function of the point.
    pub(super) fn shape(&mut self, canvas: &Canvas, f: impl Fn(f32, f32) -> f32) {
        let pixel = canvas.pixel();
        for y in self.rows.clone() {
            for x in 0..self.size {
                let at = &mut self.cover[y * self.size + x];
                if *at > 0.0 {
                    *at = (*at * f((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel))
                        .clamp(0.0, 1.0);
                }
            }
        }
    }

    /// Keeps the coverage to the thing under inspection.
    pub(super) fn keep_to(&mut self, canvas: &Canvas) {
        for (cover, region) in self.cover.iter_mut().zip(canvas.region.iter()) {
            *cover *= region;
        }
    }

    /// Calls `f` with pixel and coverage where there is any.
    pub(super) fn each(&self, mut f: impl FnMut(usize, f32)) {
        let rows = self.rows.start.min(self.rows.end)..self.rows.end;
        for (i, &cover) in
            self.cover.iter().enumerate().take(rows.end * self.size).skip(rows.start * self.size)
        {
            if cover > 0.0 {
                f(i, cover);
            }
        }
    }

    /// Paints with a colour.
    pub(super) fn paint(&self, canvas: &mut Canvas, color: [f32; 3], strength: f32) {
        self.each(|i, a| canvas.color[i] = blend(canvas.color[i], color, a * strength));
    }

    /// Multiplies the colour, `factor` at full coverage.
    pub(super) fn scale(&self, canvas: &mut Canvas, factor: [f32; 3]) {
        self.each(|i, a| {
            let c = &mut canvas.color[i];
            *c = std::array::from_fn(|k| (c[k] * (1.0 + (factor[k] - 1.0) * a)).clamp(0.0, 1.0));
        });
    }

    /// Raises the relief by `height` image sides.
    pub(super) fn emboss(&self, canvas: &mut Canvas, height: f32) {
        self.each(|i, a| canvas.height[i] += height * a);
    }

    pub(super) fn gloss(&self, canvas: &mut Canvas, gloss: f32) {
        self.each(|i, a| canvas.gloss[i] = lerp(canvas.gloss[i], gloss, a));
    }
}

/// An irregular region: an ellipse warped by noise, or a shard with straight sides.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) radius: f32,
    pub(super) stretch: f32,
    pub(super) rough: f32,
    /// Width of the edge in radii.
    pub(super) soft: f32,
    pub(super) turn: (f32, f32),
    pub(super) noise: Noise,
    pub(super) detail: f32,
    pub(super) sides: Vec<(f32, f32, f32)>,
}

impl Blob {
    pub(super) fn new(dice: &mut Dice, radius: f32, rough: f32, soft: f32) -> Self {
        let turn = dice.unit();
        Self {
            radius,
            stretch: 1.0 + dice.skewed(0.0, 1.6),
            rough,
            soft,
            turn: (cos_turn(turn), sin_turn(turn)),
            noise: Noise::new(dice.word()),
            detail: dice.range(0.5, 1.6),
            sides: Vec::new(),
        }
    }

    /// A shard: the intersection of half planes.
    pub(super) fn shard(dice: &mut Dice, radius: f32) -> Self {
        let count = dice.between(4, 9);
        let sides = (0..count)
            .map(|i| {
                let turn = (i as f32 + dice.range(-0.3, 0.3)) / count as f32;
                (cos_turn(turn), sin_turn(turn), dice.range(0.5, 1.0))
            })
            .collect();
        let rough = dice.range(0.02, 0.15);
        Self { sides, ..Self::new(dice, radius, rough, 0.02) }
    }

    /// Coverage at an offset from the centre.
    pub(super) fn cover(&self, u: f32, v: f32) -> f32 {
        let (x, y) = (
            (u * self.turn.0 + v * self.turn.1) / (self.radius * self.stretch),
            (v * self.turn.0 - u * self.turn.1) / self.radius,
        );
        let r = if self.sides.is_empty() {
            length(x, y)
        } else {
            self.sides.iter().fold(-9.0f32, |d, s| d.max((x * s.0 + y * s.1) / s.2))
        };
        let inside = 1.0 - self.soft.max(0.02);
        // Far from the edge no warp can reach it.
        let most = self.rough * self.noise.largest_fractal();
        if r - most >= 1.0 {
            return 0.0;
        }
        if r + most <= inside {
            return 1.0;
        }
        let warp = self.rough * self.noise.fractal(x * self.detail * self.stretch, y * self.detail);
        smoothstep(1.0, inside, r + warp)
    }
}

/// A random walk: `curl` bends it steadily, `jitter` at every step; widths are filled with `width`.
pub(super) fn walk(
    dice: &mut Dice,
    start: (f32, f32),
    turn: f32,
    reach: f32,
    (curl, jitter): (f32, f32),
    width: f32,
) -> Path {
    let steps = ((reach / 0.012) as usize).clamp(3, 120);
    let step = reach / steps as f32;
    let (mut x, mut y, mut heading, mut bend) = (start.0, start.1, turn, curl * dice.normal());
    let mut path = vec![(x, y, width)];
    for _ in 0..steps {
        bend = lerp(bend, curl * dice.normal(), 0.15);
        heading += bend / steps as f32;
        let kink = heading + jitter * dice.normal();
        x += step * cos_turn(kink);
        y += step * sin_turn(kink);
        path.push((x, y, width * dice.range(0.7, 1.2)));
    }
    path
}

/// Narrows a path towards its ends.
pub(super) fn taper(path: &mut Path) {
    let last = (path.len() - 1) as f32;
    for (i, point) in path.iter_mut().enumerate() {
        let t = i as f32 / last;
        point.2 *= (4.0 * t * (1.0 - t)).sqrt().max(0.15);
    }
}

/// Shifts a path and sets its half width.
pub(super) fn moved(path: &Path, dx: f32, dy: f32, widen: f32) -> Path {
    path.iter().map(|p| (p.0 + dx, p.1 + dy, p.2 * widen)).collect()
}

/// A colour a little off the given one.
pub(super) fn off(dice: &mut Dice, color: [f32; 3], amount: f32) -> [f32; 3] {
    let factor = 1.0 + amount * dice.sign() * dice.range(0.5, 1.0);
    let tinted = blend(color, dice.color(), amount * dice.range(0.0, 0.5));
    times(tinted, factor).map(|c| c.clamp(0.0, 1.0))
}
