"""Golden files of the crate `data` for what cameras, scanners and editors write at the edges of each format.

    pip install -r requirements.txt
    python edges.py          # edges/*, edges.json

The expected pixels are Pillow's (with the libtiff inside it), in RGB and upright. Where Pillow does not read a file, they
are tifffile's samples, or the definition written out here; "by" in edges.json says which.
"""

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

HERE = Path(__file__).parent
EDGES = HERE / "edges"
WIDTH, HEIGHT = 37, 29  # no multiple of a tile, of a byte's bits or of a JPEG block
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
expected = {}


def picture():
    """Ramps in three directions with a disc, different in every channel."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - 20) ** 2 + (y - 11) ** 2 < 60
    rgb = np.stack([x * 6 + 10, y * 8 + 5, (x + y) * 3 + 20], axis=-1)
    rgb[disc] = 255 - rgb[disc]
    return rgb.astype(np.uint8)


RGB = picture()
IMAGE = Image.fromarray(RGB)
GREY = IMAGE.convert("L")


def note(name, pixels, by):
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3, name
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    expected[name] = {"width": pixels.shape[1], "height": pixels.shape[0], "sha256": digest, "by": by}


def by_pillow(name, data=None, like=None):
    """Notes Pillow's pixels; `like` are those that they must be, where the file is without loss."""
    if data is not None:
        (EDGES / name).write_bytes(data)
    pixels = np.asarray(ImageOps.exif_transpose(Image.open(EDGES / name)).convert("RGB"))
    if like is not None:
        like = np.asarray(like)
        assert (pixels == (like if like.ndim == 3 else like[:, :, None])).all(), name
    note(name, pixels, "Pillow")


# TIFF


def tiff(tags, data, order="<"):
    """A page of one strip. `tags`: number -> (kind, values); the strip's place and length come by themselves."""
    formats = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}
    tags = {256: (LONG, [WIDTH]), 257: (LONG, [HEIGHT]), 273: (LONG, [0]), 278: (LONG, [HEIGHT]), **tags}
    tags.setdefault(279, (LONG, [len(data)]))
    tags = {tag: value for tag, value in tags.items() if value is not None}
    at = 8 + 2 + 12 * len(tags) + 4
    behind = b""
    places = {}
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        if len(packed) > 4:
            places[tag] = at + len(behind)
            behind += packed + b"\0" * (len(packed) % 2)
    tags[273] = (LONG, [at + len(behind)])
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        count = len(values) // 2 if kind == RATIONAL else len(values)
        value = struct.pack(f"{order}I", places[tag]) if tag in places else packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, count) + value
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + behind + data


def packed(samples, bits):
    """Rows of samples of so many bits, each row from a byte on."""
    rows = [
        "".join(f"{int(v):0{bits}b}" for v in np.ravel(row)) for row in samples
    ]
    rows = [row + "0" * (-len(row) % 8) for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)


def reversed_bits(data):
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


def grey_tags(bits, compression=1, **more):
    tags = {258: (SHORT, [bits]), 259: (SHORT, [compression]), 262: (SHORT, [1]), 277: (SHORT, [1])}
    return {**tags, **{int(tag[1:]): value for tag, value in more.items()}}


def rgb_tags(samples, compression=1, photometric=2, **more):
    tags = {258: (SHORT, [8] * samples), 259: (SHORT, [compression]), 262: (SHORT, [photometric]), 277: (SHORT, [samples])}
    return {**tags, **{int(tag[1:]): value for tag, value in more.items()}}


def write_tiff(name, array, **options):
    tifffile.imwrite(EDGES / name, array, metadata=None, software=False, **options)


def tiffs():
    planes = RGB.transpose(2, 0, 1)
    write_tiff("planar_tiled.tif", planes, photometric="rgb", planarconfig="separate", tile=(16, 16))
    by_pillow("planar_tiled.tif", like=RGB)
    write_tiff("planar_tiled_lzw.tif", planes, photometric="rgb", planarconfig="separate", tile=(32, 16), compression="lzw")
    by_pillow("planar_tiled_lzw.tif", like=RGB)
    write_tiff("tiled_lzw.tif", RGB, photometric="rgb", tile=(16, 16), compression="lzw", predictor=True)
    by_pillow("tiled_lzw.tif", like=RGB)
    write_tiff("tiled_grey.tif", np.asarray(GREY), tile=(16, 32), compression="packbits")
    by_pillow("tiled_grey.tif", like=GREY)

    bilevel = np.asarray(GREY) > 127
    line_art = Image.fromarray(bilevel)
    by_pillow("fill_order_2.tif", tiff(grey_tags(1, t266=(SHORT, [2])), reversed_bits(packed(bilevel, 1))), like=line_art.convert("L"))
    lzw = imagecodecs.lzw_encode(np.asarray(GREY).tobytes())
    by_pillow("fill_order_2_lzw.tif", tiff(grey_tags(8, 5, t266=(SHORT, [2])), reversed_bits(lzw)), like=GREY)
    for name, compression, options in [("huffman", "tiff_ccitt", {}), ("group3", "group3", {}), ("group3_2d", "group3", {292: 1})]:
        line_art.save(EDGES / f"fax_{name}.tif", compression=compression, tiffinfo=options)
        by_pillow(f"fax_{name}.tif", like=line_art.convert("L"))
    by_pillow("no_strip_lengths.tif", tiff(grey_tags(8, t279=None), np.asarray(GREY).tobytes()), like=GREY)
    by_pillow("too_many_bits.tif", tiff(grey_tags(8, t258=(SHORT, [8, 8, 8])), np.asarray(GREY).tobytes()), like=GREY)
    by_pillow("white_is_zero.tif", tiff(grey_tags(8, t262=(SHORT, [0])), (255 - np.asarray(GREY)).tobytes()), like=GREY)

    premultiplied = IMAGE.convert("RGBA")
    premultiplied.putalpha(GREY)
    stored = np.asarray(premultiplied.convert("RGBa")).tobytes()
    by_pillow("associated_alpha.tif", tiff(rgb_tags(4, t338=(SHORT, [1])), stored))
    by_pillow("unassociated_alpha.tif", tiff(rgb_tags(4, t338=(SHORT, [2])), np.asarray(premultiplied).tobytes()), like=RGB)

    # Pillow takes the upper byte of a palette's levels, whatever they are, and sees black here; libtiff (checkcmap in
    # tif_getimage.c) takes levels that are all below 256 as they are.
    indexed = IMAGE.quantize(16)
    colours = np.asarray(indexed.getpalette(), np.uint16).reshape(-1, 3)
    colours = np.vstack([colours, np.zeros((256 - len(colours), 3), np.uint16)])
    name = "palette_8_bit_colours.tif"
    tags = grey_tags(8, t262=(SHORT, [3]), t320=(SHORT, colours.T.ravel().tolist()))
    (EDGES / name).write_bytes(tiff(tags, np.asarray(indexed).tobytes()))
    read = tifffile.imread(EDGES / name)
    note(name, colours[read].astype(np.uint8), "tifffile's indices in the colours")

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    wide = np.asarray(GREY).astype(np.int64) * 256 + (x * 37 + y * 91) % 256
    for bits in (10, 12, 14):
        name, most = f"grey_{bits}.tif", (1 << bits) - 1
        (EDGES / name).write_bytes(tiff(grey_tags(bits), packed(wide >> (16 - bits), bits)))
        read = tifffile.imread(EDGES / name).astype(np.float64)
        note(name, np.floor(read * 255 / most + 0.5).astype(np.uint8), "tifffile, rounded to 8 bits")

    cmyk = np.concatenate([255 - RGB, (x * 3)[:, :, None].astype(np.uint8)], axis=2)
    write_tiff("cmyk_16.tif", cmyk.astype(np.uint16) * 256 + 201, photometric="separated")
    by_pillow("cmyk_16.tif")
    for compression in ("zstd", "lzma"):
        write_tiff(f"{compression}.tif", RGB, photometric="rgb", compression=compression, predictor=True, rowsperstrip=10)
        assert (tifffile.imread(EDGES / f"{compression}.tif") == RGB).all()
        note(f"{compression}.tif", tifffile.imread(EDGES / f"{compression}.tif"), "tifffile")
    webp = imagecodecs.webp_encode(RGB, lossless=True)
    (EDGES / "webp.tif").write_bytes(tiff(rgb_tags(3, 50001), webp))
    note("webp.tif", tifffile.imread(EDGES / "webp.tif"), "tifffile")
    write_tiff("words_deflate.tif", RGB.astype(np.uint16) * 257, photometric="rgb", compression="zlib", predictor=True)
    by_pillow("words_deflate.tif", like=RGB)
    unit = np.asarray(GREY).astype(np.float32) / 255
    write_tiff("floats_deflate.tif", unit, compression="zlib", predictor=True)
    read = tifffile.imread(EDGES / "floats_deflate.tif").astype(np.float64)
    note("floats_deflate.tif", np.floor(read * 255 + 0.5).astype(np.uint8), "tifffile, rounded to 8 bits")

    # Luma of 2 x 2 pixels, then their chroma; libtiff makes RGB of it inside Pillow.
    luma, cb, cr = (np.pad(np.asarray(c), ((0, 1), (0, 1)), mode="edge") for c in IMAGE.convert("YCbCr").split())
    blocks = luma.reshape(15, 2, 19, 2).transpose(0, 2, 1, 3).reshape(15, 19, 4)
    blocks = np.concatenate([blocks, cb[::2, ::2, None], cr[::2, ::2, None]], axis=2)
    by_pillow("ycbcr_deflate.tif", tiff(rgb_tags(3, 8, 6, t530=(SHORT, [2, 2])), zlib.compress(blocks.tobytes())))

    # A JPEG file as the only strip has the pixels of the file alone.
    for subsampling in (0, 2):
        jpeg = encoded(quality=90, subsampling=subsampling)
        name = f"jpeg_inside_{subsampling}.tif"
        steps = 2 if subsampling else 1
        (EDGES / name).write_bytes(tiff(rgb_tags(3, 7, 6, t530=(SHORT, [steps, steps])), jpeg))
        note(name, Image.open(io.BytesIO(jpeg)), "Pillow, the JPEG alone")


# JPEG, PNG and BMP


def encoded(**options):
    data = io.BytesIO()
    IMAGE.save(data, "JPEG", **options)
    return data.getvalue()


def exif(value, kind=SHORT, order="<"):
    """EXIF with an orientation alone, without the six bytes before it."""
    number = struct.pack(f"{order}HH" if kind == SHORT else f"{order}I", *([value, 0] if kind == SHORT else [value]))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1)
    return head + struct.pack(f"{order}HHI", 0x112, kind, 1) + number + b"\0" * 4


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {}</rdf:RDF></x:xmpmeta>'
)


def jpegs():
    by_pillow("exif_long.jpg", encoded(quality=95, exif=b"Exif\0\0" + exif(6, LONG)))
    by_pillow("exif_big_endian.jpg", encoded(quality=95, exif=b"Exif\0\0" + exif(8, order=">")))
    attribute = XMP.format('tiff:Orientation="6"/>').encode()
    element = XMP.format("><tiff:Orientation>3</tiff:Orientation></rdf:Description>").encode()
    by_pillow("xmp_attribute.jpg", encoded(quality=95, xmp=attribute))
    by_pillow("xmp_element.jpg", encoded(quality=95, xmp=element))
    by_pillow("xmp_beside_exif.jpg", encoded(quality=95, xmp=attribute, exif=b"Exif\0\0" + exif(8)))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def pngs():
    data = io.BytesIO()
    IMAGE.save(data, "PNG")
    plain = data.getvalue()
    head, end = 33, len(plain) - 12  # behind IHDR, before IEND

    def put(at, *chunks):
        return plain[:at] + b"".join(chunks) + plain[at:]

    by_pillow("exif_behind_pixels.png", put(end, chunk(b"eXIf", exif(8))))
    digits = (b"Exif\0\0" + exif(6)).hex().encode()
    lines = b"\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    profile = b"\nexif\n%8d\n%s\n" % (len(digits) // 2, lines)
    by_pillow("raw_profile.png", put(head, chunk(b"tEXt", b"Raw profile type exif\0" + profile)))
    by_pillow("raw_profile_compressed.png", put(head, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))))
    xmp = XMP.format('tiff:Orientation="5"/>').encode()
    by_pillow("xmp.png", put(head, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    # Chunks that pixels do without, each without a meaning: libpng warns and goes on.
    by_pillow("bad_cicp.png", put(head, chunk(b"cICP", bytes([255, 255, 255, 9]))), like=RGB)
    bad_gamma = chunk(b"gAMA", b"\0\0\0\0")
    by_pillow("bad_gamma.png", put(head, bad_gamma), like=RGB)


def bmp(words, bits, masks):
    """A bitmap of 16 bits a pixel, rows from the bottom up, each of whole four bytes."""
    rows = np.pad(words[::-1], ((0, 0), (0, WIDTH % 2))).astype("<u2").tobytes()
    fields = struct.pack("<III", *masks) if masks else b""
    start = 14 + 40 + len(fields)
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, 3 if masks else 0, len(rows), 2835, 2835, 0, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + fields + rows


def bmps():
    r, g, b = (RGB[:, :, channel].astype(np.uint16) for channel in range(3))
    by_pillow("bits_555.bmp", bmp(r >> 3 << 10 | g >> 3 << 5 | b >> 3, 16, None))
    by_pillow("bits_555_fields.bmp", bmp(r >> 3 << 10 | g >> 3 << 5 | b >> 3, 16, (0x7C00, 0x3E0, 0x1F)))
    by_pillow("bits_565.bmp", bmp(r >> 3 << 11 | g >> 2 << 5 | b >> 3, 16, (0xF800, 0x7E0, 0x1F)))
    data = io.BytesIO()
    IMAGE.save(data, "DIB")
    by_pillow("bare.dib", data.getvalue(), like=RGB)


EDGES.mkdir(exist_ok=True)
for file in EDGES.iterdir():
    file.unlink()
tiffs()
jpegs()
pngs()
bmps()
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(expected.items()))
(HERE / "edges.json").write_text(f"{{\n{lines}\n}}\n")
