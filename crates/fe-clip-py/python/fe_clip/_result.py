"""What is said of an image, and its picture."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from . import _native
from ._images import Given, Pixels


@dataclass(frozen=True)
class Region:
    """Where a map reaches the pixel threshold, in pixels of the image."""

    x: int
    y: int
    width: int
    height: int
    area: int
    #: The highest value of the map in it.
    score: float
    #: The outer outline, clockwise, float64 [corners, 2]: columns and rows.
    polygon: npt.NDArray[np.float64] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The same as the program's JSON has it."""
        return {
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
            "area": self.area,
            "score": self.score,
            "polygon": self.polygon.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Result:
    """What is said of an image."""

    #: The path, or what an image without one is called.
    path: str
    #: How anomalous it is, in [0, 1].
    score: float
    #: What ranks; with normal images it may exceed 1.
    raw_score: float
    #: "normal" or "anomalous"; None without thresholds.
    label: Optional[str]
    #: How anomalous each pixel of the model's square input is, float32 [size, size].
    map: npt.NDArray[np.float32] = field(repr=False)
    #: Where the map reaches the pixel threshold, the highest first; none without thresholds.
    regions: list[Region] = field(repr=False)
    #: Width and height of the image.
    size: tuple[int, int]
    _given: Given = field(repr=False)
    _resize: str = field(repr=False)
    _threshold: Optional[float] = field(repr=False)

    def map_on_image(self) -> npt.NDArray[np.float32]:
        """The map at the image's own size, [height, width]; 0 where the model saw nothing of it."""
        return _native.map_on_image(self.map, self._resize, self.size)

    def overlay(self) -> Pixels:
        """The picture with the heat map over it that `fe-clip detect --out` writes, uint8.

        An image that was given as a path is read again.
        """
        name, content = self._given
        image = content if isinstance(content, np.ndarray) else _native.read_image(name, content)
        return _native.overlay(image, self.map_on_image(), self._caption(), self._threshold)

    def as_dict(self) -> dict[str, Any]:
        """What the program's JSON has, without pictures."""
        return {
            "path": self.path,
            "score": self.score,
            "label": self.label,
            "width": self.size[0],
            "height": self.size[1],
            "raw_score": self.raw_score,
            "regions": [region.as_dict() for region in self.regions],
        }

    def _caption(self) -> str:
        return f"{self.score:.3f} {self.label}" if self.label else f"{self.score:.3f}"

    def _repr_png_(self) -> bytes:
        return _native.png(self.overlay())

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self._repr_png_()).decode("ascii")
        regions = "".join(
            f"<li>{r.score:.3f}: {r.width} × {r.height} pixels at {r.x}, {r.y}</li>" for r in self.regions[:10]
        )
        more = len(self.regions) - 10
        further = f"<li>{more} more</li>" if more > 0 else ""
        name = html.escape(self.path.encode("utf-8", "replace").decode("utf-8"))
        return (
            f'<figure><img alt="heat map" src="data:image/png;base64,{picture}">'
            f"<figcaption><b>{self._caption()}</b> {name}<ul>{regions}{further}</ul></figcaption></figure>"
        )
