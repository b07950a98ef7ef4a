"""Discrete cosine transforms of NumPy arrays, named and normalised as those of `scipy.fft`.

Arrays of float32 and float64, of any strides, are read where they are and keep their precision;
float16 becomes float32, integers become float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _native

__all__ = ["block_dct_2d", "block_idct_2d", "dct", "dctn", "idct", "idctn"]

Type = Literal[1, 2, 3, 4]
Norm = Optional[Literal["backward", "ortho", "forward"]]
Axes = Optional[Union[int, Iterable[int]]]


def dct(x: npt.ArrayLike, type: Type = 2, axis: int = -1, norm: Norm = None) -> npt.NDArray[Any]:
    """Transforms along an axis."""
    samples = _samples(x)
    return _native.dctn(samples, type, _axes(samples, axis, type), norm)


def idct(x: npt.ArrayLike, type: Type = 2, axis: int = -1, norm: Norm = None) -> npt.NDArray[Any]:
    """Undoes `dct` of the same arguments."""
    samples = _samples(x)
    return _native.idctn(samples, type, _axes(samples, axis, type), norm)


def dctn(x: npt.ArrayLike, type: Type = 2, axes: Axes = None, norm: Norm = None) -> npt.NDArray[Any]:
    """Transforms along several axes, or all."""
    samples = _samples(x)
    return _native.dctn(samples, type, _axes(samples, axes, type), norm)


def idctn(x: npt.ArrayLike, type: Type = 2, axes: Axes = None, norm: Norm = None) -> npt.NDArray[Any]:
    """Undoes `dctn` of the same arguments."""
    samples = _samples(x)
    return _native.idctn(samples, type, _axes(samples, axes, type), norm)


def block_dct_2d(x: npt.ArrayLike, size: int) -> npt.NDArray[Any]:
    """Orthonormal transforms of blocks of `size` by `size`, each where it stands.

    x: [height, width], [height, width, channels] or [n, height, width, channels]; height and width
        are multiples of `size`.
    """
    return _native.block_dct_2d(_blocks(x, size), size)


def block_idct_2d(x: npt.ArrayLike, size: int) -> npt.NDArray[Any]:
    """Undoes `block_dct_2d`."""
    return _native.block_idct_2d(_blocks(x, size), size)


def _samples(x: npt.ArrayLike) -> npt.NDArray[Any]:
    samples = np.asarray(x)
    if samples.dtype.kind not in "fiub" or samples.dtype.itemsize > 8:
        raise TypeError(f"expected real numbers, got {samples.dtype}")
    precise = np.float32 if samples.dtype in (np.float16, np.float32) else np.float64
    return np.require(samples, precise, ["ALIGNED"])


def _blocks(x: npt.ArrayLike, size: int) -> npt.NDArray[Any]:
    samples = _samples(x)
    if samples.ndim not in (2, 3, 4):
        raise ValueError(f"expected two, three or four axes, got {samples.ndim}")
    if size < 1:
        raise ValueError(f"size: expected at least 1, got {size}")
    return samples


def _axes(samples: npt.NDArray[Any], axes: Axes, type: int) -> list[int]:
    chosen = range(samples.ndim) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    found = []
    for axis in chosen:
        if not -samples.ndim <= axis < samples.ndim:
            raise ValueError(f"axis {axis} is out of bounds: the array has {samples.ndim}")
        found.append(axis % samples.ndim)
    if len(set(found)) < len(found):
        raise ValueError("axes: expected each one once")
    shortest = 2 if type == 1 else 1
    for axis in found:
        if samples.shape[axis] < shortest:
            raise ValueError(f"expected at least {shortest} along axis {axis}, got {samples.shape[axis]}")
    return found
