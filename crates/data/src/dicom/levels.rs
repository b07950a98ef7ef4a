//! From stored values to grey levels.

use super::elements::Elements;
use crate::error::Fault;

const BITS_STORED: u32 = 0x0028_0101;
const HIGH_BIT: u32 = 0x0028_0102;
const SIGNED: u32 = 0x0028_0103;
const CENTRE: u32 = 0x0028_1050;
const WIDTH: u32 = 0x0028_1051;
const INTERCEPT: u32 = 0x0028_1052;
const SLOPE: u32 = 0x0028_1053;
const FUNCTION: u32 = 0x0028_1056;
const MODALITY_TABLE: u32 = 0x0028_3000;
const WINDOW_TABLE: u32 = 0x0028_3010;

/// Where in a word the value is.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    bits: u32,
    shift: u32,
    signed: bool,
}

impl Stored {
    /// Of words of so many bits, 8 or 16.
    pub(super) fn read(elements: &Elements<'_>, allocated: u32) -> Result<Self, Fault> {
        let bits = elements.short(BITS_STORED).map_or(allocated, u32::from);
        let high = elements.short(HIGH_BIT).map_or(bits.wrapping_sub(1), u32::from);
        if bits == 0 || high >= allocated || high + 1 < bits {
            let reason = format!("{bits} bits up to bit {high} in a word of {allocated}");
            return Err(Fault::broken(reason));
        }
        let signed = elements.short(SIGNED) == Some(1);
        Ok(Self { bits, shift: high + 1 - bits, signed })
    }

    /// The value in a word; what else the word holds counts for nothing.
    pub(super) fn value(self, word: u16) -> i32 {
        let value = (i32::from(word) >> self.shift) & ((1 << self.bits) - 1);
        let negative = self.signed && value >> (self.bits - 1) == 1;
        if negative { value - (1 << self.bits) } else { value }
    }

    /// The lowest and the highest value.
    pub(super) fn range(self) -> (i32, i32) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }
}

/// How values become levels.
///
/// Source: PS3.3 C.11.1.1 (rescale), C.11.2.1.2 and C.11.2.1.3 (window).
pub(super) struct Levels {
    slope: f64,
    intercept: f64,
    window: Window,
    /// Whether the lowest value is white.
    inverted: bool,
}

enum Window {
    /// All values that can be stored, the lowest and the highest after rescaling.
    All(f64, f64),
    Linear(f64, f64),
    LinearExact(f64, f64),
    Sigmoid(f64, f64),
}

impl Levels {
    pub(super) fn read(
        elements: &Elements<'_>,
        stored: Stored,
        inverted: bool,
    ) -> Result<Self, Fault> {
        let slope = elements.number(SLOPE)?.unwrap_or(1.0);
        let intercept = elements.number(INTERCEPT)?.unwrap_or(0.0);
        if elements.has(MODALITY_TABLE) {
            return Err(Fault::unsupported("values that a modality table translates"));
        }
        let window = match (elements.number(CENTRE)?, elements.number(WIDTH)?) {
            (Some(centre), Some(width)) => match elements.text(FUNCTION).unwrap_or("LINEAR") {
                "LINEAR" if width >= 1.0 => Window::Linear(centre, width),
                "LINEAR_EXACT" if width > 0.0 => Window::LinearExact(centre, width),
                "SIGMOID" if width > 0.0 => Window::Sigmoid(centre, width),
                name => {
                    let what = format!("a window of width {width} and function {name}");
                    return Err(Fault::unsupported(what));
                }
            },
            _ if elements.has(WINDOW_TABLE) => {
                return Err(Fault::unsupported("values that a table of levels translates"));
            }
            _ => {
                let (low, high) = stored.range();
                let (a, b) = (f64::from(low) * slope, f64::from(high) * slope);
                if a == b {
                    return Err(Fault::broken("a rescale slope of 0"));
                }
                Window::All(a.min(b) + intercept, a.max(b) + intercept)
            }
        };
        Ok(Self { slope, intercept, window, inverted })
    }

    /// The level of a value.
    pub(super) fn of(&self, value: i32) -> u8 {
        let x = f64::from(value) * self.slope + self.intercept;
        let share = match self.window {
            Window::All(low, high) => (x - low) / (high - low),
            // A width of 1 has nothing between black and white.
            Window::Linear(centre, 1.0) => f64::from(u8::from(x > centre - 0.5)),
            Window::Linear(centre, width) => (x - (centre - 0.5)) / (width - 1.0) + 0.5,
            Window::LinearExact(centre, width) => (x - centre) / width + 0.5,
            Window::Sigmoid(centre, width) => 1.0 / (1.0 + (-4.0 * (x - centre) / width).exp()),
        };
        let share = share.clamp(0.0, 1.0);
        (255.0 * if self.inverted { 1.0 - share } else { share }).round() as u8
    }
}
