"""Writes what a conformal test martingale makes of a few streams of scores.

Usage: python generate.py   (versions: requirements.txt)

A literal transcription: every p-value counts over all scores so far, every Simple Jumper keeps its three capitals as
Algorithm 1 of Vovk et al., Retrain or not retrain: conformal test martingales for change-point detection (2021), has
them. Nothing of it is shared with the Rust code.
"""
import json
import pathlib

import numpy

RATES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]


def p_value(before, score, theta):
    """Smoothed: the share of scores above, and theta of the share of those equal, the score's own among them."""
    all_scores = numpy.append(before, score)
    return (numpy.sum(all_scores > score) + theta * numpy.sum(all_scores == score)) / len(all_scores)


def simple_jumper(p_values, rate):
    capital = {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}
    total, path = 1.0, []
    for p in p_values:
        for epsilon in capital:
            capital[epsilon] = (1 - rate) * capital[epsilon] + rate / 3 * total
        for epsilon in capital:
            capital[epsilon] *= 1 + epsilon * (p - 0.5)
        total = sum(capital.values())
        path.append(total)
    return numpy.array(path)


def case(random, calibration, stream):
    calibration, stream = calibration.astype("float32"), stream.astype("float32")
    thetas = random.uniform(size=len(stream))
    seen, p_values = calibration.copy(), []
    for score, theta in zip(stream, thetas):
        p_values.append(p_value(seen, score, theta))
        seen = numpy.append(seen, score)
    martingale = numpy.mean([simple_jumper(p_values, rate) for rate in RATES], axis=0)
    return {
        "calibration": [float(x) for x in calibration],
        "stream": [float(x) for x in stream],
        "thetas": thetas.tolist(),
        "p_values": [float(p) for p in p_values],
        "log10_martingale": numpy.log10(martingale).tolist(),
    }


random = numpy.random.default_rng(24)
normal = random.normal
cases = {
    "exchangeable": case(random, normal(size=30), normal(size=60)),
    "shifted": case(random, normal(size=30), numpy.concatenate([normal(size=20), normal(1.5, size=60)])),
    "lower": case(random, normal(size=30), normal(-1, size=60)),
    "tied": case(random, random.integers(0, 4, 25) / 4, random.integers(0, 4, 60) / 4),
}
path = pathlib.Path(__file__).parent / "monitor.json"
path.write_text(json.dumps({"versions": {"numpy": numpy.__version__}, "cases": cases}) + "\n")
