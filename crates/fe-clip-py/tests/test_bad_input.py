"""What is refused, and in which words."""

import numpy as np
import pytest
from conftest import draw
from PIL import Image

import fe_clip

GOOD = draw(80, 60, 1)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (GOOD / 255, r"image 0: expected uint8 from 0 to 255, got float64 of shape \(60, 80, 3\); values in \[0, 1\]"),
        (GOOD.astype(np.uint16), "expected uint8 .* got uint16 .*16 bits"),
        (GOOD > 90, "expected uint8 .* got bool"),
        (GOOD.transpose(2, 0, 1), r"expected \[height, width, 3\], .*channels are last"),
        (GOOD[:, :, :2], r"expected \[height, width, 3\], got uint8 of shape \(60, 80, 2\)"),
        (GOOD[np.newaxis, np.newaxis], r"expected \[height, width, 3\]"),
        (GOOD[:0], "expected pixels, got none"),
        (np.empty((0, 0), np.uint8), "expected pixels, got none"),
        (Image.fromarray(GOOD[:, :, 0].astype(np.float32)), "mode F does not tell its range"),
        (b"", "image 0: .*empty"),
        (b"no image", "image 0: "),
    ],
)
def test_images_that_are_none(detector, image, words):
    with pytest.raises(ValueError, match=words):
        detector(image)
    returned = detector([GOOD, image, GOOD], on_error="return")
    assert isinstance(returned[1], ValueError)
    assert returned[0].score == returned[2].score == detector(GOOD).score


def test_kinds_that_are_none(detector):
    for image in 3, None, object(), {"a", "b"}:
        with pytest.raises(TypeError, match="expected a path, bytes, an array or an image of Pillow"):
            detector(image)
    with pytest.raises(ValueError, match='"image", "bytes" or "path"'):
        detector({"picture": [GOOD]})
    with pytest.raises(ValueError, match="on_error"):
        detector(GOOD, on_error="ignore")


def test_arrays_of_every_layout(detector):
    expected = detector(GOOD).score
    wide = np.zeros((60, 160, 4), np.uint8)
    wide[:, ::2, :3] = GOOD
    layouts = [
        np.asfortranarray(GOOD),
        wide[:, ::2, :3],
        wide[:, ::2],  # opacity is left out
        GOOD[::-1, ::-1].copy()[::-1, ::-1],
        np.frombuffer(GOOD.tobytes(), np.uint8).reshape(GOOD.shape),  # read-only
    ]
    for layout in layouts:
        assert detector(layout).score == expected
    grey = GOOD[:, :, 0]
    three = np.repeat(grey[:, :, np.newaxis], 3, 2)
    assert detector(grey).score == detector(grey[:, :, np.newaxis]).score == detector(three).score
    one = detector(np.zeros((1, 1, 3), np.uint8))
    assert one.size == (1, 1) and one.map_on_image().shape == (1, 1)
    assert detector([]) == []


def test_files_that_are_none(detector, photos, tmp_path):
    missing, text = tmp_path / "missing.png", tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(FileNotFoundError, match="missing.png"):
        detector(missing)
    with pytest.raises(fe_clip.Error, match="text.png"):
        detector(text)
    with pytest.raises(OSError, match=str(tmp_path)):
        detector(tmp_path)  # a folder
    good, absent, bad = detector([photos / "a.png", missing, text], on_error="return")
    assert good.score > 0 and isinstance(absent, FileNotFoundError) and isinstance(bad, fe_clip.Error)
    columns = detector({"path": [str(photos / "a.png"), str(missing)]}, on_error="return")
    assert columns["error"][0] is None and "missing.png" in columns["error"][1]
    assert np.isnan(columns["score"][1]) and columns["label"][1] is None and np.isnan(columns["map"][1]).all()


def test_settings_that_are_wrong(tmp_path):
    def refused(kind, words, **settings):
        with pytest.raises(kind, match=words):
            fe_clip.Detector(**settings)

    (tmp_path / "empty").mkdir()
    (tmp_path / "run.toml").write_text("[model]\nmethod = 'clip'\nlamda = 1\n")
    refused(FileNotFoundError, "none.safetensors", adapters=tmp_path / "none.safetensors")
    refused(FileNotFoundError, "none.json", calibration=tmp_path / "none.json")
    refused(fe_clip.Error, "model.lamda", config=tmp_path / "run.toml")
    refused(fe_clip.Error, "empty", normals=tmp_path / "empty")
    refused(ValueError, "at least one normal image", normals=[])
    refused(FileNotFoundError, "none.png", normals=[tmp_path / "none.png"])
    refused(ValueError, "threads: expected at least 1", threads=0)
    refused(OverflowError, "negative", threads=-1)
    refused(TypeError, "PathLike", model=3)
    with pytest.raises(fe_clip.Error):
        fe_clip.Detector(model=str(tmp_path / "empty"))
