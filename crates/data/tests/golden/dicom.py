"""Golden files of the crate `data` for DICOM: pydicom writes them and says what they show.

    pip install -r requirements.txt
    python dicom.py          # dicom/*, dicom.json

Values are pydicom's: rescaled by `apply_rescale`, windowed by `apply_windowing`, colours converted by
`convert_color_space`. Levels are those of the window's range scaled to 0 to 255 and rounded; without a window the
range is that of the bits that are stored.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_rescale, apply_windowing, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, SecondaryCaptureImageStorage,
)

HERE = Path(__file__).parent
DICOM = HERE / "dicom"
WIDTH, HEIGHT = 23, 17
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
expected = {}


def dataset(pixels, photometric, syntax=ExplicitVRLittleEndian, stored=None, **elements):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    ds.PatientName = "Nobody"
    ds.Rows, ds.Columns = HEIGHT, WIDTH
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored = bits, stored or bits
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.SamplesPerPixel = 3 if photometric[0] in "RY" else 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    for key, value in elements.items():
        setattr(ds, key, value)
    ds.PixelData = pixels.tobytes()
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    ds["PixelData"].VR = "OW" if bits == 16 else "OB"
    return ds


def note(name, pixels, ds):
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    assert pixels.dtype == np.uint8 and pixels.shape == (HEIGHT, WIDTH, 3), name
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    expected[name] = {"width": WIDTH, "height": HEIGHT, "sha256": digest}
    ds.save_as(DICOM / name, enforce_file_format=True)


def grey(name, ds, pixels=None):
    values = ds.pixel_array if pixels is None else pixels
    rescaled = apply_rescale(values, ds).astype(float)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    bits, signed = ds.BitsStored, ds.PixelRepresentation
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1], float)
    low, high = sorted(ends * slope + intercept)
    if "WindowCenter" in ds:
        shown = apply_windowing(values if "RescaleSlope" not in ds else rescaled, ds)
    else:
        shown = rescaled
    share = np.clip((shown - low) / (high - low), 0, 1)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    note(name, np.floor(share * 255 + 0.5).astype(np.uint8), ds)


def colour(name, ds, pixels=None):
    note(name, ds.pixel_array if pixels is None else pixels, ds)


DICOM.mkdir(exist_ok=True)
words = (x * 150 + y * 30).astype(np.uint16)  # up to 3780 of 4095
signed = (x * 120 - 1024 + y * 9).astype(np.int16)
octets = (x * 9 + y * 3).astype(np.uint8)
rgb = np.stack([x * 10, y * 14, 255 - (x + y) * 6], axis=-1).astype(np.uint8)

grey("grey_8.dcm", dataset(octets, "MONOCHROME2"))
grey("grey_8_inverted.dcm", dataset(octets, "MONOCHROME1"))
grey("grey_12.dcm", dataset(words, "MONOCHROME2", stored=12))
grey("grey_16_implicit.dcm", dataset(words * 17, "MONOCHROME2", ImplicitVRLittleEndian))
ct = {"RescaleSlope": "1.5", "RescaleIntercept": "-200"}
window = {"WindowCenter": [300, 40], "WindowWidth": [1500, 400]}  # the first of two
grey("window.dcm", dataset(words, "MONOCHROME2", stored=12, WindowCenter="2000", WindowWidth="1001"))
grey("rescale_window.dcm", dataset(signed, "MONOCHROME2", **ct, **window))
grey("rescale_window_inverted.dcm", dataset(signed, "MONOCHROME1", **ct, **window))
grey("falling_slope.dcm", dataset(words, "MONOCHROME2", stored=12, RescaleSlope="-2", RescaleIntercept="10"))
grey("exact.dcm", dataset(signed, "MONOCHROME2", **ct, **window, VOILUTFunction="LINEAR_EXACT"))
grey("sigmoid.dcm", dataset(signed, "MONOCHROME2", **ct, **window, VOILUTFunction="SIGMOID"))
grey("width_of_one.dcm", dataset(words, "MONOCHROME2", stored=12, WindowCenter="2000", WindowWidth="1"))
# Twelve bits at the top of the word, and something else below.
high = dataset(words * 16 + 5, "MONOCHROME2", stored=12)
high.HighBit = 15
grey("high_bits.dcm", high, words)
frames = dataset(np.stack([words, words[::-1]]), "MONOCHROME2", stored=12, NumberOfFrames=2)
grey("frames.dcm", frames, words)
# Sequences of known and of unknown length before the pixels, and private ones.
inner = Dataset()
inner.PatientID, inner.CodeMeaning = "x", "y"
outer = Dataset()
outer.ReferencedImageSequence = Sequence([inner, inner])
nested = dataset(words, "MONOCHROME2", stored=12, ReferencedStudySequence=Sequence([outer, outer]))
nested["ReferencedStudySequence"].is_undefined_length = True
outer.is_undefined_length_sequence_item = True
grey("sequences.dcm", nested)
colour("rgb.dcm", dataset(rgb, "RGB"))
colour("rgb_planes.dcm", dataset(rgb.transpose(2, 0, 1).copy(), "RGB", PlanarConfiguration=1))
ycbcr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
colour("ycbcr.dcm", dataset(ycbcr, "YBR_FULL"), convert_color_space(ycbcr, "YBR_FULL", "RGB"))
for name, ds in [
    ("rle_8.dcm", dataset(octets, "MONOCHROME2")),
    ("rle_16.dcm", dataset(signed, "MONOCHROME2", **ct, **window)),
]:
    ds.compress(RLELossless, generate_instance_uid=False)
    grey(name, ds)
ds = dataset(rgb, "RGB")
ds.compress(RLELossless, generate_instance_uid=False)
colour("rle_rgb.dcm", ds)


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue(), np.asarray(Image.open(io.BytesIO(file.getvalue())))


stream, pixels = jpeg(Image.fromarray(octets))
ds = dataset(octets, "MONOCHROME2", JPEGBaseline8Bit, WindowCenter="128", WindowWidth="200")
ds.PixelData = encapsulate([stream])
ds["PixelData"].is_undefined_length = True
grey("jpeg_grey.dcm", ds, pixels)
stream, pixels = jpeg(Image.fromarray(rgb), subsampling=1)
ds = dataset(rgb, "YBR_FULL_422", JPEGBaseline8Bit)
ds.PixelData = encapsulate([stream], fragments_per_frame=2)
ds["PixelData"].is_undefined_length = True
note("jpeg_rgb.dcm", pixels, ds)
(HERE / "dicom.json").write_text(json.dumps(expected, indent=1) + "\n")
