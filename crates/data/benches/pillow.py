"""Decoding and resizing beside Pillow's, one thread each, in turns.

    cargo build --release -p data --example throughput
    pip install -r ../tests/golden/requirements.txt
    python pillow.py PATH/TO/examples/throughput DIRECTORY [ROUNDS]

Prints, for each format, the median of Pillow's time over ours.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, __version__

SIZE = 518


def pillow(files):
    decode = resize = 0.0
    for file in files:
        start = time.perf_counter()
        image = Image.open(file).convert("RGB")
        decoded = time.perf_counter()
        image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        decode, resize = decode + decoded - start, resize + time.perf_counter() - decoded
    return decode, resize


def ours(program, files):
    output = subprocess.run([program, str(SIZE), *map(str, files)], check=True, capture_output=True, text=True)
    return tuple(map(float, output.stdout.split()))


program, folder = sys.argv[1], Path(sys.argv[2])
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 9
groups = {}
for file in sorted(folder.rglob("*")):
    if file.suffix.lower() in (".png", ".jpg", ".jpeg") and "mask" not in str(file).lower():
        groups.setdefault(Image.open(file).format, []).append(file)
print(f"Pillow {__version__}, to {SIZE} x {SIZE}, {rounds} rounds; Pillow's time / ours")
for format, files in groups.items():
    pairs = [(pillow(files), ours(program, files)) for _ in range(rounds)]
    ratio = lambda pick: statistics.median(pick(p) / pick(o) for p, o in pairs)
    milliseconds = statistics.median(sum(o) for _, o in pairs) / len(files) * 1e3
    print(
        f"{format}, {len(files)} files: decode {ratio(lambda t: t[0]):.2f}, resize {ratio(lambda t: t[1]):.2f}, "
        f"both {ratio(sum):.2f}; ours {milliseconds:.1f} ms an image"
    )
