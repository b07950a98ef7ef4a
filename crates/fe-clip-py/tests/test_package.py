"""Types, pictures in notebooks, and the documentation."""

import base64
import io
import pathlib
import re
import subprocess
import sys

import nbformat
import numpy as np
from conftest import ROOT, draw
from nbclient import NotebookClient
from PIL import Image

import fe_clip

PACKAGE = pathlib.Path(fe_clip.__file__).parent


def test_a_result_shows_itself(detector, photos):
    result = next(found for found in detector(sorted(photos.iterdir())) if found.regions)
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert np.array_equal(np.asarray(picture), result.overlay())
    page = result._repr_html_()
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(found[1]) == result._repr_png_()
    assert f"{result.score:.3f} {result.label}" in page and page.count("<li>") == min(len(result.regions), 11)
    odd = detector([Image.fromarray(draw(64, 64, 1))])[0]
    object.__setattr__(odd, "path", "<script>\udcff")
    assert "<script>" not in odd._repr_html_()


def test_the_version_is_the_crates():
    assert f'\nversion = "{fe_clip.__version__}"\n' in (ROOT / "Cargo.toml").read_text()


def test_types():
    assert (PACKAGE / "py.typed").exists()
    for tool in ["mypy", "--strict", "-p", "fe_clip"], ["mypy.stubtest", "fe_clip._native"]:
        done = subprocess.run([sys.executable, "-m", *tool], capture_output=True, text=True, cwd=ROOT / "target")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_runs(tmp_path):
    page = (ROOT / "docs/python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    (tmp_path / "page.py").write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "page.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "docs/python.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in shown)
