"""Golden vectors of the metrics, from code that is not ours.

Usage: python generate.py [OUT_DIR]      (default: beside this file)

`pixels.safetensors` holds, for every case, `<case>.maps`, `<case>.masks` and
  <case>.exact    f64: the names in EXACT
  <case>.single   f64: the names in SINGLE, computed by peers in float32; NaN where a peer refuses the case
`scores.safetensors` holds `<case>.scores`, `<case>.labels`, `<case>.exact` (the first four of EXACT) and the full
curves of scikit-learn, `<case>.roc` [3, n] (fpr, tpr, threshold) and `<case>.pr` [3, n] (precision, recall, threshold).
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from anomalib.metrics.aupro import _AUPRO
from safetensors.numpy import save_file
from scipy import ndimage, stats
from skimage import measure
from sklearn import metrics
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

SEED = 20
LIMITS = (0.05, 0.3, 1.0)
EXACT = ["auroc", "average_precision", "f1_max", "f1_max_threshold"]
EXACT += [f"aupro_{name}_{limit}" for name in ("eight", "four") for limit in LIMITS] + ["aupro_peer"]
SINGLE = ["torchmetrics_auroc", "torchmetrics_average_precision", "anomalib_aupro"]
STRUCTURES = (np.ones((3, 3)), None)  # eight and four neighbours


def ranks(scores):
    """Scores as small integers in the same order: what remains of them for a metric of ranks, infinities included."""
    return stats.rankdata(scores.ravel().astype(np.float64), method="dense").reshape(scores.shape)


def f1_max(scores, labels):
    """The largest F1 of all thresholds `score >= t`; of equal ones the highest threshold."""
    best = (0.0, np.inf)
    for threshold in np.unique(scores)[::-1]:
        value = metrics.f1_score(labels, scores >= threshold)
        if value > best[0]:
            best = (value, float(threshold) + 0.0)
    return best


def aupro(maps, masks, structure, limits):
    """MVTec's PRO by brute force: every distinct score is a threshold, each binarised and counted anew."""
    regions = []
    for image, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=structure)
        regions += [(image, labels == label) for label in range(1, count + 1)]
    fprs, pros = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        fprs.append(np.count_nonzero(found & ~masks) / np.count_nonzero(~masks))
        pros.append(np.mean([np.count_nonzero(found[i] & region) / np.count_nonzero(region) for i, region in regions]))
    fprs, pros = np.array(fprs), np.array(pros)
    areas = []
    for limit in limits:
        inside = fprs <= limit
        x, y = fprs[inside], pros[inside]
        if x[-1] < limit:
            after = len(x)
            rise = (limit - x[-1]) / (fprs[after] - x[-1])
            x, y = np.append(x, limit), np.append(y, y[-1] + rise * (pros[after] - y[-1]))
        areas.append(np.trapezoid(y, x) / limit)
    return areas


def aupro_peer(maps, masks):
    """AnomalyCLIP's routine, written from its definition: see the documentation of `aupro_peer`."""
    maps = maps.astype(np.float64)
    low, high = maps.min(), maps.max()
    if not (np.isfinite(low) and np.isfinite(high)) or low == high:
        return np.nan
    regions = [(i, p.coords) for i, mask in enumerate(masks) for p in measure.regionprops(measure.label(mask))]
    fprs, pros = [], []
    for k in range(200):
        found = maps > low + k * ((high - low) / 200)
        fprs.append(np.count_nonzero(found & ~masks) / np.count_nonzero(~masks))
        pros.append(np.mean([found[i][tuple(coords.T)].mean() for i, coords in regions]))
    fprs, pros = np.array(fprs), np.array(pros)
    fprs, pros = fprs[fprs < 0.3], pros[fprs < 0.3]
    if len(fprs) == 0 or fprs.min() == fprs.max():
        return np.nan
    return metrics.auc((fprs - fprs.min()) / (fprs.max() - fprs.min()), pros)


def anomalib_aupro(maps, masks):
    peer = _AUPRO(fpr_limit=0.3)
    peer.update(maps, masks)
    return float(peer.compute())


def ranked(scores, labels):
    order = ranks(scores)
    return [metrics.roc_auc_score(labels, order), metrics.average_precision_score(labels, order), *f1_max(scores, labels)]


def pixel_case(maps, masks):
    exact = ranked(maps.ravel(), masks.ravel())
    for structure in STRUCTURES:
        exact += aupro(maps, masks, structure, LIMITS)
    exact.append(aupro_peer(maps, masks))
    single = [np.nan] * 3
    if np.all((maps >= 0) & (maps <= 1)) and maps.dtype == np.float32:
        scores, labels = torch.from_numpy(maps), torch.from_numpy(masks)
        single = [float(peer(scores, labels.int())) for peer in (binary_auroc, binary_average_precision)]
        # anomalib 2.7.0 takes an image without a normal pixel for a normal image: `np.unique(labels)[1:]` drops its
        # only label instead of the background's.
        single.append(np.nan if masks.all(axis=(1, 2)).any() else anomalib_aupro(scores, labels.int()))
    return exact, single


def blobs(rng, shape, threshold):
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2))
    return noise > threshold * noise.std()


def pixel_cases(rng):
    shape = (3, 20, 23)
    masks = blobs(rng, shape, 1.3)
    masks[2] = False  # a normal image
    noise = rng.normal(size=shape) + masks
    single = lambda x: x.astype(np.float32)
    unit = 1 / (1 + np.exp(-noise))
    yield "random", single(unit), masks
    yield "double", unit, masks
    yield "tied", single(np.round(unit * 5) / 5), masks
    yield "quantised", single(np.round(unit * 255) / 255), masks
    yield "constant", np.full(shape, 0.5, np.float32), masks
    one = np.zeros(shape, bool)
    one[1, 7, 11] = True
    yield "one_pixel", single(unit), one
    full = masks.copy()
    full[0] = True
    yield "full_image", single(unit), full
    yield "touching", single(unit), rng.random(shape) < 0.3
    yield "decades", single(10 ** (-20 * (1 - unit))), masks
    yield "saturated", single(1 / (1 + np.exp(-12 * noise))), masks
    yield "signed", single(np.round(noise * 4) / 4 * rng.choice([-1, 1], shape)), masks  # has -0 and 0
    infinite = single(noise)
    infinite[rng.random(shape) < 0.1] = np.inf
    infinite[rng.random(shape) < 0.1] = -np.inf
    yield "infinite", infinite, masks


def score_cases(rng):
    for count in (2, 3, 10, 117):
        for name, draw in (("random", lambda: rng.normal(size=count)), ("tied", lambda: rng.integers(0, 4, count) / 4)):
            labels = rng.random(count) < 0.4
            labels[:2] = True, False
            scores = draw()
            yield f"{name}_{count}", scores.astype(np.float32), labels
            yield f"{name}_{count}_double", scores.astype(np.float64), labels


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    packages = ("anomalib", "numpy", "scikit-image", "scikit-learn", "scipy", "torch", "torchmetrics")
    header = {"seed": str(SEED)} | {name: version(name) for name in packages}

    rng, tensors = np.random.default_rng(SEED), {}
    for name, maps, masks in pixel_cases(rng):
        exact, single = pixel_case(maps, masks)
        tensors |= {f"{name}.maps": maps, f"{name}.masks": masks}
        tensors |= {f"{name}.exact": np.array(exact), f"{name}.single": np.array(single)}
    save_file(tensors, out / "pixels.safetensors", header)

    tensors = {}
    for name, scores, labels in score_cases(rng):
        fpr, tpr, roc = metrics.roc_curve(labels, scores, drop_intermediate=False)
        precision, recall, pr = metrics.precision_recall_curve(labels, scores)
        tensors |= {f"{name}.scores": scores, f"{name}.labels": labels, f"{name}.exact": np.array(ranked(scores, labels))}
        tensors[f"{name}.roc"] = np.stack([fpr, tpr, roc.astype(np.float64)])
        tensors[f"{name}.pr"] = np.stack([precision[:-1], recall[:-1], pr.astype(np.float64)])
    save_file(tensors, out / "scores.safetensors", header)


main()
