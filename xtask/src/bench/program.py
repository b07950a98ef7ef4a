"""Start-up and training of the program, for `cargo xtask bench`.

Usage: python program.py startup FE_CLIP FOLDER ROUNDS FILE.json
       python program.py training FE_CLIP FOLDER ROUNDS FILE.json

CPU seconds (user and system) of each process, the fastest of the rounds, since other programs share the machine.
"""

import json
import pathlib
import resource
import subprocess
import sys

IMPORTS = {
    "importing torch": "import torch",
    "importing torch and transformers' CLIPModel": "import torch; from transformers import CLIPModel",
}


def seconds(command):
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    start = used()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return used() - start


def startup(program, folder, rounds):
    """Until the program can say its version, and until one photograph has its score."""
    photo = next(path for path in sorted(folder.rglob("*.png")) if "ground_truth" not in str(path))
    ours = {"fe-clip --version": [program, "--version"], "fe-clip detect of one image with tiny": [program, "detect", photo]}
    peers = {name: [sys.executable, "-c", code] for name, code in IMPORTS.items()}
    best = {}
    for _ in range(rounds):
        for name, command in (ours | peers).items():
            best[name] = min(seconds(command), best.get(name, float("inf")))
    return [{"case": case, "peer": peer, "ours": best[case], "theirs": best[peer], "unit": "CPU s"} for case in ours for peer in peers]


def training(program, folder, rounds):
    """An epoch whose frozen layers ran once before, against one that would run them itself.

    Runs of one and three epochs differ by two cached epochs. What the shorter run needs beyond starting is one pass of
    the frozen layers and one cached epoch: an epoch without the cache.
    """
    settings = folder / "bench-run.toml"
    best = {"start": float("inf"), 1: float("inf"), 3: float("inf")}
    for turn in range(rounds):
        command = [program, "embed", "--text", "a photo", "--out", folder / "bench.npy"]
        best["start"] = min(best["start"], seconds(command))
        for epochs in (1, 3):
            root = json.dumps(str(folder.resolve()))
            settings.write_text(
                f'[model]\nbackbone = "tiny"\n[train]\ndatasets = [{{ name = "mvtec-ad", root = {root} }}]\nepochs = {epochs}\n'
            )
            out = folder.parent / f"{folder.name}-training-{turn}-{epochs}"
            best[epochs] = min(best[epochs], seconds([program, "train", "--config", settings, "--out", out]))
    cached, whole = (best[3] - best[1]) / 2, best[1] - best["start"]
    case = "a training epoch of tiny with the frozen layers' output kept"
    return [{"case": case, "peer": "the same, computing it again", "ours": cached, "theirs": whole, "unit": "CPU s"}]


what, program, folder, rounds, file = sys.argv[1:]
rows = {"startup": startup, "training": training}[what](program, pathlib.Path(folder), int(rounds))
for row in rows:
    print(f"{row['case']}: {row['ours']:.3f} s; {row['peer']}: {row['theirs']:.3f} s")
pathlib.Path(file).write_text(json.dumps(rows))
