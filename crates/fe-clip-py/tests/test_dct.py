"""Cosine transforms against SciPy."""

import tracemalloc

import numpy as np
import pytest
from scipy import fft

import fe_clip
from fe_clip import dct

#: Relative to the largest coefficient; errors grow as the square root of the length at most.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


def assert_close(found, expected, kind):
    assert found.dtype == kind and found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE[kind] * np.abs(expected).max()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("type", [1, 2, 3, 4])
def test_along_axes(kind, norm, type):
    x = np.random.default_rng(type).normal(size=(6, 17, 48)).astype(kind)
    exact = x.astype(np.float64)
    for ours, scipys in (dct.dct, fft.dct), (dct.idct, fft.idct):
        for axis in 0, 1, 2, -1:
            assert_close(ours(x, type, axis, norm), scipys(exact, type, axis=axis, norm=norm), kind)
    for ours, scipys in (dct.dctn, fft.dctn), (dct.idctn, fft.idctn):
        for axes in None, (0, 2), (-1,), 1:
            scipy_axes = (axes,) if isinstance(axes, int) else axes
            assert_close(ours(x, type, axes, norm), scipys(exact, type, axes=scipy_axes, norm=norm), kind)
    assert_close(dct.idctn(dct.dctn(x, type, norm=norm), type, norm=norm), exact, kind)


def test_of_every_kind_of_array():
    x = np.random.default_rng(0).normal(size=(12, 10))
    expected = fft.dctn(x, norm="ortho")
    wide = np.zeros((12, 20))
    wide[:, ::2] = x
    for layout in np.asfortranarray(x), wide[:, ::2], x[::-1].copy()[::-1], x.astype(">f8"):
        assert_close(dct.dctn(layout, norm="ortho"), expected, np.float64)
    assert dct.dct([1, 2, 3]).tolist() == pytest.approx([12, -(12**0.5), 0])
    assert dct.dct(np.ones(4, np.float16)).dtype == np.float32
    assert dct.dctn(np.float64(3.0)).shape == ()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_of_blocks(kind):
    x = np.random.default_rng(3).normal(size=(2, 24, 16, 5)).astype(kind)
    exact = x.astype(np.float64).reshape(2, 3, 8, 2, 8, 5)
    expected = fft.dctn(exact, axes=(2, 4), norm="ortho").reshape(x.shape)
    assert_close(dct.block_dct_2d(x, 8), expected, kind)
    assert_close(dct.block_dct_2d(x[0], 8), expected[0], kind)
    assert_close(dct.block_dct_2d(x[0, :, :, 0], 8), expected[0, :, :, 0], kind)
    assert_close(dct.block_idct_2d(dct.block_dct_2d(x, 8), 8), x.astype(np.float64), kind)


def test_what_is_refused():
    def refused(kind, words, transform, *arguments):
        with pytest.raises(kind, match=words):
            transform(*arguments)

    x = np.zeros((4, 6))
    refused(ValueError, "type: expected 1 to 4, got 5", dct.dct, x, 5)
    refused(ValueError, "norm: expected", dct.dct, x, 2, -1, "orthogonal")
    refused(ValueError, "axis 2 is out of bounds", dct.dct, x, 2, 2)
    refused(ValueError, "each one once", dct.dctn, x, 2, (0, -2))
    refused(ValueError, "at least 1 along axis 1, got 0", dct.dct, np.zeros((3, 0)))
    refused(ValueError, "at least 2 along axis 0, got 1", dct.dct, [1.0], 1)
    refused(TypeError, "real numbers, got complex128", dct.dct, [1j])
    refused(fe_clip.Error, "multiples of 8, got 4 x 6", dct.block_dct_2d, x, 8)
    refused(ValueError, "at least 1, got 0", dct.block_dct_2d, x, 0)
    refused(ValueError, "two, three or four axes", dct.block_dct_2d, [1.0], 1)


def test_nothing_is_copied():
    x = np.zeros((2048, 1024), np.float32)[:, ::2]
    tracemalloc.start()
    try:
        dct.dct(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, peak
