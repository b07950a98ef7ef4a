"""Runs exported models in ONNX Runtime and OpenVINO and compares with what fe-clip itself says.

    pip install -r requirements.txt
    fe-clip export --out case/model.onnx
    fe-clip detect parts/ --out case/maps --save map --format jsonl > case/results.jsonl
    python check.py case...

Images are read and resized here, by Pillow, as the model's metadata says, so that the whole way
is compared. The tolerance is absolute: float32 through a whole model, in other orders of summation.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from PIL import Image, ImageOps

TOLERANCE = 1e-4


def resized(image, how):
    """The 8-bit image that the model wants; docs/deploy.md shows the same."""
    size = (how["width"], how["height"])
    if how["mode"] == "squash":
        return image.resize(size, Image.Resampling.BICUBIC)
    if how["mode"] == "letterbox":
        return ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=tuple(how["padding"]))
    (width, height), (w, h) = size, image.size
    scaled = (height * w // h, height) if w * height >= h * width else (width, width * h // w)
    left, top = (round((s - t) / 2) for s, t in zip(scaled, size))
    return image.resize(scaled, Image.Resampling.BICUBIC).crop((left, top, left + width, top + height))


def read(path, how):
    with Image.open(path) as image:
        pixels = np.asarray(resized(image.convert("RGB"), how), np.float32) / 255
    return pixels.transpose(2, 0, 1)


def in_onnx_runtime(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["score", "map"], {"image": images})


def in_openvino(path, images):
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.Core().compile_model(path, "CPU", exact)(images)
    return found["score"], found["map"]


def check(case):
    path = str(case / "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    said = {entry.key.removeprefix("fe-clip."): entry.value for entry in model.metadata_props}
    assert {op.domain: op.version for op in model.opset_import} == {"": 17}, model.opset_import
    for key in ("version", "method", "prompts", "preprocess", "config", "sha256", "score-scale"):
        assert key in said, f"{path}: no metadata {key}"
    how = json.loads(said["preprocess"])

    lines = [json.loads(line) for line in (case / "results.jsonl").read_text().splitlines()]
    assert len(lines) > 1, f"{case}: expected results of several images"
    images = np.stack([read(line["path"], how) for line in lines])
    scores = np.array([line["raw_score"] for line in lines], np.float32)
    maps = np.stack([np.load(line["map"]) for line in lines])
    # Constant answers would agree whatever the graph does.
    assert np.ptp(maps) > 1e-3 and np.ptp(scores) > 1e-5, f"{case}: {np.ptp(maps)}, {np.ptp(scores)}"

    worst = {}
    for name, run in (("ONNX Runtime", in_onnx_runtime), ("OpenVINO", in_openvino)):
        score, pixels = run(path, images)
        assert score.shape == scores.shape and pixels.shape == maps.shape, (score.shape, pixels.shape)
        alone, _ = run(path, images[:1])
        errors = [abs(score - scores).max(), abs(pixels - maps).max(), abs(alone - scores[:1]).max()]
        worst[name] = max(errors)
        assert max(errors) <= TOLERANCE, f"{path} in {name}: score, map, alone differ by {errors}"
        if "thresholds" in said:
            threshold = np.float32(json.loads(said["thresholds"])["score"])
            for line, found in zip(lines, score):
                # Nearer to the threshold than the tolerance either label is right.
                if line["label"] is not None and abs(found - threshold) > TOLERANCE:
                    assert (found > threshold) == (line["label"] == "anomalous"), line
    return worst


def main():
    cases = [pathlib.Path(case) for case in sys.argv[1:]]
    assert cases, "usage: check.py CASE..."
    for case in cases:
        worst = ", ".join(f"{name} {error:.1e}" for name, error in check(case).items())
        print(f"{case.name}: largest difference {worst}", flush=True)


if __name__ == "__main__":
    main()
