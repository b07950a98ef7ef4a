"""Start-up and training of the program, for `cargo xtask bench`.

Usage: python program.py startup FE_CLIP FOLDER ROUNDS FILE.json
       python program.py training FE_CLIP FOLDER ROUNDS FILE.json
       python program.py folders FE_CLIP FOLDER ROUNDS FILE.json   (needs Pillow; FE_CLIP beside examples/throughput)

CPU seconds (user and system) of each process, or those of the clock where the unit says so, the fastest of the rounds, since other programs share the machine.
"""

import json
import pathlib
import resource
import subprocess
import sys
import time

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


# Megapixels: size, and files of a folder.
JPEGS = {1: ((1152, 864), 48), 8: ((3264, 2448), 16), 30: ((6336, 4752), 6)}


def clock(command):
    start = time.perf_counter()
    used = seconds(command)
    return used, time.perf_counter() - start


def folders(program, folder, rounds):
    """Folders of JPEG files through tiny, start-up included: one thread, two, and what decoding and resizing take of it."""
    from PIL import Image

    drawn = [path for path in sorted(folder.rglob("*.png")) if "ground_truth" not in str(path)]
    best = {}
    rows = []
    for megapixels, (size, count) in JPEGS.items():
        into = folder.parent / f"{folder.name}-jpeg-{megapixels}"
        into.mkdir(exist_ok=True)
        files = [into / f"{n:02}.jpg" for n in range(count if rounds > 1 else 2)]
        for n, file in enumerate(files):
            if not file.exists():
                # The grain of a sensor: without it a drawing is smaller, and sooner decoded, than a photograph.
                image = Image.open(drawn[n % len(drawn)]).convert("RGB").resize(size, Image.BICUBIC)
                image = Image.blend(image, Image.effect_noise(size, 40).convert("RGB"), 0.1)
                image.save(file, quality=90)
        decode = [program.parent / "examples/throughput", "240", "1", *files]
        for _ in range(rounds):
            for threads in ("1", "2"):
                command = [program, "detect", "--quiet", "--format", "jsonl", "--threads", threads]
                for what, given in (("all", files), ("first", files[:1])):
                    used, passed = clock([*command, *given])
                    for unit, value in (("cpu", used), ("clock", passed)):
                        key = (megapixels, what, threads, unit)
                        best[key] = min(value, best.get(key, float("inf")))
            best[megapixels] = min(seconds(decode), best.get(megapixels, float("inf")))
        ms = lambda key, images: best[key] * 1e3 / images
        name = f"JPEG of {megapixels} megapixels" if megapixels > 1 else "JPEG of a megapixel"
        for what, images, unit in (("all", len(files), "ms an image"), ("first", 1, "ms to the first answer")):
            ours, theirs = (ms((megapixels, what, threads, "clock"), images) for threads in ("2", "1"))
            rows.append({"case": f"{name}, two threads", "peer": "one thread", "ours": ours, "theirs": theirs, "unit": f"{unit}, by the clock"})
        ours = ms((megapixels, "all", "1", "cpu"), len(files))
        theirs = ms(megapixels, len(files))
        rows.append({"case": f"{name}, one thread", "peer": "decoding and resizing alone", "ours": ours, "theirs": theirs, "unit": "CPU ms an image"})
    return rows


what, program, folder, rounds, file = sys.argv[1:]
rows = {"startup": startup, "training": training, "folders": folders}[what](pathlib.Path(program), pathlib.Path(folder), int(rounds))
for row in rows:
    print(f"{row['case']}: {row['ours']:.3f}; {row['peer']}: {row['theirs']:.3f} ({row['unit']})")
pathlib.Path(file).write_text(json.dumps(rows))
