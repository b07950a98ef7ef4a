"""Results are those of `fe-clip detect`, to the last digit."""

import pickle

import numpy as np
import pytest
from conftest import assert_same, detect, draw, run
from PIL import Image

import fe_clip


def test_of_paths(detector, photos, tmp_path):
    lines = detect(photos, "--out", tmp_path, "--save", "map,overlay,tiff")
    assert len(lines) == 6
    results = detector([line["path"] for line in lines])
    assert {result.label for result in results} <= {"normal", "anomalous"}
    assert any(result.regions for result in results)
    for result, line in zip(results, lines):
        assert_same(result, line)
        assert result.map.dtype == np.float32 and np.array_equal(result.map, np.load(line["map"]))
        stem = line["map"].removesuffix("_map.npy")
        with Image.open(stem + ".tiff") as whole:
            assert np.array_equal(result.map_on_image(), np.asarray(whole))
        with Image.open(line["overlay"]) as picture:
            assert np.array_equal(result.overlay(), np.asarray(picture))


def test_of_other_kinds_of_images(detector, photos):
    for line in detect(photos):
        path = line["path"]
        with Image.open(path) as image:
            found = [detector(image), detector(open(path, "rb").read())]
            if image.getexif().get(0x0112) is None:  # an array knows nothing of that
                mode = image.mode if image.mode in ("L", "RGBA") else "RGB"
                found.append(detector(np.asarray(image.convert(mode))))
        for result in found:
            assert_same(result, line | {"path": "image 0"})


def test_with_normal_images(photos, normals):
    lines = detect(photos, "--normals", normals)
    files = sorted(normals.iterdir())
    kinds = [normals, str(normals), files, [np.asarray(Image.open(file)) for file in files]]
    for given in kinds:
        detector = fe_clip.Detector(normals=given)
        assert detector.thresholds is None
        for result, line in zip(detector([line["path"] for line in lines]), lines):
            assert_same(result, line)
            assert result.label is None and not result.regions


def test_with_a_calibration(photos, normals, tmp_path):
    for shots, given in (0, {}), (3, {"normals": normals}), (3, {"normals": sorted(normals.iterdir())}):
        file = tmp_path / f"calibration{shots}.json"
        run("calibrate", "--normals", normals, "--shots", shots, "--out", file)
        flags = ["--normals", normals] if shots else []
        lines = detect(photos, "--calibration", file, *flags)
        detector = fe_clip.Detector(calibration=file, **given)
        assert lines[0]["label"] is not None
        for result, line in zip(detector([line["path"] for line in lines]), lines):
            assert_same(result, line)
    with pytest.raises(fe_clip.Error, match="calibrated with a memory bank of 3 images"):
        fe_clip.Detector(calibration=file)
    with pytest.raises(ValueError, match="by their files"):
        fe_clip.Detector(calibration=file, normals=[draw(160, 120, 100, stain=False)])


def test_with_settings(photos, normals, tmp_path):
    settings = tmp_path / "run.toml"
    settings.write_text('[model]\nmethod = "memory-bank"\nresize = "shortest_crop"\nimage_size = 96\n')
    lines = detect(photos, "--config", settings, "--normals", normals, "--save", "tiff", "--out", tmp_path / "out")
    detector = fe_clip.Detector(config=settings, normals=normals)
    assert (detector.image_size, detector.model) == (96, "tiny") and "shortest_crop" in detector.settings
    for result, line in zip(detector([line["path"] for line in lines]), lines):
        assert_same(result, line)
    with Image.open(next((tmp_path / "out").glob("b.tiff"))) as whole:
        assert np.array_equal(detector(photos / "b.jpg").map_on_image(), np.asarray(whole))
    with pytest.raises(fe_clip.Error, match="needs normal images"):
        fe_clip.Detector(config=settings)


def test_as_a_group(photos, normals):
    images = sorted(normals.iterdir())[:6] + [photos / "a.png"]
    lines = detect("--group", *images)
    with pytest.warns(UserWarning, match="a.png: differs so much"):
        results = fe_clip.group(images)
    for result, line in zip(results, lines):
        assert_same(result, line)
    with pytest.warns(UserWarning, match="image 6: differs so much"):
        again = fe_clip.group([np.asarray(Image.open(image)) for image in images], fe_clip.Detector(threads=1))
    assert [r.score for r in again] == [r.score for r in results]
    with pytest.raises(fe_clip.Error, match="at least 5 images"):
        fe_clip.group(images[:3])


def test_neither_threads_nor_batches_nor_pickling_change_a_digit(detector, photos):
    paths = sorted(map(str, photos.iterdir()))
    expected = [result.as_dict() for result in detector(paths)]
    assert [result.as_dict() for result in fe_clip.Detector(threads=1)(paths)] == expected
    assert [detector(path).as_dict() for path in paths] == expected
    assert [result.as_dict() for result in pickle.loads(pickle.dumps(detector))(paths)] == expected
    result = detector(paths[0])
    assert pickle.loads(pickle.dumps(result)).as_dict() == result.as_dict()


def test_columns(detector, photos):
    paths = sorted(map(str, photos.iterdir()))
    results = detector(paths)
    columns = detector({"path": np.array(paths), "part": np.arange(len(paths))})
    assert list(columns) == ["path", "part", "score", "raw_score", "label", "map", "regions"]
    assert columns["part"].tolist() == list(range(len(paths)))
    for name in "score", "raw_score", "label":
        assert columns[name].tolist() == [getattr(result, name) for result in results]
    assert np.array_equal(columns["map"], np.stack([result.map for result in results]))
    assert columns["regions"].tolist() == [[r.as_dict() for r in result.regions] for result in results]

    square = np.stack([draw(64, 64, n) for n in range(3)])
    both = detector({"image": square, "path": np.array(["no", "such", "file"])})
    assert "image" not in both and both["path"].tolist() == ["no", "such", "file"]
    assert both["score"].tolist() == [result.score for result in detector(square)]
    encoded = detector({"bytes": [open(path, "rb").read() for path in paths]})
    assert encoded["score"].tolist() == columns["score"].tolist()
    broken = detector({"bytes": [b"none"], "path": ["this.png"]}, on_error="return")
    assert "this.png" in broken["error"][0]
    empty = detector({"path": np.array([], str)})
    assert empty["map"].shape == (0, detector.image_size, detector.image_size)
