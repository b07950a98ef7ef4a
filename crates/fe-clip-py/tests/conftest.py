"""Images to judge, and the program to compare with."""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
from PIL import Image

import fe_clip

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("FE_CLIP", str(ROOT / "target/release/fe-clip"))


def draw(width, height, seed, stain=True):
    """Stripes with noise and, unless it is a normal one, a stain: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    stripes = np.where(x // 8 % 2 == 0, 90, 160)[:, :, np.newaxis] + random.normal(0, 6, (height, width, 3))
    if stain:
        row, column = random.uniform(0.3, 0.7, 2) * (height, width)
        inside = np.hypot(y - row, x - column) < min(width, height) / 8
        stripes[inside] = (250, 40, 30)
    return stripes.clip(0, 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of images of several kinds."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = [Image.fromarray(draw(*size, n)) for n, size in enumerate([(320, 240), (150, 260), (64, 64), (640, 480)])]
    pictures[0].save(folder / "a.png")
    pictures[1].save(folder / "b.jpg", quality=90)
    pictures[2].convert("L").save(folder / "c.png")
    Image.fromarray(np.dstack([np.asarray(pictures[2]), np.arange(64, dtype=np.uint8)[:, None].repeat(64, 1)])).save(
        folder / "d.png"
    )
    pictures[3].quantize(32).save(folder / "e.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    pictures[3].save(folder / "f.jpg", exif=turned)
    return folder


@pytest.fixture(scope="session")
def normals(tmp_path_factory):
    """A folder of normal images."""
    folder = tmp_path_factory.mktemp("normals")
    for n in range(24):
        Image.fromarray(draw(160, 120, 100 + n, stain=False)).save(folder / f"{n:02}.png")
    return folder


@pytest.fixture(scope="session")
def detector():
    return fe_clip.Detector()


def run(*arguments):
    """Runs the program; its standard output."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def detect(*arguments):
    """What the program says of images."""
    return [json.loads(line) for line in run("detect", *arguments, "--format", "jsonl").splitlines()]


def assert_same(result, line):
    """Every number as the program prints it."""
    said = result.as_dict()
    assert said == {key: line[key] for key in said}
    assert np.float32(line["map_max"]) == result.map.max()
