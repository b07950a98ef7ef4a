use std::cmp::Reverse;
use std::io::{self, Read, Write};

use rayon::slice::ParallelSliceMut;

use super::{PixelMetrics, Placed};
use crate::counts::{Key, Shared, Stored};
use crate::format::{LoadError, MOST, Reader, Writer, check};
use crate::score::{Score, union};

impl<S: Score> PixelMetrics<S> {
    /// Writes the accumulator, for [`load`](Self::load) here or on another machine.
    ///
    /// The bytes depend on the images and their order alone, not on threads.
    /// They take at most about two bytes a normal pixel of `f32` scores, seven or eight of `f64`, and four or eight an
    /// anomalous one.
    /// Their format, all numbers little-endian:
    ///
    /// | bytes | what |
    /// |---|---|
    /// | 8 | `\x93METRICS` |
    /// | 2 | version, 1 |
    /// | 1 | 1 for `f32`, 2 for `f64`, 3 for a [`PixelHistogram`](crate::PixelHistogram) |
    /// | 1 | neighbours of a pixel that belong to its region, 4 or 8 |
    /// | 8, 8 | number of images, number of regions |
    /// | | for each region its image, row, column and area, 8 bytes each, and the keys of its pixels, largest first |
    /// | 8 | length of what follows |
    /// | | the normal pixels: distinct keys from the largest down, each as its distance from the one before (at first from the largest integer) and its count |
    /// | 4 | CRC-32 of all that |
    ///
    /// A key is the score's bits, all inverted if the sign is set, else the sign inverted; -0 is stored as 0.
    /// In the last part, bit 0 of an entry's first byte says that the key occurs more than once, bits 1 to 6 are the
    /// lowest of the distance, bit 7 says that the rest of the distance follows in LEB128; the count less 2 comes last,
    /// in LEB128, where bit 0 is set.
    ///
    /// # Errors
    /// Those of the writer.
    ///
    /// # Example
    /// ```
    /// use anomaly_metrics::{Connectivity, PixelMetrics};
    /// use ndarray::array;
    ///
    /// let mut shard = PixelMetrics::new(Connectivity::Eight);
    /// shard.add(array![[0.1f32, 0.9]].view(), array![[false, true]].view())?;
    /// let mut file = Vec::new();
    /// shard.save(&mut file)?;
    /// let mut whole = PixelMetrics::<f32>::load(file.as_slice())?;
    /// whole.merge(shard);
    /// assert_eq!(whole.finish(&[0.3])?.regions.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&mut self, writer: impl Write) -> io::Result<()> {
        let mut writer = Writer::new(writer, S::KIND, self.connectivity)?;
        writer.number(self.images as u64)?;
        writer.number(self.regions.len() as u64)?;
        self.anomalous.par_sort_unstable_by_key(|&(key, region)| (region, Reverse(key)));
        let mut rest = self.anomalous.as_slice();
        let mut keys = Vec::new();
        for region in &self.regions {
            let (row, column) = region.start;
            for number in [region.image as u64, row as u64, column as u64, region.area] {
                writer.number(number)?;
            }
            let own;
            (own, rest) = rest.split_at(region.area as usize);
            keys.clear();
            keys.extend(
                own.iter().flat_map(|(key, _)| {
                    key.to_u64().to_le_bytes().into_iter().take(S::Key::BYTES)
                }),
            );
            writer.bytes(&keys)?;
        }
        let normal = self.normal.gather();
        writer.number(normal.bytes().len() as u64)?;
        writer.bytes(normal.bytes())?;
        writer.finish()
    }

    /// Reads what [`save`](Self::save) wrote, and no byte more.
    ///
    /// Memory stays within a few times the bytes that are there, whatever they say.
    ///
    /// # Errors
    /// [`LoadError`] if the reader fails or the bytes are not a sound accumulator for this type of score.
    pub fn load(reader: impl Read) -> Result<Self, LoadError> {
        let (mut reader, connectivity) = Reader::new(reader, S::KIND)?;
        let mut pixels = Self::new(connectivity);
        let images = reader.number()?;
        check(images <= MOST, "it has too many images")?;
        pixels.images =
            usize::try_from(images).map_err(|_| LoadError::Damaged("it has too many images"))?;
        let regions = reader.number()?;
        check(regions <= u64::from(u32::MAX), "it has too many regions")?;
        for region in 0..regions as u32 {
            pixels.load_region(&mut reader, region)?;
        }

        let length = reader.number()?;
        let normal = Stored::decode(reader.bytes(length)?, MOST);
        let normal = normal.ok_or(LoadError::Damaged("its counts of normal pixels are wrong"))?;
        pixels.widen(normal.range())?;
        pixels.normal = Shared::from_stored(normal);
        reader.finish()?;
        Ok(pixels)
    }

    fn load_region(
        &mut self,
        reader: &mut Reader<impl Read>,
        region: u32,
    ) -> Result<(), LoadError> {
        let mut place = || {
            let number = reader.number()?;
            usize::try_from(number)
                .map_err(|_| LoadError::Damaged("a region lies outside of any image"))
        };
        let (image, row, column) = (place()?, place()?, place()?);
        let area = reader.number()?;
        let last = self.regions.last().map_or(0, |last| last.image);
        check(image >= last && image < self.images, "a region belongs to no image")?;
        check(area > 0 && area <= MOST, "a region has no sound area")?;
        let bytes = reader.bytes(area * S::Key::BYTES as u64)?;
        let keys = bytes.chunks_exact(S::Key::BYTES).map(|bytes| {
            let mut key = [0; 8];
            key[..bytes.len()].copy_from_slice(bytes);
            S::Key::from_u64(u64::from_le_bytes(key)).unwrap_or(S::Key::MAX)
        });
        let first = self.anomalous.len();
        self.anomalous.extend(keys.map(|key| (key, region)));
        let own = &self.anomalous[first..];
        check(
            own.is_sorted_by_key(|&(key, _)| Reverse(key)),
            "the scores of a region are out of order",
        )?;
        let range = own.last().zip(own.first()).map(|(least, greatest)| (least.0, greatest.0));
        self.widen(range)?;
        self.regions.push(Placed { image, start: (row, column), area });
        Ok(())
    }

    /// Widens the range of scores by one that must not hold NaN.
    fn widen(&mut self, range: Option<(S::Key, S::Key)>) -> Result<(), LoadError> {
        let (lowest, highest) = S::infinities();
        let numbers = range.is_none_or(|(least, greatest)| least >= lowest && greatest <= highest);
        check(numbers, "a score is NaN")?;
        self.range = union::<S>(self.range, range);
        Ok(())
    }
}
