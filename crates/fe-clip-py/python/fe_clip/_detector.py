"""A model as a function of images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Optional, Union, overload

import numpy as np
import numpy.typing as npt

from . import _native
from ._images import Given, Image, given, is_one
from ._result import Region, Result

OnError = Literal["raise", "return"]
Columns = dict[str, npt.NDArray[Any]]

#: Images in memory are handed over so many at a time.
_AT_A_TIME = 64


class Thresholds(NamedTuple):
    """From when on something is anomalous."""

    #: Scores in [0, 1].
    image: float
    #: Values of the map.
    pixel: float


class Detector:
    """A model that judges images, with the thresholds and normal images that it was given.

    model: "tiny", which is built in; a folder or file with CLIP weights; or a hub id.
        Default: what `config` says, else "tiny".
    adapters: a file that `fe-clip train` wrote. Default: those that belong to "tiny".
    config: a `run.toml`. Default: the settings that the adapters were trained with.
    normals: a folder of normal images of the same kind, or a list of images: their distance is added.
    calibration: a file that `fe-clip calibrate` wrote, with thresholds.
    threads: how many compute. Default: one a core. It changes no number.

    It may be called by several threads at a time, and is pickled as these settings: whoever
    unpickles it loads the model.
    """

    def __init__(
        self,
        model: Optional[Union[str, os.PathLike[str]]] = None,
        adapters: Optional[Union[str, os.PathLike[str]]] = None,
        config: Optional[Union[str, os.PathLike[str]]] = None,
        normals: Optional[Union[Image, Sequence[Image]]] = None,
        calibration: Optional[Union[str, os.PathLike[str]]] = None,
        threads: Optional[int] = None,
    ) -> None:
        if model is not None:
            model = os.fspath(model)
            # A name of a model is no path, unless there is one.
            model = os.path.abspath(model) if model != "tiny" and os.path.exists(model) else model
        files = [None if path is None else os.path.abspath(path) for path in (adapters, config, calibration)]
        if isinstance(normals, (str, os.PathLike)):
            normals = os.path.abspath(normals)
        elif isinstance(normals, (list, tuple)):
            normals = [_absolute(image) for image in normals]
        self._settings = (model, files[0], files[1], normals, files[2], threads)
        self._native = _native.Inspector(model, files[0], files[1], _normals(normals), files[2], threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._settings

    def __repr__(self) -> str:
        return f"<fe_clip.Detector {self.model} at {self.image_size} pixels>"

    @property
    def model(self) -> str:
        """The backbone in use."""
        return self._native.model

    @property
    def image_size(self) -> int:
        """Side of the square that the model sees, and of its maps, in pixels."""
        return self._native.image_size

    @property
    def thresholds(self) -> Optional[Thresholds]:
        """From when on something is anomalous; None where nothing is labelled."""
        found = self._native.thresholds
        return None if found is None else Thresholds(*found)

    @property
    def settings(self) -> str:
        """All that changes a number, as a `run.toml`."""
        return self._native.settings

    @overload
    def __call__(self, images: Mapping[str, Any], on_error: OnError = "raise") -> Columns: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence, too
        self, images: Image, on_error: Literal["raise"] = "raise"
    ) -> Result: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: Image, on_error: OnError
    ) -> Union[Result, Exception]: ...
    @overload
    def __call__(self, images: Sequence[Image], on_error: Literal["raise"] = "raise") -> list[Result]: ...
    @overload
    def __call__(self, images: Sequence[Image], on_error: OnError) -> list[Union[Result, Exception]]: ...
    def __call__(self, images: Any, on_error: OnError = "raise") -> Any:
        """Judges an image, several, or a batch of columns.

        images: a path; a file's bytes; pixels, uint8 [height, width, 3]; an image of Pillow. A list
            or tuple of them, or pixels [n, height, width, 3], gives a list. A dict of columns with
            "image", "bytes" or "path" gives the dict without the first two and with "score",
            "raw_score", "label", "map" and "regions".
        on_error: "raise", or "return" to have the exception in the place of a result; in columns,
            under "error", with NaN for numbers.
        """
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error: expected "raise" or "return", got {on_error!r}')
        strict = on_error == "raise"
        if isinstance(images, Mapping):
            return self._columns(images, strict)
        if is_one(images):
            return self._judge([images], strict)[0]
        return self._judge(images, strict)

    def _judge(self, images: Sequence[Image], strict: bool, names: Optional[Sequence[str]] = None) -> list[Any]:
        names = _numbers(len(images)) if names is None else names
        results: list[Any] = []
        for some in _portions(images, names, strict):
            named = [image for image in some if not isinstance(image, Exception)]
            found = iter(self._native.inspect(named, strict))
            results.extend(
                image if isinstance(image, Exception) else self._result(image, next(found)) for image in some
            )
        return results

    def _result(self, image: Given, found: Any) -> Any:
        if isinstance(found, Exception):
            return found
        score, raw_score, label, pixel_map, regions, size = found
        return Result(
            image[0],
            score,
            raw_score,
            label,
            pixel_map,
            [Region(*region) for region in regions],
            size,
            image,
            self._native.resize,
            None if label is None else self._pixel_threshold,
        )

    @property
    def _pixel_threshold(self) -> Optional[float]:
        thresholds = self.thresholds
        return None if thresholds is None else thresholds.pixel

    def _columns(self, batch: Mapping[str, Any], strict: bool) -> Columns:
        images = next((batch[name] for name in ("image", "bytes", "path") if name in batch), None)
        if images is None:
            raise ValueError(f'expected a column "image", "bytes" or "path", got {sorted(map(str, batch))}')
        names = [str(path) for path in batch["path"]] if "path" in batch else None
        results = self._judge(list(images), strict, names)
        columns = {name: np.asarray(column) for name, column in batch.items() if name not in ("image", "bytes")}
        side, nan = self.image_size, float("nan")
        nothing = np.full((side, side), np.nan, np.float32)
        good = [None if isinstance(result, Exception) else result for result in results]
        columns["score"] = np.array([nan if r is None else r.score for r in good], np.float64)
        columns["raw_score"] = np.array([nan if r is None else r.raw_score for r in good], np.float64)
        columns["label"] = np.array([None if r is None else r.label for r in good], object)
        maps = [nothing if r is None else r.map for r in good]
        columns["map"] = np.stack(maps) if maps else np.empty((0, side, side), np.float32)
        columns["regions"] = _objects([[] if r is None else [p.as_dict() for p in r.regions] for r in good])
        if not strict:
            errors = [str(result) if isinstance(result, Exception) else None for result in results]
            columns["error"] = np.array(errors, object)
        return columns


@overload
def group(
    images: Iterable[Image], detector: Optional[Detector] = None, on_error: Literal["raise"] = "raise"
) -> list[Result]: ...
@overload
def group(
    images: Iterable[Image], detector: Optional[Detector] = None, *, on_error: OnError
) -> list[Union[Result, Exception]]: ...
def group(images: Iterable[Image], detector: Optional[Detector] = None, on_error: OnError = "raise") -> list[Any]:
    """Judges images against each other: at least five pictures of one kind of thing.

    What most of them have somewhere is normal. Neither labels nor normal images are needed; shipped
    thresholds do not hold. With on_error "return" an image that fails is no part of the group, and
    its exception stands in its place.
    """
    detector = Detector() if detector is None else detector
    strict = on_error == "raise"
    images = list(images)
    named = list(_named(images, _numbers(len(images)), strict))
    readable = [image for image in named if not isinstance(image, Exception)]
    verdicts, duplicates, odd = detector._native.group(readable, strict)
    for one, other in duplicates:
        warnings.warn(f"{one} and {other} are nearly the same: they are not compared", stacklevel=2)
    for image in odd:
        warnings.warn(
            f"{image}: differs so much from the others that it seems to show something else; a group "
            "should be pictures of one kind of thing",
            stacklevel=2,
        )
    found = iter(verdicts)
    return [image if isinstance(image, Exception) else detector._result(image, next(found)) for image in named]


def _numbers(count: int) -> list[str]:
    """What images without a path are called."""
    return [f"image {number}" for number in range(count)]


def _named(images: Iterable[Any], names: Iterable[str], strict: bool) -> Iterable[Union[Given, Exception]]:
    """The images for the native half; what is none is an exception in its place, or raised."""
    for image, name in zip(images, names):
        try:
            yield given(image, name)
        except (TypeError, ValueError) as error:
            if strict:
                raise
            yield error


def _portions(
    images: Sequence[Any], names: Sequence[str], strict: bool
) -> Iterable[list[Union[Given, Exception]]]:
    """All paths at once, so that they are read ahead; images in memory a few at a time, since they are copied."""
    size = len(images) if all(isinstance(i, (str, os.PathLike)) for i in images) else _AT_A_TIME
    for start in range(0, len(images), max(size, 1)):
        end = start + size
        yield list(_named(images[start:end], names[start:end], strict))


def _absolute(image: Any) -> Any:
    return os.path.abspath(image) if isinstance(image, (str, os.PathLike)) else image


def _normals(normals: Any) -> Optional[list[Given]]:
    if normals is None:
        return None
    if isinstance(normals, str) and os.path.isdir(normals):
        return [(path, None) for path in map(os.fspath, _native.find_images(normals))]
    images = [normals] if is_one(normals) else list(normals)
    if not images:
        raise ValueError("normals: expected at least one normal image")
    return [given(image, f"normal image {number}") for number, image in enumerate(images)]


def _objects(lists: list[Any]) -> npt.NDArray[Any]:
    """A column of lists, which NumPy would take for more axes."""
    column = np.empty(len(lists), object)
    column[:] = lists
    return column
