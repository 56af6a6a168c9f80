"""What is noticed in a picture and changes nothing: how it looks, and a depth that its header contradicts.

In: a decoded picture, and whether it may be frontal and shows anything. Out: the picture with `looks` in its
provenance, and the names of what was noticed, which a build counts.
"""

from __future__ import annotations

from dataclasses import replace

from sharding.pixels.checks import orientation
from sharding.pixels.decode.layout import AS_SAID
from sharding.pixels.picture import Picture

DEPTH = "depth other than the header says"
NOT_JUDGED = "not judged"  # not frontal, or nothing to see
NAMES = (DEPTH, *(f"looks {look}" for look in orientation.LOOKS[1:]))


def judged(picture: Picture, is_worth_it: bool) -> tuple[Picture, list[str]]:
    """The picture with its provenance completed, and which of `NAMES` were noticed."""
    looks = orientation.looks(picture.grey_HW) if is_worth_it else NOT_JUDGED
    found = [DEPTH] if picture.provenance.get("depth", AS_SAID) != AS_SAID else []
    found += [f"looks {looks}"] if looks not in (NOT_JUDGED, orientation.UPRIGHT) else []
    return replace(picture, provenance=picture.provenance | {"looks": looks}), found
