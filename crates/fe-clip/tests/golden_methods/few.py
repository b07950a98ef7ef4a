"""Writes what scikit-learn's PCA and a plain loop in NumPy make of random tokens, and `pca-residual` of images.

Usage: python few.py   (versions: requirements.txt; after prompted.py)

`few.safetensors` has tokens of normal images, further ones, the number of components and the residuals of three cases:
more tokens than channels, fewer, and a single direction. `coreset.*` are points and the order in which greedy k-centre
takes them. `foreground.*` are tokens and where scikit-learn and SciPy see an object. `pca.*` are scores and maps of the
last three images of `prompted_5.safetensors`, seen by its backbone, the first being normal; `pca_foreground.*` are
those of the objects alone, in images of `prompted_6.safetensors` that are bright from the twelfth column on.
"""
import numpy as np
import torch
import torch.nn.functional as F
from prompted import FOLDER, HEADS, LAYERS, MEAN, STD, Clip
from safetensors.torch import load_file, save_file
from scipy import ndimage
from sklearn.decomposition import PCA

EXPLAINED = 0.99


def residuals(normals, queries):
    pca = PCA(EXPLAINED, svd_solver="full").fit(normals)
    again = pca.inverse_transform(pca.transform(queries))
    return pca.n_components_, np.linalg.norm(queries - again, axis=1)


def k_centre(points, count, first):
    chosen, nearest = [first], np.full(len(points), np.inf)
    while len(chosen) < count:
        for i, point in enumerate(points):
            nearest[i] = min(nearest[i], np.sum((point - points[chosen[-1]]) ** 2))
        chosen.append(int(np.argmax(nearest)))
    return chosen


def foreground(tokens, grid):
    """AnomalyDINO's mask, from [tokens, channels]; its threshold for DINOv2 is their mean here."""
    mask = PCA(1, svd_solver="full").fit_transform(tokens).reshape(grid) > 0
    inner = [slice(int(n * 0.2), int(n * 0.8)) for n in grid]
    if mask[tuple(inner)].mean() < 0.5 or (mask[tuple(inner)].mean() == 0.5 and not mask[grid[0] // 2, grid[1] // 2]):
        mask = ~mask
    kernel = np.ones((3, 3), bool)
    mask = ndimage.binary_dilation(mask, kernel)
    # OpenCV's closing: nothing beyond the image shrinks it.
    return ndimage.binary_erosion(ndimage.binary_dilation(mask, kernel), kernel, border_value=1)


def foregrounds(random, out):
    y, x = np.mgrid[:12, :15]
    disc = (y - 6) ** 2 + (x - 7) ** 2 < 16
    # A hole of one token, and an object that is all but the middle's corner.
    disc[6, 7] = False
    frame = (y < 3) | (x < 4)
    for name, object_there, noise in [("disc", disc, 0.3), ("frame", frame, 0.3), ("noise", disc & False, 1.0)]:
        directions = random.normal(size=(2, 20))
        tokens = object_there[..., None] * directions[0] * 2 + directions[1] + noise * random.normal(size=(12, 15, 20))
        tokens = tokens.reshape(-1, 20).astype(np.float32).astype(float)
        mask = foreground(tokens, (12, 15))
        out[f"foreground.{name}.tokens"], out[f"foreground.{name}.mask"] = torch.tensor(tokens), torch.tensor(mask)
        print(name)
        print(mask.astype(int))


def seen(clip, images):
    """Means over the stages of unit tokens, and the last layer's tokens behind the last norm, [images, tokens, channels]."""
    x, stages = clip.embed(images), []
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
        if i + 1 in [LAYERS * n // 4 for n in (1, 2, 3, 4)]:
            stages.append(F.normalize(x[:, 1:], dim=-1))
    return torch.stack(stages).mean(0).numpy(), clip.norm(x, "vision_model.post_layernorm")[:, 1:].numpy()


def pca_images(out, name, side, bright=None):
    """With `bright`, of the objects alone: the last images are bright from this column of tokens on."""
    file = load_file(FOLDER / f"prompted_{side}.safetensors")
    clip = Clip(side)
    clip.w = {k.removeprefix("clip."): v.double() for k, v in file.items() if k.startswith("clip.")}
    pixels = file["pixels"].double()
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    if bright:
        images[1:, ..., 4 * bright :] = 20
    tokens, last = seen(clip, images)
    found = residuals(tokens[0], tokens[1:].reshape(-1, tokens.shape[-1]))[1] / 2
    grids = torch.tensor(found).view(3, 1, side, side)
    if bright:
        masks = torch.tensor(np.stack([foreground(own, (side, side)) for own in last[1:]]))
        print(masks.int())
        grids = grids * masks[:, None]
    out[f"{name}.map"] = F.interpolate(grids, size=4 * side, mode="bilinear", align_corners=False)[:, 0]
    # A hundredth of so few tokens is none: the largest.
    out[f"{name}.score"] = grids.flatten(1).max(1).values


def main():
    random, out = np.random.default_rng(7), {}
    spread = np.diag(0.7 ** np.arange(20)) @ random.normal(size=(20, 20))
    cases = {
        "many": random.normal(size=(300, 20)) @ spread + 0.5,
        "few": random.normal(size=(12, 20)) @ spread,
        "one": random.normal(size=(50, 1)) @ random.normal(size=(1, 20)) + random.normal(size=20),
    }
    for name, normals in cases.items():
        normals = normals.astype(np.float32).astype(float)
        queries = (random.normal(size=(9, 20)) * 0.5).astype(np.float32).astype(float)
        count, found = residuals(normals, queries)
        out[f"{name}.normals"], out[f"{name}.queries"] = torch.tensor(normals), torch.tensor(queries)
        out[f"{name}.components"], out[f"{name}.residuals"] = torch.tensor([count]), torch.tensor(found)
        print(name, count, found[:3])
    points = random.normal(size=(200, 6)).astype(np.float32).astype(float)
    out["coreset.points"], out["coreset.chosen"] = torch.tensor(points), torch.tensor(k_centre(points, 60, 17))
    foregrounds(random, out)
    pca_images(out, "pca", 5)
    pca_images(out, "pca_foreground", 6, bright=3)
    print(out["pca.score"])
    save_file({k: v.float().contiguous() for k, v in out.items()}, FOLDER / "few.safetensors")


main()
