"""Writes what scikit-learn's PCA and a plain loop in NumPy make of random tokens, and `pca-residual` of images.

Usage: python few.py   (versions: requirements.txt; after prompted.py)

`few.safetensors` has tokens of normal images, further ones, the number of components and the residuals of three cases:
more tokens than channels, fewer, and a single direction. `coreset.*` are points and the order in which greedy k-centre
takes them. `pca.*` are scores and maps of the last three images of `prompted_5.safetensors`, seen by its backbone, the
first being normal.
"""
import numpy as np
import torch
import torch.nn.functional as F
from prompted import FOLDER, HEADS, LAYERS, MEAN, STD, Clip
from safetensors.torch import load_file, save_file
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


def pca_images(out):
    file = load_file(FOLDER / "prompted_5.safetensors")
    clip = Clip(5)
    clip.w = {k.removeprefix("clip."): v.double() for k, v in file.items() if k.startswith("clip.")}
    pixels = file["pixels"].double()
    images = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    x, stages = clip.embed(images), []
    for i in range(LAYERS):
        x = clip.block(x, f"vision_model.encoder.layers.{i}", HEADS)
        if i + 1 in [LAYERS * n // 4 for n in (1, 2, 3, 4)]:
            stages.append(F.normalize(x[:, 1:], dim=-1))
    tokens = torch.stack(stages).mean(0).numpy()
    _, found = residuals(tokens[0], tokens[1:].reshape(-1, tokens.shape[-1]))
    grids = torch.tensor(found / 2).view(3, 1, 5, 5)
    out["pca.map"] = F.interpolate(grids, size=20, mode="bilinear", align_corners=False)[:, 0]
    # A hundredth of 25 tokens is none: the largest.
    out["pca.score"] = grids.flatten(1).max(1).values


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
    pca_images(out)
    print(out["pca.score"])
    save_file({k: v.float().contiguous() for k, v in out.items()}, FOLDER / "few.safetensors")


main()
