"""The search of the memory bank beside faiss-cpu's flat index of inner products, on the same vectors, by turns.

    cargo build --release --workspace --example bank_search
    pip install faiss-cpu==1.15.1 numpy==2.4.6
    python bank_search.py PATH/TO/examples/bank_search [ROUNDS [FILE.json]]

Two threads each; the fastest of the rounds counts. Ours takes the vectors to unit length again in every search, which
counts against it. FILE.json: the rows of `cargo xtask bench`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

# Unset what makes faiss's numerical library slower than it is.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

THREADS = 2
# Tokens of an image, and of the images in the bank: four of 336 pixels, four and ten times four of 518; of ViT-L and ViT-S.
CASES = [(576, 4 * 576, 1024), (1369, 4 * 1369, 1024), (1369, 40 * 1369, 1024), (1369, 4 * 1369, 384)]


def vectors(random, count, channels):
    """Unit vectors around a few directions, as tokens are."""
    centres = random.normal(size=(50, channels))
    x = centres[random.integers(0, 50, count)] + 0.5 * random.normal(size=(count, channels))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def measure(program, rounds, queries, bank, folder):
    """The best of the rounds, (wall, processor) of ours and theirs."""
    queries.tofile(folder / "queries.f32")
    bank.tofile(folder / "bank.f32")
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    environment = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
    ours = subprocess.Popen(
        [program, folder, str(bank.shape[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    mine, theirs = [], []
    for _ in range(rounds + 1):
        ours.stdin.write("\n")
        ours.stdin.flush()
        mine.append([float(x) for x in ours.stdout.readline().split()])
        wall, processor = time.perf_counter(), time.process_time()
        similarities, _ = index.search(queries, 1)
        theirs.append([time.perf_counter() - wall, time.process_time() - processor])
    ours.stdin.close()
    assert ours.wait() == 0
    found = np.fromfile(folder / "found.f32", np.float32)
    off = np.abs(found - np.maximum(1 - similarities[:, 0], 0)).max()
    assert off < 1e-5, f"the distances are off by {off}"
    # The first round warms up.
    return np.min(mine[1:], axis=0), np.min(theirs[1:], axis=0)


program = sys.argv[1]
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
faiss.omp_set_num_threads(THREADS)
random, rows = np.random.default_rng(1), []
for tokens, held, channels in CASES:
    with tempfile.TemporaryDirectory() as folder:
        seen = vectors(random, tokens + held, channels)
        mine, theirs = measure(program, rounds, seen[:tokens], seen[tokens:], Path(folder))
    for i, unit in enumerate(("s", "CPU s")):
        case = f"{tokens} tokens of {channels} channels in a bank of {held}, {THREADS} threads"
        rows.append({"case": case, "peer": f"faiss-cpu {faiss.__version__}", "ours": mine[i], "theirs": theirs[i], "unit": unit})
        print(f"{case}: ours {mine[i]:.4f} {unit}, faiss {theirs[i]:.4f}, ratio {theirs[i] / mine[i]:.2f}")
if len(sys.argv) > 3:
    Path(sys.argv[3]).write_text(json.dumps(rows))
