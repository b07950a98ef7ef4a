//! Speed of finding the regions of a map of 20 megapixels, as a photograph in tiles has one.
//!
//! `cargo bench --workspace --bench regions`

use data::{Preprocess, Resize};
use fe_clip::geometry::Extent;
use fe_clip::{RegionRule, regions};
use ndarray::Array2;

fn main() {
    divan::main();
}

const HEIGHT: usize = 3872;
const WIDTH: usize = 5168;

/// What a map may look like; the share of it that reaches 0.5 is in brackets.
#[derive(Clone, Copy, Debug)]
enum Map {
    /// A good part: waves below the threshold (0).
    Normal,
    /// Thirty smooth spots of up to 200 pixels across (0.7 %).
    Spots,
    /// A fifth of the image in one shape with a rough edge (20 %).
    Large,
    /// Every pixel by itself: no model makes such a map (10 %).
    Noise,
}

/// A number in [0, 1) that looks drawn by chance.
fn chance(n: usize) -> f32 {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
}

impl Map {
    fn make(self) -> Array2<f32> {
        let waves = |y: usize, x: usize| {
            let wave = (x as f32 / 97.0).sin() * (y as f32 / 61.0).cos();
            0.2 + 0.1 * wave + 0.05 * chance(y * WIDTH + x)
        };
        let spot = |n: usize| {
            let at = |k: usize, most: usize| chance(7 * n + k) * most as f32;
            (at(1, HEIGHT), at(2, WIDTH), 20.0 + at(3, 80))
        };
        let spots: Vec<_> = (0..30).map(spot).collect();
        Array2::from_shape_fn((HEIGHT, WIDTH), |(y, x)| match self {
            Self::Normal => waves(y, x),
            Self::Noise => 0.555 * chance(y * WIDTH + x),
            Self::Large => {
                let edge = 1034.0 + 200.0 * (y as f32 / 37.0).sin() + 3.0 * chance(y);
                if (x as f32) < edge { 0.9 } else { waves(y, x) }
            }
            Self::Spots => {
                let near = |&(cy, cx, r): &(f32, f32, f32)| {
                    let (dy, dx) = ((y as f32 - cy) / r, (x as f32 - cx) / r);
                    (-0.5 * (dy * dy + dx * dx)).exp()
                };
                // Far from all of them a look at each would take longer than the measurement.
                let close = |s: &&(f32, f32, f32)| (y as f32 - s.0).abs() < 4.0 * s.2;
                let heat = spots.iter().filter(close).map(near).fold(0.0, f32::max);
                waves(y, x).max(0.95 * heat)
            }
        })
    }
}

#[divan::bench(args = [Map::Normal, Map::Spots, Map::Large, Map::Noise], sample_count = 20)]
fn find(bencher: divan::Bencher<'_, '_>, kind: Map) {
    let size = (WIDTH as u32, HEIGHT as u32);
    let frame =
        Preprocess { width: WIDTH, height: HEIGHT, ..Preprocess::clip(HEIGHT, Resize::Squash) };
    let (map, extent) = (kind.make(), Extent::new(&frame, size));
    bencher
        .counter(divan::counter::ItemsCount::new(WIDTH * HEIGHT))
        .bench(|| regions(map.view(), 0.5, RegionRule::default(), &extent, size));
}
