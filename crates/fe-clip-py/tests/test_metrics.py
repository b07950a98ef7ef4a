"""Metrics against scikit-learn and against their definitions."""

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sklearn

import fe_clip
from fe_clip import metrics


def scores_and_labels(kind, count=4001):
    random = np.random.default_rng(5)
    labels = random.random(count) < 0.2
    scores = random.normal(size=count) + labels
    return scores.astype(kind), labels


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_of_scores(kind, ties):
    scores, labels = scores_and_labels(kind)
    if ties:
        scores = scores.round(1)
    assert metrics.auroc(scores, labels) == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-14)
    expected = sklearn.average_precision_score(labels, scores)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, abs=1e-14)
    precision, recall, thresholds = sklearn.precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    best = metrics.f1_max(scores, labels)
    assert best.value == pytest.approx(f1.max(), abs=1e-14)
    assert best.threshold == thresholds[f1.argmax()]


def test_of_every_kind_of_array():
    scores, labels = scores_and_labels(np.float64)
    expected = metrics.auroc(scores, labels)
    for truths in labels.astype(np.uint8), labels.astype(int), labels.astype(float), labels.tolist():
        assert metrics.auroc(scores, truths) == expected
    two = np.repeat(scores, 2)[::2], np.repeat(labels, 2)[::2]
    assert not two[0].flags.contiguous and metrics.auroc(*two) == expected
    assert metrics.auroc(scores[::-1], labels[::-1]) == expected
    assert metrics.auroc(scores[:4000].reshape(40, 100), labels[:4000].reshape(40, 100)) == metrics.auroc(
        scores[:4000], labels[:4000]
    )
    assert metrics.auroc(scores.astype(">f8"), labels) == expected
    packed = np.zeros(len(scores), np.dtype([("tag", "u1"), ("score", "f8")]))
    packed["score"] = scores
    assert metrics.auroc(packed["score"], labels) == expected  # not aligned
    halves = scores.astype(np.float16)
    assert metrics.auroc(halves, labels) == metrics.auroc(halves.astype(np.float64), labels)
    assert metrics.auroc([3, 1, 2], [True, False, False]) == 1.0


def overlap(maps, masks, limit, structure):
    """AUPRO by its definition: every score is a threshold, trapezoids, cut at the limit."""
    regions = []
    for number, mask in enumerate(masks):
        found, count = ndimage.label(mask, structure)
        regions += [maps[number][found == region] for region in range(1, count + 1)]
    normal = maps[~masks]
    x, y = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        x.append((normal >= threshold).mean())
        y.append(np.mean([(region >= threshold).mean() for region in regions]))
    x, y = np.array(x), np.array(y)
    at_limit = np.interp(limit, x, y)
    inside = x < limit
    return np.trapezoid([*y[inside], at_limit], [*x[inside], limit]) / limit


@pytest.mark.parametrize(("neighbours", "structure"), [(4, ndimage.generate_binary_structure(2, 1)), (8, np.ones((3, 3)))])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_of_maps(neighbours, structure, kind):
    random = np.random.default_rng(7)
    masks = ndimage.gaussian_filter(random.normal(size=(3, 24, 20)), (0, 1.5, 1.5)) > 0.25
    maps = (random.normal(size=masks.shape) + masks).astype(kind)
    for limit in 0.3, 1.0:
        expected = overlap(maps, masks, limit, structure)
        assert metrics.aupro(maps, masks, limit, neighbours) == pytest.approx(expected, abs=1e-12)
    assert metrics.aupro(maps[0], masks[0]) == metrics.aupro(maps[:1], masks[:1])
    flipped = metrics.aupro(maps[:, ::-1], masks[:, ::-1])
    assert flipped == pytest.approx(metrics.aupro(maps, masks), abs=1e-14)


def test_what_is_undefined_or_refused():
    def refused(kind, words, metric, *arguments):
        with pytest.raises(kind, match=words):
            metric(*arguments)

    for metric in metrics.auroc, metrics.average_precision, metrics.f1_max:
        refused(fe_clip.Undefined, "only normal labels", metric, [0.1, 0.2], [0, 0])
        refused(fe_clip.Undefined, "only anomalous labels", metric, [0.1, 0.2], [1, 1])
        refused(fe_clip.Undefined, "no scores", metric, [], [])
        refused(fe_clip.Undefined, r"the score at \[1\] is NaN", metric, [0.1, np.nan], [0, 1])
        refused(ValueError, r"scores of shape \(2,\) do not fit labels of shape \(3,\)", metric, [0, 1], [0, 1, 1])
        refused(ValueError, "0 and 255", metric, [0.1, 0.2], np.array([0, 255], np.uint8))
        refused(ValueError, "0 and 255", metric, [0.1, 0.2], np.array([0, 255], np.int64))
        refused(ValueError, "0 and 255", metric, [0.1, 0.2], np.array([0, 255], np.uint8).view(bool))
        refused(TypeError, "real numbers", metric, [1j, 2], [0, 1])
        refused(TypeError, "labels", metric, [0.1, 0.2], ["no", "yes"])
    one, none = np.zeros((1, 2, 2)), np.zeros((1, 2, 2), bool)
    refused(fe_clip.Undefined, "no anomalous region", metrics.aupro, one, none)
    refused(fe_clip.Undefined, r"not in \(0, 1\]", metrics.aupro, one, ~none, 2.0)
    refused(ValueError, "expected 4 or 8, got 6", metrics.aupro, one, none, 0.3, 6)
    refused(ValueError, r"expected maps and masks \[n, height, width\]", metrics.aupro, one[0, 0], none[0, 0])


def test_nothing_is_copied():
    scores, labels = scores_and_labels(np.float32, 1 << 22)
    maps, masks = scores.reshape(64, 256, 256), labels.reshape(64, 256, 256)
    tracemalloc.start()
    try:
        metrics.auroc(scores, labels)
        metrics.f1_max(maps, masks)
        metrics.aupro(maps, masks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, peak
