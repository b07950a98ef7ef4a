"""Which pixels lie inside of polygons, by scikit-image.

    pip install -r requirements.txt && python generate.py

Corners lie off the centres of pixels and off each other's edges, where point-in-polygon rules
differ.
"""

import json
import pathlib

import numpy as np
from skimage.measure import points_in_poly

WIDTH, HEIGHT = 23, 17
rng = np.random.default_rng(7)
y, x = np.mgrid[:HEIGHT, :WIDTH]
centres = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1)
cases = []
for count in [3, 4, 5, 9, 14]:  # the larger ones cross themselves
    polygon = np.round(rng.uniform([0, 0], [WIDTH, HEIGHT], (count, 2)), 3)
    inside = points_in_poly(centres, polygon).reshape(HEIGHT, WIDTH)
    rows = ["".join(".#"[int(v)] for v in row) for row in inside]
    cases.append({"polygon": polygon.tolist(), "inside": rows})
path = pathlib.Path(__file__).parent / "polygons.json"
path.write_text(json.dumps({"width": WIDTH, "height": HEIGHT, "cases": cases}, indent=1) + "\n")
