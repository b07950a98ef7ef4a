"""Reference values from scipy.fft, numpy.fft and mpmath.

    pip install -r requirements.txt && python generate.py [directory]
"""

import pathlib
import sys

import mpmath
import numpy as np
import scipy
import scipy.fft
from safetensors.numpy import save_file

SEED = 3
LENGTHS = [1, 2, 3, 4, 5, 8, 9, 13, 16, 17, 31, 64, 65, 98, 130]
NORMS = ["ortho", "backward", "forward"]
MODES = {"zero": "constant", "replicate": "edge", "reflect": "reflect"}


def one_d(rng, transform):
    out = {}
    for n in LENGTHS:
        x = out[f"x/{n}"] = rng.standard_normal(n)
        for kind in (1, 2, 3, 4):
            if kind == 1 and n == 1:
                continue  # undefined
            for norm in NORMS:
                out[f"{kind}/{norm}/{n}"] = transform(x, kind, norm=norm)
    return out


def several_axes(rng):
    x = rng.standard_normal((3, 5, 4))
    out = {"x": x}
    for kind in (1, 2, 3, 4):
        for norm in NORMS:
            for axes in ((0, 1), (1, 2), (0, 2), (0, 1, 2)):
                name = f"{kind}/{norm}/{''.join(map(str, axes))}"
                out[f"dctn/{name}"] = scipy.fft.dctn(x, kind, axes=axes, norm=norm)
                out[f"idctn/{name}"] = scipy.fft.idctn(x, kind, axes=axes, norm=norm)
    return out


def pad(x, before, after, mode):
    return np.pad(x, [before, after, (0, 0)], MODES[mode])


def blocks(rng):
    """Blocks of every window on an array that they do not divide."""
    x = rng.standard_normal((7, 10, 2))
    out = {"x": x}
    for p in range(1, 10):
        for mode in MODES:
            padded = pad(x, (0, -7 % p), (0, -10 % p), mode)
            rows, columns = padded.shape[0] // p, padded.shape[1] // p
            windows = padded.reshape(rows, p, columns, p, 2)
            y = scipy.fft.dctn(windows, axes=(1, 3), norm="ortho")
            if p <= 4 or mode == "reflect":
                out[f"dct/{p}/{mode}"] = y.reshape(padded.shape)
            if mode == "reflect" and p <= 5:
                z = np.fft.fft2(windows, axes=(1, 3), norm="ortho").reshape(padded.shape)
                out[f"fft/{p}/re"], out[f"fft/{p}/im"] = z.real.copy(), z.imag.copy()
    return out


def sliding(rng):
    """Windows of every size around the positions of a small array."""
    x = rng.standard_normal((4, 6, 2))
    out = {"x": x}
    cases = [(q, mode, (1, 1)) for q in range(1, 5) for mode in MODES]
    cases += [(q, "reflect", (1, 1)) for q in range(5, 11)]
    cases += [(q, mode, strides) for q in (2, 3) for mode in MODES for strides in ((2, 3), (3, 1))]
    cases += [(q, "none", strides) for q in range(1, 5) for strides in ((1, 1), (2, 2))]
    for q, mode, (sy, sx) in cases:
        padded = x
        if mode != "none":
            around = (q // 2, q - 1 - q // 2)
            padded = pad(x, around, around, mode)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (q, q), axis=(0, 1))
        windows = windows[::sy, ::sx]  # [H, W, C, q, q]
        y = scipy.fft.dctn(windows, axes=(3, 4), norm="ortho")
        name = f"{q}/{mode}/{sy}{sx}"
        out[f"mean/{name}"] = y.mean((3, 4))
        out[f"abs/{name}"] = np.abs(y).mean((3, 4))
        out[f"power/{name}"] = (y**2).mean((3, 4))
        out[f"log/{name}"] = np.log1p(np.abs(y)).mean((3, 4))
        out[f"max/{name}"] = y.max((3, 4))
        if (q <= 3 and mode == "replicate") or (q <= 2 and mode == "none"):
            shape = (q * q, *y.shape[:3])
            out[f"all/{name}"] = np.moveaxis(y, (3, 4), (0, 1)).reshape(shape)
            z = np.moveaxis(np.fft.fft2(windows, axes=(3, 4), norm="ortho"), (3, 4), (0, 1))
            z = z.reshape(shape)
            out[f"re/{name}"], out[f"im/{name}"] = z.real.copy(), z.imag.copy()
    return out


def thirty_digits():
    """The sums themselves, samples 1, 1/2, ..., 1/n, to 30 digits."""
    mpmath.mp.dps = 50
    lines = []
    for n in (2, 7, 12, 19, 40):
        x = [mpmath.mpf(1) / (i + 1) for i in range(n)]
        pi = mpmath.pi
        for k in range(n):
            inner = sum(x[i] * mpmath.cos(pi * k * i / (n - 1)) for i in range(1, n - 1))
            sums = [
                x[0] + (-1) ** k * x[n - 1] + 2 * inner,
                2 * sum(x[i] * mpmath.cos(pi * k * (2 * i + 1) / (2 * n)) for i in range(n)),
                x[0]
                + 2 * sum(x[i] * mpmath.cos(pi * (2 * k + 1) * i / (2 * n)) for i in range(1, n)),
                2
                * sum(
                    x[i] * mpmath.cos(pi * (2 * k + 1) * (2 * i + 1) / (4 * n)) for i in range(n)
                ),
            ]
            for kind, y in enumerate(sums, 1):
                lines.append(f"{kind}\t{n}\t{k}\t{mpmath.nstr(y, 30)}\n")
    return "".join(lines)


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    directory = directory if directory.is_dir() else directory.parent
    made_by = {"scipy": scipy.__version__, "numpy": np.__version__, "seed": str(SEED)}
    rng = np.random.default_rng(SEED)
    files = {
        "forward": one_d(rng, scipy.fft.dct),
        "inverse": one_d(rng, scipy.fft.idct),
        "several_axes": several_axes(rng),
        "blocks": blocks(rng),
        "sliding": sliding(rng),
    }
    for name, arrays in files.items():
        arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        save_file(arrays, directory / f"{name}.safetensors", made_by)
    (directory / "thirty_digits.tsv").write_text(thirty_digits())


main()
