use std::io::{self, Read, Write};

use super::{Anomalous, PixelHistogram};
use crate::counts::{leb, push_leb};
use crate::format::{Kind, LoadError, MOST, Reader, Writer, check};

impl PixelHistogram {
    /// Writes the histogram, for [`load`](Self::load) here or on another machine: 2 to 8 MB.
    ///
    /// The head and the checksum are those of [`PixelMetrics::save`](crate::PixelMetrics::save); between them lie the ends of the range as
    /// `f64`, the number of regions and the length of the rest, 8 bytes each; then for each bin, the lowest first, in
    /// LEB128 its normal pixels, its anomalous pixels and the overlap that they add in units of 2^-32.
    ///
    /// # Errors
    /// Those of the writer.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelHistogram};
    ///
    /// let mut file = Vec::new();
    /// PixelHistogram::new(Connectivity::Four, 0.0, 1.0).save(&mut file)?;
    /// assert_eq!(PixelHistogram::load(file.as_slice())?.range(), (0.0, 1.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, writer: impl Write) -> io::Result<()> {
        let mut writer = Writer::new(writer, Kind::Histogram, self.connectivity)?;
        let mut bytes = Vec::new();
        for (&normal, anomalous) in self.normal.iter().zip(&self.anomalous) {
            for number in [normal, anomalous.pixels, anomalous.overlap] {
                push_leb(&mut bytes, number);
            }
        }
        let (lowest, highest) = self.range;
        for number in [lowest.to_bits(), highest.to_bits(), self.regions, bytes.len() as u64] {
            writer.number(number)?;
        }
        writer.bytes(&bytes)?;
        writer.finish()
    }

    /// Reads what [`save`](Self::save) wrote, and no byte more, into some 40 MB at most.
    ///
    /// # Errors
    /// [`LoadError`] if the reader fails or the bytes are not a sound histogram.
    pub fn load(reader: impl Read) -> Result<Self, LoadError> {
        let (mut reader, connectivity) = Reader::new(reader, Kind::Histogram)?;
        let range = (f64::from_bits(reader.number()?), f64::from_bits(reader.number()?));
        check(Self::bins_per_unit(range).is_some(), "its range is not a range")?;
        let mut histogram = Self::new(connectivity, range.0, range.1);
        histogram.regions = reader.number()?;
        let length = reader.number()?;
        check(length <= 30 * Self::BINS as u64, "it is too long")?;
        let bytes = reader.bytes(length)?;
        histogram.fill(&bytes).ok_or(LoadError::Damaged("its counts are wrong"))?;
        reader.finish()?;
        Ok(histogram)
    }

    /// Reads the bins; `None` if they contradict each other.
    fn fill(&mut self, bytes: &[u8]) -> Option<()> {
        let mut position = 0;
        let (mut normal_pixels, mut pixels, mut overlaps) = (0u64, 0u64, 0u128);
        for (normal, anomalous) in self.normal.iter_mut().zip(&mut self.anomalous) {
            let mut next = || leb(bytes, &mut position);
            *normal = next()?;
            *anomalous = Anomalous { pixels: next()?, overlap: next()? };
            normal_pixels = normal_pixels.checked_add(*normal)?;
            pixels = pixels.checked_add(anomalous.pixels)?;
            overlaps += u128::from(anomalous.overlap);
        }
        // A region's overlap adds up to 1 to the last bit, and it has a pixel at least.
        let sound = position == bytes.len()
            && normal_pixels <= MOST
            && pixels <= MOST
            && self.regions <= pixels
            && overlaps == u128::from(self.regions) * u128::from(Self::ONE);
        sound.then_some(())
    }
}
