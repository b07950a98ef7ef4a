"""Golden files of the crate `data`, from Pillow (the last line before the pass order of its resampling changed).

    pip install -r requirements.txt
    python generate.py                            # formats/*, formats.json, jpeg/*, jpeg.json, resize.json
    python generate.py ../../../../../shared/data/dev   # real.json as well; the images themselves stay out

Deterministic: seed 5 throughout. Images of resize.json are not stored, both sides draw them with `picture`.
"""

import base64
import hashlib
import io
import json
import random
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

HERE = Path(__file__).parent
FORMATS = HERE / "formats"
JPEG = HERE / "jpeg"
MEAN_COLOUR = (123, 117, 104)  # CLIP's mean, rounded


def picture(width, height):
    """Noise and hard edges, the worst case of the filters."""
    x = np.arange(width, dtype=np.uint32)[None, :, None]
    y = np.arange(height, dtype=np.uint32)[:, None, None]
    c = np.arange(3, dtype=np.uint32)[None, None, :]
    with np.errstate(over="ignore"):
        h = x * np.uint32(2654435761) + y * np.uint32(2246822519) + c * np.uint32(3266489917)
        h ^= h >> np.uint32(15)
        h = h * np.uint32(2246822519)
        h ^= h >> np.uint32(13)
    edges = np.where(((x >> 5) ^ (y >> 3) ^ c) & 1 == 1, 255, 0)
    noisy = ((x >> 4) + (y >> 4)) % 3 == 0
    return np.where(noisy, h & 255, edges).astype(np.uint8)


def resize(image, mode, height, width):
    filter = Image.Resampling.BILINEAR if image.mode == "L" else Image.Resampling.BICUBIC
    if mode == "squash":
        return image.resize((width, height), filter)
    if mode == "shortest_crop":  # torchvision's Resize and CenterCrop, for any target
        w, h = image.size
        if w * height >= h * width:
            new = (int(height * w / h), height)
        else:
            new = (width, int(width * h / w))
        left, top = (int(round((n - t) / 2.0)) for n, t in zip(new, (width, height)))
        return image.resize(new, filter).crop((left, top, left + width, top + height))
    colour = 0 if image.mode == "L" else MEAN_COLOUR
    return ImageOps.pad(image, (width, height), filter, color=colour)


def sha256(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


def resize_cases():
    r = random.Random(5)
    sizes = [(1, 1), (1, 7), (7, 1), (2, 3), (3000, 1), (1, 3000), (4000, 3000), (336, 336), (518, 517), (337, 335)]
    sizes += [(r.randint(1, 4000), r.randint(1, 3000)) for _ in range(12)]
    sizes += [(r.randint(1, 200), r.randint(1, 200)) for _ in range(30)]
    cases = []
    for i, (width, height) in enumerate(sizes):
        mode = ["squash", "shortest_crop", "letterbox"][i % 3]
        ratio = max(width, height) / min(width, height)
        if mode == "shortest_crop" and ratio > 30 or mode == "letterbox" and ratio > 100:
            mode = "squash"  # Pillow would make a huge image first, or one without pixels
        target = [(336, 336), (518, 518), (24, 24), (40, 17), (224, 224)][i % 5]
        if width * height > 2_000_000:
            target = (min(target[0], 336), min(target[1], 336))
        image = Image.fromarray(picture(width, height))
        mask = Image.fromarray((picture(width, height)[:, :, 0] > 200).astype(np.uint8) * 255)
        cases.append({
            "width": width, "height": height, "mode": mode, "target": target,
            "image": sha256(resize(image, mode, *target)),
            "mask": sha256((np.asarray(resize(mask, mode, *target)) > 127).astype(np.uint8)),
        })
    return cases


def orientation(value):
    exif = Image.Exif()
    exif[0x112] = value
    return exif


def small_palette_tiff(image, bits):
    """Indices of less than 8 bits in one strip, which no library at hand writes."""
    width, height = image.size
    indices, count = np.asarray(image), 1 << bits
    data = b""
    for row in indices:
        digits = "".join(f"{index:0{bits}b}" for index in row)
        digits += "0" * (-len(digits) % 8)
        data += int(digits, 2).to_bytes(len(digits) // 8, "big")
    colours = (image.getpalette() + [0] * 3 * count)[: 3 * count]
    colours = [colours[3 * index + channel] * 257 for channel in range(3) for index in range(count)]
    map_at = 8 + 2 + 12 * 10 + 4
    strip_at = map_at + 2 * len(colours)
    short, long = 3, 4
    tags = [(256, short, 1, width), (257, short, 1, height), (258, short, 1, bits), (259, short, 1, 1),
            (262, short, 1, 3), (273, long, 1, strip_at), (277, short, 1, 1), (278, short, 1, height),
            (279, long, 1, len(data)), (320, short, len(colours), map_at)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + entries + struct.pack("<I", 0) + struct.pack(f"<{len(colours)}H", *colours) + data


def jpegs():
    """Of JPEG files in many kinds and sizes, the hash of Pillow's (libjpeg-turbo's) samples."""
    expected = {}

    def add(name, data):
        (JPEG / name).write_bytes(data)
        expected[name] = sha256(Image.open(JPEG / name).convert("RGB"))

    def encoded(image, **options):
        data = io.BytesIO()
        image.save(data, "JPEG", **options)
        return data.getvalue()

    # Around the edges of blocks and of the filters for chroma, which need three samples.
    for i, (width, height) in enumerate([(1, 1), (3, 5), (4, 2), (8, 8), (9, 17), (16, 16), (17, 9), (33, 31), (67, 50)]):
        image = Image.fromarray(picture(width, height))
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            options = {"quality": [75, 100, 30][i % 3], "subsampling": subsampling}
            name = f"{width}x{height}_{subsampling.replace(':', '')}"
            add(f"{name}.jpg", encoded(image, **options))
            add(f"{name}_progressive.jpg", encoded(image, progressive=True, **options))
        for name in ("440", "411"):  # which Pillow does not write
            data = imagecodecs.jpeg8_encode(picture(width, height), level=80, subsampling=name)
            add(f"{width}x{height}_{name}.jpg", data)
        add(f"{width}x{height}_grey.jpg", encoded(image.convert("L"), quality=60))
        add(f"{width}x{height}_cmyk.jpg", encoded(image.convert("CMYK"), quality=80, progressive=i % 2 == 1))
    image = Image.fromarray(picture(67, 50))
    for blocks in (1, 3, 7):
        for progressive in (False, True):
            data = encoded(image, quality=85, restart_marker_blocks=blocks, progressive=progressive)
            add(f"restart_{blocks}{'_progressive' if progressive else ''}.jpg", data)
    add("optimised.jpg", encoded(image, quality=95, optimize=True))
    add("rgb.jpg", encoded(image, quality=90, keep_rgb=True))
    for file in JPEG.iterdir():
        assert file.name in expected, file
    return expected


def formats():
    """Tiny files of every kind, with what they should decode to."""
    rgb = picture(21, 18)
    smooth = np.asarray(Image.fromarray(rgb).reduce(3).resize((21, 18)))
    image, grey = Image.fromarray(smooth), Image.fromarray(smooth).convert("L")
    alpha = image.convert("RGBA")
    alpha.putalpha(grey)
    la = Image.merge("LA", (grey, grey))
    expected = {}

    def add(name, picture, **options):
        picture.save(FORMATS / name, **options)
        opened = Image.open(FORMATS / name)
        expected[name] = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))

    def add_array(name, array, rgb, **options):
        tifffile.imwrite(FORMATS / name, array, metadata=None, **options)
        expected[name] = rgb if rgb.ndim == 3 else np.repeat(rgb[:, :, None], 3, axis=2)

    for subsampling in (0, 1, 2):
        for progressive in (False, True):
            name = f"jpeg_{subsampling}{'_progressive' if progressive else ''}.jpg"
            add(name, image, quality=90, subsampling=subsampling, progressive=progressive)
    add("jpeg_grey.jpg", grey, quality=90)
    add("jpeg_restart.jpg", image, quality=90, restart_marker_blocks=1)
    add("jpeg_cmyk.jpg", image.convert("CMYK"), quality=95)
    for value in range(1, 9):
        add(f"jpeg_turned_{value}.jpg", image, quality=95, subsampling=0, exif=orientation(value))
    data = (FORMATS / "jpeg_cmyk.jpg").read_bytes()
    at = data.index(b"Adobe") + 11
    (FORMATS / "jpeg_ycck.jpg").write_bytes(data[:at] + b"\2" + data[at + 1:])
    expected["jpeg_ycck.jpg"] = np.asarray(Image.open(FORMATS / "jpeg_ycck.jpg").convert("RGB"))
    add("png_in_disguise.jpg", image, format="PNG")

    add("png_rgb.png", image)
    add("png_grey.png", grey)
    add("png_1_bit.png", grey.convert("1"))
    add("png_palette.png", image.quantize(16))
    add("png_palette_transparent.png", image.quantize(16), transparency=3)
    add("png_rgba.png", alpha)
    add("png_la.png", la)
    add("png_turned.png", image, exif=orientation(6))
    words = (picture(21, 18)[:, :, 0].astype(np.uint16) << 8) + picture(21, 18)[:, :, 1]
    Image.fromarray(words).save(FORMATS / "png_grey_16.png")
    scaled = np.floor(words.astype(np.float64) / 257 + 0.5).astype(np.uint8)
    expected["png_grey_16.png"] = np.repeat(scaled[:, :, None], 3, axis=2)

    add("bmp_rgb.bmp", image)
    add("bmp_grey.bmp", grey)
    add("bmp_palette.bmp", image.quantize(16))
    add("bmp_1_bit.bmp", grey.convert("1"))
    add("webp_lossless.webp", image, lossless=True)
    add("webp_lossy.webp", image, quality=90)
    add("webp_rgba.webp", alpha, lossless=True, exact=True)
    add("webp_turned.webp", image, lossless=True, exif=orientation(8))

    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        add(f"tiff_{compression.removeprefix('tiff_')}.tif", image, compression=compression)
    add("tiff_jpeg.tif", image, compression="jpeg", quality=95)
    add("tiff_grey.tif", grey)
    add("tiff_1_bit.tif", grey.convert("1"), compression="group4")
    add("tiff_rgba.tif", alpha)
    add("tiff_cmyk.tif", image.convert("CMYK"))
    turned = Image.fromarray(smooth)
    add("tiff_turned.tif", turned, tiffinfo={274: 5})
    add("tiff_palette.tif", image.quantize(200))
    add("tiff_palette_lzw.tif", image.quantize(40), compression="tiff_lzw", tiffinfo={274: 3})
    for bits in (1, 2, 4):
        name = f"tiff_palette_{bits}.tif"
        (FORMATS / name).write_bytes(small_palette_tiff(image.quantize(1 << bits), bits))
        expected[name] = np.asarray(Image.open(FORMATS / name).convert("RGB"))
    indices, colours = np.asarray(image.quantize(250)), np.zeros((3, 256), np.uint16)
    palette = np.asarray(image.quantize(250).getpalette(), np.uint16).reshape(-1, 3).T
    colours[:, : palette.shape[1]] = palette << 8
    for options in ({"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}):
        name = f"tiff_palette_{next(iter(options))}.tif"
        tifffile.imwrite(FORMATS / name, indices, metadata=None, photometric="palette", colormap=colours, **options)
        expected[name] = np.asarray(Image.open(FORMATS / name).convert("RGB"))
    wide = picture(21, 18).astype(np.uint16) * 256 + 77
    to_8 = np.floor(wide.astype(np.float64) / 257 + 0.5).astype(np.uint8)
    add_array("tiff_rgb_16.tif", wide, to_8, photometric="rgb")
    add_array("tiff_rgb_16_big_endian.tif", wide, to_8, photometric="rgb", byteorder=">")
    add_array("tiff_grey_16.tif", wide[:, :, 0], to_8[:, :, 0])
    add_array("tiff_planar.tif", smooth.transpose(2, 0, 1), smooth, photometric="rgb", planarconfig="separate")
    add_array("tiff_big.tif", smooth, smooth, photometric="rgb", bigtiff=True)
    tile = np.pad(smooth, ((0, 14), (0, 11), (0, 0)))
    add_array("tiff_tiled.tif", tile, tile, photometric="rgb", tile=(16, 16))
    unit = (picture(21, 18).astype(np.float64) / 255) ** 1.3
    rounded = lambda v: np.floor(v + 0.5).astype(np.uint8)
    for bits, kind in ((16, np.float16), (32, np.float32), (64, np.float64)):
        v = unit[:, :, 0].astype(kind)
        add_array(f"tiff_float_{bits}.tif", v, rounded(v.astype(np.float64) * 255))
    f = unit.astype(np.float32)
    add_array("tiff_float_rgb.tif", f, rounded(f.astype(np.float64) * 255), photometric="rgb")
    f = (unit[:, :, 0] * 200).astype(np.float32)
    add_array("tiff_float_to_255.tif", f, rounded(f.astype(np.float64)))
    f = (unit[:, :, 0] * 50000).astype(np.float32)
    add_array("tiff_float_to_65535.tif", f, rounded(f.astype(np.float64) * 255 / 65535))
    for file in FORMATS.iterdir():
        assert file.name in expected, file
    def described(name, v):
        """The samples where decoders may differ, else their hash."""
        lossy = name == "webp_lossy.webp"
        samples = {"rgb": base64.b64encode(v.tobytes()).decode()} if lossy else {"sha256": sha256(v)}
        return {"width": v.shape[1], "height": v.shape[0], **samples}

    return {name: described(name, v) for name, v in sorted(expected.items())}


def real(folder):
    """The hashes of the image as read and as resized."""
    cases, modes = {}, ["squash", "shortest_crop", "letterbox"]
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.suffix.lower() in (".png", ".jpg", ".jpeg")]
    for i, file in enumerate(files):
        opened = Image.open(file)
        image = ImageOps.exif_transpose(opened).convert("RGB")
        mode, target = modes[i % 3], [(336, 336), (518, 518), (224, 300)][i // 3 % 3]
        cases[str(file.relative_to(folder))] = {
            "format": opened.format, "mode": mode, "target": target,
            "read": sha256(image), "resized": sha256(resize(image, mode, *target)),
        }
    return cases


def write(name, value):
    lines = value.items() if isinstance(value, dict) else enumerate(value)
    text = ",\n".join((f"{json.dumps(k)}: " if isinstance(value, dict) else "") + json.dumps(v) for k, v in lines)
    brackets = "{}" if isinstance(value, dict) else "[]"
    (HERE / name).write_text(f"{brackets[0]}\n{text}\n{brackets[1]}\n")


FORMATS.mkdir(exist_ok=True)
JPEG.mkdir(exist_ok=True)
write("jpeg.json", jpegs())
write("formats.json", formats())
write("resize.json", resize_cases())
if len(sys.argv) > 1:
    write("real.json", real(Path(sys.argv[1])))
