"""The pictures that people look at: in memory, few, and forgotten soon.

In: decoded pictures. Out: the same by a random name. All of it runs in the event loop's thread.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from sentalign.localize.boxes import Localization
from sentalign.localize.dicom_out.write import DicomOut
from sentalign.localize.maps.heatmap import Array
from sentalign.localize.predict import ImageFeatures
from sentalign.serve.access import RefusedError
from sharding.pixels import FullDepthPicture, Geometry

MOST_BYTES = 2**30  # of all; a picture of 3,000 x 3,000 has 27 million
SECONDS = 15 * 60.0
MOST_FINDINGS = 64  # of one picture


@dataclass(frozen=True)
class Finding:
    """A sentence on a picture: its grid, the geometry from original pixels to that grid's square, boxes and peak."""

    grid_HW: Array
    geometry: Geometry
    result: Localization


@dataclass(eq=False)
class OpenPicture:
    """A picture, the DICOM objects that can be made of it (or why none), and what was found on it."""

    deep: FullDepthPicture
    dicom: DicomOut | str
    features: ImageFeatures | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    used: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return self.deep.values_HW.nbytes + self.deep.picture.grey_HW.nbytes

    def keep(self, sentence: str, finding: Finding) -> None:
        """Keeps a finding; the oldest of too many is forgotten."""
        self.findings[sentence] = finding
        if len(self.findings) > MOST_FINDINGS:
            del self.findings[next(iter(self.findings))]


class OpenPictures:
    """Pictures by name; of too many bytes the one that was not used for longest goes first."""

    def __init__(
        self, most_bytes: int = MOST_BYTES, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes, self._seconds, self._clock = most_bytes, seconds, clock
        self._open: OrderedDict[str, OpenPicture] = OrderedDict()

    def add(self, picture: OpenPicture) -> str:
        """The name of a picture from now on, which cannot be guessed."""
        name = secrets.token_urlsafe(16)
        picture.used = self._clock()
        self._open[name] = picture
        while len(self._open) > 1 and sum(one.size for one in self._open.values()) > self._most_bytes:
            self._open.popitem(last=False)
        return name

    def get(self, name: str) -> OpenPicture:
        """Raises RefusedError where it was closed or forgotten."""
        self.forget_unused()
        picture = self._open.get(name)
        if picture is None:
            raise RefusedError(404, "the picture is no longer open; drop the file again")
        picture.used = self._clock()
        self._open.move_to_end(name)
        return picture

    def close(self, name: str) -> None:
        """Forgets a picture, if it is there."""
        self._open.pop(name, None)

    def forget_unused(self) -> None:
        """Forgets pictures that nobody has used for so long."""
        oldest = self._clock() - self._seconds
        for name in [name for name, picture in self._open.items() if picture.used < oldest]:
            del self._open[name]

    def __len__(self) -> int:
        return len(self._open)
