"""Writes what MuSc says of random tokens.

Usage: python musc.py   (versions: requirements.txt; numpy and safetensors alone)

A transcription of the method in double precision; nothing of it is shared with the Rust code.
`musc.safetensors` has for every case the tokens `[images, stages, grid, grid, channels]`, the class embeddings
`[images, embedding]` and the results: maps of the tokens and of the pixels, scores before and after re-scoring.
"""
import pathlib

import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent
SIZE = 20
NEIGHBOURHOODS = (1, 3, 5)
rng = np.random.default_rng(11)


def layer_norm(x):
    """Over an image's whole map [C, H, W]."""
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def unfolded(x, r):
    """Patches of r x r tokens around each, zeros outside: [H * W, C, r, r]; torch.nn.Unfold with padding r // 2."""
    c, h, w = x.shape
    p = r // 2
    padded = np.zeros((c, h + 2 * p, w + 2 * p))
    padded[:, p : p + h, p : p + w] = x
    return np.stack([padded[:, i : i + r, j : j + r] for i in range(h) for j in range(w)])


def lnamd(x, r):
    """[H, W, C] to unit vectors [H * W, C]."""
    z = unfolded(layer_norm(x.transpose(2, 0, 1)), r).mean((2, 3))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def msm(z):
    """z: [N, tokens, C]; scores [N, tokens]."""
    n = len(z)
    scores = []
    for i in range(n):
        d = []
        for j in range(n):
            if j != i:
                d.append(np.sqrt(((z[i][:, None] - z[j][None]) ** 2).sum(2)).min(1))
        d = np.sort(np.stack(d), axis=0)[: int(0.3 * (n - 1))]
        scores.append(d.mean(0))
    return np.stack(scores)


def upsampled(grid):
    """Bilinear, align_corners=True."""
    n = len(grid)
    out = np.zeros((SIZE, SIZE))
    for y in range(SIZE):
        for x in range(SIZE):
            fy, fx = y * (n - 1) / (SIZE - 1), x * (n - 1) / (SIZE - 1)
            y0, x0 = min(int(fy), n - 2), min(int(fx), n - 2)
            dy, dx = fy - y0, fx - x0
            top = grid[y0, x0] * (1 - dx) + grid[y0, x0 + 1] * dx
            bottom = grid[y0 + 1, x0] * (1 - dx) + grid[y0 + 1, x0 + 1] * dx
            out[y, x] = top * (1 - dy) + bottom * dy
    return out


def rscin(scores, classes, counts):
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    w = classes @ classes.T
    out = np.zeros(len(scores))
    for k in counts:
        mask = np.zeros_like(w)
        for i in range(len(w)):
            mask[i, np.argsort(-w[i], kind="stable")[:k]] = 1
        kept = w * mask
        out += kept / kept.sum(1, keepdims=True) @ scores
    return out / len(counts)


def case(out, name, images, stages, grid, channels, counts):
    # Stages share a template, so that images have something in common; one of them has an odd corner.
    template = rng.standard_normal((stages, grid, grid, channels))
    tokens = template + 0.4 * rng.standard_normal((images, stages, grid, grid, channels))
    tokens[2, :, :2, :2] += 2 * rng.standard_normal((stages, 2, 2, channels))
    tokens = tokens.astype(np.float32).astype(np.float64)
    classes = 1 + 0.7 * rng.standard_normal((images, 8))
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    maps = np.zeros((images, grid * grid))
    for r in NEIGHBOURHOODS:
        per_stage = [msm(np.stack([lnamd(tokens[i, s], r) for i in range(images)])) for s in range(stages)]
        maps += np.mean(per_stage, axis=0) / len(NEIGHBOURHOODS)
    pixels = np.stack([upsampled(m.reshape(grid, grid)) for m in maps])
    scores = pixels.reshape(images, -1).max(1)
    out[f"{name}.tokens"], out[f"{name}.classes"] = tokens, classes
    out[f"{name}.grids"], out[f"{name}.maps"] = maps, pixels
    out[f"{name}.highest"], out[f"{name}.scores"] = scores, rscin(scores, classes, counts)
    print(name, scores, out[f"{name}.scores"])


def main():
    out = {}
    case(out, "mvtec", 8, 2, 5, 12, (1, 2, 3))
    case(out, "visa", 11, 1, 6, 7, (1, 8, 9))
    save_file({k: np.ascontiguousarray(v.astype(np.float32)) for k, v in out.items()}, FOLDER / "musc.safetensors")


main()
