//! Imperfections that count as normal: dust, faint smudges, uneven tone.

use crate::canvas::{Canvas, around};
use crate::dice::{Dice, length, smoothstep, times};
use crate::noise::Noise;

pub(crate) fn apply(canvas: &mut Canvas, dice: &mut Dice) {
    if dice.chance(0.5) {
        let (noise, amount, scale) =
            (Noise::new(dice.word()), dice.skewed(0.01, 0.08), dice.range(1.0, 4.0));
        let (size, pixel) = (canvas.size, canvas.pixel());
        let mut tones = vec![0.0; size];
        for (y, row) in canvas.color.chunks_exact_mut(size).enumerate() {
            for (x, tone) in tones.iter_mut().enumerate() {
                *tone = x as f32 * pixel * scale;
            }
            noise.smooth_along(&mut tones, y as f32 * pixel * scale);
            for (color, tone) in row.iter_mut().zip(&tones) {
                *color = times(*color, 1.0 + amount * tone);
            }
        }
    }
    let specks = if dice.chance(0.5) { 0 } else { dice.skewed(1.0, 30.0) as usize };
    for _ in 0..specks {
        let (x, y, radius) = (dice.unit(), dice.unit(), dice.range(0.0008, 0.002));
        let tone = 1.0 + dice.range(-0.12, 0.12);
        let (columns, rows) = canvas.pixels(around(x, y, radius * 2.0));
        let pixel = canvas.pixel();
        for py in rows {
            for px in columns.clone() {
                let d = length((px as f32 + 0.5) * pixel - x, (py as f32 + 0.5) * pixel - y);
                let cover = smoothstep(radius + pixel, radius - pixel, d);
                let i = py * canvas.size + px;
                canvas.color[i] = times(canvas.color[i], 1.0 + (tone - 1.0) * cover);
            }
        }
    }
}
