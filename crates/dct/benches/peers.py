"""Times scipy, torch and this crate on the same work and prints one table.

    pip install -r requirements.txt
    python peers.py arrays
    python peers.py lengths 1-64 100 1024      (many rows at once)
    python peers.py single 1-64 100 1024       (one row)
    python peers.py --json FILE arrays      (also writes the rows of `cargo xtask bench`)

One thread everywhere, processor time, the best of several repetitions. The Rust program
(`compare.rs`) and the Python one take turns, and the best of all turns counts.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import scipy.fft
import scipy.ndimage
import torch

torch.set_num_threads(1)
TURNS = 3
BATCH = 1 << 14
RUST = ["cargo", "bench", "--quiet", "-p", "dct", "--bench", "compare", "--"]


def best(call):
    """Processor nanoseconds of the fastest of many calls."""
    start = time.thread_time_ns()
    call()
    calls = -(-20_000 // max(time.thread_time_ns() - start, 1))
    fastest, repetitions = float("inf"), 0
    end = time.thread_time_ns() + (2_000_000 if calls > 1 else 100_000_000)
    while repetitions < 3 or time.thread_time_ns() < end:
        start = time.thread_time_ns()
        for _ in range(calls):
            call()
        fastest = min(fastest, (time.thread_time_ns() - start) / calls)
        repetitions += 1
    return fastest


def windows(x, size):
    """All windows around the positions of [B, H, W, C], the nearest sample repeated outside."""
    around = (size // 2, size - 1 - size // 2)
    x = np.pad(x, [(0, 0), around, around, (0, 0)], mode="edge")
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))


def basis(n):
    return scipy.fft.dct(np.eye(n), axis=0, norm="ortho").astype("f")


def arrays(report):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 24, 24, 1024), dtype="f")
    photo = rng.standard_normal((2160, 3840), dtype="f")

    def scipy_blocks(x, size):
        b, h, w, c = x.shape
        blocks = x.reshape(b, h // size, size, w // size, size, c)
        return scipy.fft.dctn(blocks, axes=(2, 4), norm="ortho")

    kron = torch.from_numpy(np.kron(basis(3), basis(3)).astype("f"))
    tokens = torch.from_numpy(x)

    def torch_blocks():
        blocks = tokens.reshape(8, 8, 3, 8, 3, 1024).permute(0, 1, 3, 2, 4, 5)  # [8, 8, 8, 3, 3, C]
        y = kron @ blocks.reshape(512, 9, 1024)
        return y.reshape(8, 8, 8, 3, 3, 1024).permute(0, 1, 3, 2, 4, 5).reshape(tokens.shape)

    name = "3x3 blocks of tokens, in place"
    report(name, "scipy", x.size, lambda: scipy_blocks(x, 3))
    report(name, "torch", x.size, torch_blocks)

    weights = basis(3).mean(0)
    kernel = torch.from_numpy(np.outer(weights, weights)).expand(1024, 1, 3, 3).contiguous()
    # the layout that depthwise convolutions of torch like best here, and the one that tokens have
    planes = tokens.permute(0, 3, 1, 2).contiguous()
    last = planes.contiguous(memory_format=torch.channels_last)
    for peer, tensor in (("torch", planes), ("torch channels last", last)):
        report("sliding 3x3, mean", peer, x.size, lambda: depthwise(around(tensor), kernel))
        padded = around(tensor)
        report("sliding 3x3, mean, padded before", peer, x.size, lambda: depthwise(padded, kernel))
    box = [1, 3, 3, 1]
    report("sliding 3x3, power mean", "scipy box", x.size, lambda: scipy.ndimage.uniform_filter(np.square(x), box, mode="nearest"))

    one = x[:1]  # an eighth: the coefficients of all images do not fit in small memories

    def coefficients():
        return scipy.fft.dctn(windows(one, 3), axes=(4, 5), norm="ortho")

    report("sliding 3x3, mean", "scipy", one.size, lambda: coefficients().mean((4, 5)))
    report("sliding 3x3, absolute mean", "scipy", one.size, lambda: np.abs(coefficients()).mean((4, 5)))
    report("sliding 3x3, power mean", "scipy", one.size, lambda: np.square(coefficients()).mean((4, 5)))
    report("sliding 3x3, log mean", "scipy", one.size, lambda: np.log1p(np.abs(coefficients())).mean((4, 5)))
    report("sliding 3x3, all coefficients", "scipy", one.size, coefficients)

    blocks = photo.reshape(270, 8, 480, 8)
    name = "8x8 blocks of a 4K image, in place"
    report(name, "scipy", photo.size, lambda: scipy.fft.dctn(blocks, axes=(1, 3), norm="ortho"))
    c = torch.from_numpy(basis(8))
    image = torch.from_numpy(photo).reshape(270, 8, 480, 8)
    report(name, "torch", photo.size, lambda: torch.einsum("ui,aibj,vj->aubv", c, image, c))


def around(x):
    """The nearest sample repeated outside, in the layout that x has."""
    return torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")


def depthwise(x, kernel):
    with torch.inference_mode():
        return torch.nn.functional.conv2d(x, kernel, groups=1024)


def lengths(report, numbers, batch):
    rng = np.random.default_rng(0)
    for n in numbers:
        x = rng.standard_normal((max(batch // n, 1), n), dtype="f")
        report(str(n), "scipy", x.size, lambda: scipy.fft.dct(x, axis=1, norm="ortho", overwrite_x=True))


def expand(arguments):
    for argument in arguments:
        first, _, last = argument.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    file = sys.argv[2] if sys.argv[1] == "--json" else None
    what, *rest = sys.argv[3 if file else 1 :]
    numbers = list(expand(rest))
    table = collections.defaultdict(dict)

    def note(case, name, nanoseconds):
        table[case][name] = min(nanoseconds, table[case].get(name, float("inf")))

    def report(case, name, samples, call):
        note(case, name, best(call) / samples)

    for _ in range(TURNS):
        command = [*RUST, what, *map(str, numbers)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in output.splitlines():
            case, name, nanoseconds = line.split("\t")
            note(case, name, float(nanoseconds))
        arrays(report) if what == "arrays" else lengths(report, numbers, BATCH if what == "lengths" else 1)

    rows = []
    for case, times in table.items():
        ours = times.pop("dct")
        name = {"arrays": "", "lengths": "length ", "single": "one row of "}[what] + case
        row = {"case": f"dct, {name}", "ours": ours, "unit": "CPU ns a sample"}
        rows += [row | {"peer": name, "theirs": t} for name, t in times.items()]
        peers = ", ".join(f"{name} {t / ours:.1f}x ({t:.3f})" for name, t in times.items())
        print(f"| {case} | {ours:.3f} | {peers} |")
    if file:
        pathlib.Path(file).write_text(json.dumps(rows))


main()
