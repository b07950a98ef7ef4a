"""Reads what `detect` says of regions with the tools that others have, and compares.

    pip install -r requirements.txt && python check.py OUT RESULTS.JSONL

OUT holds regions.coco.json, regions.label-studio.json, results.parquet, and for every image a
mask and a YOLO file; all made at one threshold of images that have the model's size.
"""

import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.ndimage import binary_fill_holes, label

out, lines = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().splitlines()
results = [json.loads(line) for line in lines]

coco = COCO(out / "regions.coco.json")
assert [image["file_name"] for image in coco.dataset["images"]] == [r["path"] for r in results]
tasks = json.loads((out / "regions.label-studio.json").read_text())
table = pq.read_table(out / "results.parquet").to_pylist()
several = 0
for image, result, task, row in zip(coco.dataset["images"], results, tasks, table):
    stem = pathlib.Path(result["path"]).stem
    mask = np.asarray(Image.open(out / f"{stem}_mask.png")) > 0
    assert (image["width"], image["height"]) == mask.shape[::-1]
    annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
    several += len(annotations) > 1
    # SciPy finds the same regions in the mask, with the same areas and boxes.
    labels, count = label(mask, structure=np.ones((3, 3)))
    assert count == len(annotations) == len(result["regions"]), (count, len(annotations))
    found = []
    for n in range(1, count + 1):
        rows, columns = np.nonzero(labels == n)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        found.append([int(v) for v in box] + [len(rows)])
    assert sorted(found) == sorted([*a["bbox"], a["area"]] for a in annotations)
    # The outlines enclose them and their holes.
    filled = np.zeros_like(mask)
    for annotation in annotations:
        filled |= coco.annToMask(annotation) > 0
    assert (filled == binary_fill_holes(mask)).all(), (filled != binary_fill_holes(mask)).sum()
    # YOLO's boxes are the same ones.
    text = (out / f"{stem}.txt").read_text().strip().splitlines()
    boxes = np.array([line.split() for line in text], float).reshape(-1, 5)
    size = np.array(mask.shape[::-1])
    corners = np.concatenate([(boxes[:, 1:3] - boxes[:, 3:] / 2) * size, boxes[:, 3:] * size], 1)
    expected = np.array([a["bbox"] for a in annotations], float).reshape(-1, 4)
    assert np.abs(corners - expected).max(initial=0) < 1e-3 and (boxes[:, 0] == 0).all()
    # Label Studio's outlines, in hundredths of the size, are the same ones.
    [prediction] = task["predictions"]
    assert task["data"]["image"] == result["path"] and prediction["score"] == result["score"]
    for region, annotation in zip(prediction["result"], annotations, strict=True):
        points = np.array(region["value"]["points"]) / 100 * size
        assert np.abs(points.ravel() - annotation["segmentation"][0]).max() < 1e-9
        assert region["score"] == annotation["score"]
        assert (region["original_width"], region["original_height"]) == tuple(size)
    # The table has their number and the largest.
    assert row["regions"] == count
    if count:
        largest = max(annotations, key=lambda a: (a["area"], a["score"]))
        keys = ["largest_x", "largest_y", "largest_width", "largest_height"]
        assert [row[key] for key in keys] == largest["bbox"]
        assert row["largest_area"] == largest["area"]
        assert row["largest_area_mm2"] == largest["area"] * 0.25
        assert row["largest_score"] == np.float32(largest["score"])
    else:
        assert row["largest_area"] is None
assert several > 0, "no image with several regions"

# As results they match themselves as truth.
for kind in ["bbox", "segm"]:
    evaluation = COCOeval(coco, coco.loadRes(coco.dataset["annotations"]), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1, (kind, evaluation.stats)
print(f"{len(coco.dataset['annotations'])} regions of {len(results)} images")
