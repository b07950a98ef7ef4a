"""Decoding and resizing beside Pillow's: processor time of one thread each, in turns.

    cargo build --release -p data --example throughput
    pip install -r ../tests/golden/requirements.txt
    python pillow.py PATH/TO/examples/throughput DIRECTORY [ROUNDS [FILE.json]]

Prints, for each format, the median over the rounds of Pillow's time divided by ours. Processor time, because a shared
machine stops either at will; starting our program counts against us. FILE.json: the rows of `cargo xtask bench`.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, __version__

SIZE = 518
PASSES = 3  # of all files in one measurement


def pillow(files, size):
    start = time.process_time()
    for _ in range(PASSES):
        for file in files:
            image = Image.open(file).convert("RGB")
            if size:
                image.resize((size, size), Image.Resampling.BICUBIC)
    return time.process_time() - start


def ours(program, files, size):
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    start = used()
    subprocess.run([program, str(size), str(PASSES), *map(str, files)], check=True)
    return used() - start


program, folder = sys.argv[1], Path(sys.argv[2])
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 9
groups = {}
for file in sorted(folder.rglob("*")):
    if file.suffix.lower() in (".png", ".jpg", ".jpeg") and "mask" not in str(file).lower():
        groups.setdefault(Image.open(file).format, []).append(file)
print(f"Pillow {__version__}, to {SIZE} x {SIZE}, {rounds} rounds; Pillow's time / ours")
rows = []
for format, files in groups.items():
    samples = [[f(size) for size in (0, SIZE) for f in (lambda s: pillow(files, s), lambda s: ours(program, files, s))]
               for _ in range(rounds)]
    decode = statistics.median(p / o for p, o, _, _ in samples)
    both = statistics.median(p / o for _, _, p, o in samples)
    resize = statistics.median((pb - pd) / (ob - od) for pd, od, pb, ob in samples)
    ms = [statistics.median(column) / PASSES / len(files) * 1e3 for column in zip(*samples)]
    print(f"{format}, {len(files)} files: decode {decode:.2f}, resize {resize:.2f}, both {both:.2f}; "
          f"ms an image: Pillow {ms[2]:.2f} (decode {ms[0]:.2f}), ours {ms[3]:.2f} (decode {ms[1]:.2f})")
    for what, theirs, mine in (("decode", ms[0], ms[1]), (f"decode and resize to {SIZE} x {SIZE}", ms[2], ms[3])):
        rows.append({"case": f"{format}, {what}", "peer": f"Pillow {__version__}", "ours": mine, "theirs": theirs, "unit": "CPU ms an image"})
if len(sys.argv) > 4:
    Path(sys.argv[4]).write_text(json.dumps(rows))
