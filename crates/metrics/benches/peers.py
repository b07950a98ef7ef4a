"""CPU time and memory of `fe-clip metrics` beside the packages people use, on the same maps in one sitting.

Usage: python peers.py FE_CLIP [--images 80] [--side 1024] [--rounds 3] [--dir DIR] [--json FILE]      (Linux)

FE_CLIP is the program. Every measurement is a process of its own; a round runs all of them once, and the fastest of
the rounds counts, in CPU seconds of the process (user and system), since other programs share the machine.
Python packages are measured from arrays in memory, `fe-clip` with its start, file reading and all metrics.
Memory is what is held beyond the input: the rise of the peak for Python, the private memory for `fe-clip`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# Unset what makes the numerical libraries of the peers slower than they are.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)


def make(folder, images, side):
    """Sigmoid scores, about 1 % anomalous pixels in three discs an image, a fifth of the images normal."""
    rng = np.random.default_rng(1)
    maps = np.lib.format.open_memmap(folder / "maps.npy", "w+", np.float32, (images, side, side))
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", bool, (images, side, side))
    y, x = np.ogrid[:side, :side]
    for image in range(images):
        mask = np.zeros((side, side), bool)
        for _ in range(0 if image % 5 == 0 else 3):
            row, column = rng.integers(0, side, 2)
            mask |= (y - row) ** 2 + (x - column) ** 2 < rng.uniform(0.3, 1.7) * 0.01 * 1.25 * side**2 / 3 / np.pi
        noise = rng.standard_normal((side, side), dtype=np.float32)
        maps[image] = 1 / (1 + np.exp(3 - 1.2 * noise - 2.2 * mask))
        masks[image] = mask


def sklearn_auroc(maps, masks):
    from sklearn.metrics import roc_auc_score

    return lambda: {"auroc": roc_auc_score(masks.ravel(), maps.ravel())}


def sklearn_ap(maps, masks):
    from sklearn.metrics import average_precision_score

    return lambda: {"ap": average_precision_score(masks.ravel(), maps.ravel())}


def torchmetrics_auroc(maps, masks):
    import torch
    from torchmetrics.functional.classification import binary_auroc

    torch.set_num_threads(1)
    scores, labels = torch.from_numpy(maps).ravel(), torch.from_numpy(masks).ravel().int()
    return lambda: {"auroc": float(binary_auroc(scores, labels, validate_args=False))}


def anomalib_aupro(maps, masks):
    import torch
    from anomalib.metrics.aupro import _AUPRO

    torch.set_num_threads(1)
    metric = _AUPRO(fpr_limit=0.3)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    return lambda: {"aupro": float(metric.compute())}


def adeval_all(maps, masks):
    np.trapz = np.trapezoid  # the package predates NumPy 2
    from adeval import auroc_aupr_aupro

    masks = masks.astype(np.uint8)
    return lambda: dict(zip(("auroc", "ap", "aupro"), auroc_aupr_aupro(maps, masks)))


PEERS = [adeval_all, sklearn_auroc, anomalib_aupro, sklearn_ap, torchmetrics_auroc]


def status(key, process="self"):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0.0


def run_peer(name, folder):
    """In a process of its own: prints seconds, MB and values."""
    compute = globals()[name](np.load(folder / "maps.npy"), np.load(folder / "masks.npy"))
    Path("/proc/self/clear_refs").write_text("5")  # restarts the peak
    before, start = status("VmRSS"), time.process_time()
    values = compute()
    print(json.dumps([time.process_time() - start, status("VmHWM") - before, values]))


def run_ours(program, folder, threads):
    command = [program, "metrics", "--maps", folder / "maps.npy", "--masks", folder / "masks.npy"]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    start, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, env=environment)
        while True:
            pid, _, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, status("RssAnon", process.pid))
            time.sleep(0.002)
        wall = time.monotonic() - start
        out.seek(0)
        pixel = json.load(out)["pixel"]
    return usage.ru_utime + usage.ru_stime, peak, {key: pixel[key] for key in ("auroc", "ap", "f1_max", "aupro")}, wall


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--json", type=Path, help="write the rows of `cargo xtask bench`")
    parser.add_argument("--peer")
    arguments = parser.parse_args()
    if arguments.peer:
        return run_peer(arguments.peer, arguments.dir)

    folder = arguments.dir or Path(tempfile.mkdtemp())
    if not (folder / "masks.npy").exists():
        make(folder, arguments.images, arguments.side)
    masks = np.load(folder / "masks.npy", mmap_mode="r")
    print(f"{masks.shape}, {masks.mean():.2%} anomalous", flush=True)

    results = {}

    def measured(name, run):
        print(name, *run, file=sys.stderr, flush=True)
        results.setdefault(name, []).append(run)

    for _ in range(arguments.rounds):
        for threads in (1, 2):
            name = f"fe-clip metrics, {threads} thread{'s' * (threads > 1)}"
            measured(name, run_ours(arguments.program.resolve(), folder, threads))
        for peer in PEERS:
            command = [sys.executable, __file__, arguments.program, "--dir", folder, "--peer", peer.__name__]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured(peer.__name__, json.loads(output.splitlines()[-1]))

    exact = results["fe-clip metrics, 1 thread"][0][2]
    unit = min(run[0] for run in results["fe-clip metrics, 1 thread"])
    print("| what | CPU seconds | times ours | MB beyond the input | differs by |\n|---|---|---|---|---|")
    rows = []
    for name, runs in results.items():
        seconds, memory = min(run[0] for run in runs), max(run[1] for run in runs)
        difference = ", ".join(f"{key} {abs(value - exact[key]):.1g}" for key, value in runs[0][2].items())
        print(f"| {name} | {seconds:.2f} | {seconds / unit:.1f} | {memory:.0f} | {difference} |")
        row = {"case": f"metrics of {masks.shape[0]} maps of {masks.shape[1]} x {masks.shape[2]}", "unit": "CPU s"}
        rows.append(row | {"peer": f"{name}: {', '.join(runs[0][2])}", "ours": unit, "theirs": seconds})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows[2:]))
    for name in list(results)[:2]:
        print(f"{name}: {min(run[3] for run in results[name]):.2f} s wall")


main()
