"""Exact metrics of anomaly scores on NumPy arrays.

Higher scores are more anomalous. Labels and masks are truth values, or 0 and 1. Scores of float32
and float64 are read where they are, and so are contiguous labels of one byte; others are converted.
What the definition leaves open raises `fe_clip.Undefined`: it is never 0, 0.5 or NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _native

__all__ = ["F1Max", "auroc", "average_precision", "aupro", "f1_max"]


class F1Max(NamedTuple):
    """The largest F1 and where it is reached."""

    value: float
    #: Scores at or above it are called anomalous.
    threshold: float


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the ROC curve, in [0, 1]; tied scores count one half. Arrays of one shape."""
    return _native.auroc(*_flat(scores, labels))


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Average precision, in (0, 1], as scikit-learn's. Arrays of one shape."""
    return _native.average_precision(*_flat(scores, labels))


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> F1Max:
    """The largest F1 of all thresholds. Arrays of one shape."""
    return F1Max(*_native.f1_max(*_flat(scores, labels)))


def aupro(maps: npt.ArrayLike, masks: npt.ArrayLike, max_fpr: float = 0.3, neighbours: int = 8) -> float:
    """Area under the per-region overlap curve up to a false-positive rate, in [0, 1].

    Arrays [n, height, width], or of one image [height, width]; `neighbours` of a pixel belong to
    its region, 4 or 8.
    """
    values, truths = _scores(maps), _labels(masks)
    if values.ndim == 2 and truths.ndim == 2:
        values, truths = values[np.newaxis], truths[np.newaxis]
    if values.ndim != 3 or truths.ndim != 3:
        raise ValueError(f"expected maps and masks [n, height, width], got {values.shape} and {truths.shape}")
    return _native.aupro(values, truths, max_fpr, neighbours)


def _flat(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    values, truths = _scores(scores), _labels(labels)
    if values.shape != truths.shape:
        raise ValueError(f"scores of shape {values.shape} do not fit labels of shape {truths.shape}")
    return values.reshape(-1), truths.reshape(-1)


def _scores(scores: npt.ArrayLike) -> npt.NDArray[Any]:
    values = np.asarray(scores)
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise TypeError(f"scores: expected real numbers, got {values.dtype}")
    precise = np.float32 if values.dtype in (np.float16, np.float32) else np.float64
    return np.require(values, precise, ["ALIGNED"])


def _labels(labels: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    truths = np.asarray(labels)
    if truths.dtype == np.bool_:
        return np.ascontiguousarray(truths).view(np.uint8).reshape(truths.shape)
    if truths.dtype.kind not in "fiu":
        raise TypeError(f"labels: expected truth values or 0 and 1, got {truths.dtype}")
    if truths.dtype != np.uint8:
        if not np.isin(truths, (0, 1)).all():
            raise ValueError("labels: expected truth values or 0 and 1; a mask of 0 and 255 is `mask > 0`")
        truths = truths.astype(np.uint8)
    return np.ascontiguousarray(truths).reshape(truths.shape)
