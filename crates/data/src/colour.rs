//! Colour models of stored images to RGB.

/// CMYK, each from 0 to 255, to RGB by Pillow's formula.
pub(crate) fn cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(black);
    [cyan, magenta, yellow].map(|ink| (white - (u32::from(ink) * white + 127) / 255) as u8)
}

/// Undoes premultiplied alpha, rounding as Pillow does, and drops alpha, the last sample of each pixel.
pub(crate) fn divide_by_alpha(samples: &[u8], channels: usize) -> Vec<u8> {
    let mut divided = Vec::with_capacity(samples.len() / channels * (channels - 1));
    for pixel in samples.chunks_exact(channels) {
        let alpha = u32::from(pixel[channels - 1]);
        let whole = |colour: u32| (colour * 255).checked_div(alpha).unwrap_or(0).min(255) as u8;
        divided.extend(pixel[..channels - 1].iter().map(|&colour| whole(colour.into())));
    }
    divided
}
