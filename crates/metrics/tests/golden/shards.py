"""Saved accumulators, written from the documentation of `PixelMetrics::save` and `PixelHistogram::save`.

Usage: python shards.py [OUT_DIR]      (default: beside this file)

`shard_single.bin` and `shard_double.bin` hold the case "tied" of `pixels.safetensors`; `shard_histogram.crc32` is the
checksum of its histogram over 0 to 1.
"""

import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy import ndimage

BINS = 786432


def leb(number):
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def key(score):
    bits = score.dtype.itemsize * 8
    word = int(score.view(f"u{bits // 8}"))
    return ~word & (1 << bits) - 1 if word >> bits - 1 else word | 1 << bits - 1


def numbers(*values):
    return b"".join(value.to_bytes(8, "little") for value in values)


def regions(masks):
    """Image and coordinates of each region, by its first pixel."""
    for image, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        found = [np.argwhere(labels == label) for label in range(1, count + 1)]
        yield from ((image, coords) for coords in sorted(found, key=lambda coords: tuple(coords[0])))


def sealed(kind, body):
    data = b"\x93METRICS" + (1).to_bytes(2, "little") + bytes([kind, 8]) + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def exact(maps, masks):
    size = maps.dtype.itemsize
    found = list(regions(masks))
    body = numbers(len(maps), len(found))
    for image, coords in found:
        keys = sorted((key(maps[image][tuple(at)]) for at in coords), reverse=True)
        body += numbers(image, *map(int, coords[0]), len(keys)) + b"".join(k.to_bytes(size, "little") for k in keys)
    last, coded = (1 << 8 * size) - 1, b""
    for k, count in sorted(Counter(key(score) for score in maps[~masks]).items(), reverse=True):
        distance, last = last - k, k
        coded += bytes([(count > 1) | (distance & 63) << 1 | (distance > 63) << 7])
        coded += leb(distance >> 6) if distance > 63 else b""
        coded += leb(count - 2) if count > 1 else b""
    return sealed(1 if size == 4 else 2, body + numbers(len(coded)) + coded)


def histogram(maps, masks):
    bins = np.minimum((maps.astype(np.float64) * BINS).astype(int), BINS - 1)
    normal, pixels, overlap = Counter(bins[~masks].tolist()), Counter(), Counter()
    count = 0
    for image, coords in regions(masks):
        count += 1
        for before, at in enumerate(sorted((int(bins[image][tuple(at)]) for at in coords), reverse=True)):
            pixels[at] += 1
            overlap[at] += (before + 1) * 2**32 // len(coords) - before * 2**32 // len(coords)
    coded = b"".join(leb(normal[i]) + leb(pixels[i]) + leb(overlap[i]) for i in range(BINS))
    ends = np.array([0.0, 1.0]).view(np.uint64).tolist()
    return sealed(3, numbers(*ends, count, len(coded)) + coded)


def main(out):
    golden = load_file(Path(__file__).parent / "pixels.safetensors")
    maps, masks = golden["tied.maps"], golden["tied.masks"].astype(bool)
    (out / "shard_single.bin").write_bytes(exact(maps, masks))
    (out / "shard_double.bin").write_bytes(exact(maps.astype(np.float64), masks))
    # 2.4 MB, nearly all zeros: only its checksum is kept.
    checksum = zlib.crc32(histogram(maps, masks)[:-4])
    (out / "shard_histogram.crc32").write_text(f"{checksum:08x}\n")


main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
