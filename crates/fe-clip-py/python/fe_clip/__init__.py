"""Zero-shot anomaly detection: an image in; a score, a label, a heat map and regions out.

>>> import fe_clip
>>> detector = fe_clip.Detector()                # the built-in model
>>> result = detector("photo.jpg")               # doctest: +SKIP
>>> result.score, result.label                   # doctest: +SKIP
(0.8421, 'anomalous')

`fe_clip.metrics` has exact metrics, `fe_clip.dct` cosine transforms, both on NumPy arrays.
"""

from . import dct, metrics
from ._detector import Detector, Thresholds, group
from ._images import Image
from ._native import VERSION as __version__
from ._native import Error, Undefined
from ._result import Region, Result

__all__ = [
    "Detector",
    "Error",
    "Image",
    "Region",
    "Result",
    "Thresholds",
    "Undefined",
    "__version__",
    "dct",
    "group",
    "metrics",
]
