"""Kinds of images, as the native half takes them: a name, and a file's bytes or pixels."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import PIL.Image

Pixels = npt.NDArray[np.uint8]

#: A path; a file's bytes; pixels, uint8 [height, width, 3]; or an image of Pillow.
Image = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, npt.NDArray[Any], "PIL.Image.Image"]

#: A name, and what it has beside a file of that name.
Given = tuple[str, Optional[Union[bytes, Pixels]]]


def given(image: Image, name: str) -> Given:
    """An image for the native half; one that is no path is called `name`."""
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image), None
    if isinstance(image, (bytes, bytearray, memoryview)):
        return name, bytes(image)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return name, _of_pillow(image, name)
    if hasattr(image, "__array__"):
        return name, _of_array(np.asarray(image), name)
    raise TypeError(
        f"{name}: expected a path, bytes, an array or an image of Pillow, got {type(image).__name__}"
    )


def is_one(images: object) -> bool:
    """Whether this is one image, and not several of them."""
    return not isinstance(images, (list, tuple)) and not (isinstance(images, np.ndarray) and images.ndim == 4)


def _of_array(array: npt.NDArray[Any], name: str) -> Pixels:
    shape = f"{array.dtype} of shape {array.shape}"
    if array.dtype != np.uint8:
        hint = ""
        if array.dtype.kind == "f":
            hint = "; values in [0, 1] become it by `(255 * x).round().astype(numpy.uint8)`"
        elif array.dtype == np.uint16:
            hint = "; values of 16 bits become it by `(x / 257).round().astype(numpy.uint8)`"
        raise ValueError(f"{name}: expected uint8 from 0 to 255, got {shape}{hint}")
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or (array.shape[2] not in (1, 3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "; channels are last, `x.transpose(1, 2, 0)`"
        raise ValueError(f"{name}: expected [height, width, 3], got {shape}{hint}")
    if array.size == 0:
        raise ValueError(f"{name}: expected pixels, got none: {shape}")
    # As of files: grey is three equal channels, opacity is left out.
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]


def _of_pillow(image: PIL.Image.Image, name: str) -> Pixels:
    from PIL import ImageOps

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise ValueError(
            f"{name}: an image of Pillow of mode {image.mode} does not tell its range: give its "
            "path, or pixels of 8 bits"
        )
    upright = ImageOps.exif_transpose(image)
    return _of_array(np.asarray(upright.convert("RGB")), name)
