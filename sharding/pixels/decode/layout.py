"""The header's description of pixel data, and the one that holds where it contradicts the values.

In: a dataset, the depth of a compressed frame, stored values. Out: `PixelLayout`, whose `depth` says what was
contradicted. A picture that is decoded by a wrong depth is nearly black, or its white parts become black.
"""

# H rows, W columns
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from sharding.contract import Reason, Rejected
from sharding.pixels.header import number
from sharding.pixels.picture import MAX_DEEP_PIXELS, MAX_PIXELS

SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1}
SAMPLES |= dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)
OVERLAID = 0.5  # the share of pixels that an overlay in the bits below the values covers at most
FEWEST_BITS = 8  # of an X-ray; a value of fewer is no reason to cut others off
LOSS = 0.1  # of the range of values: what lossy compression adds at most
AS_SAID = "as the header says"


@dataclass(frozen=True)
class PixelLayout:
    """The description of the pixel data (PS3.3 C.7.6.3); `below`: unused bits below the stored ones.

    `depth` says how the header's depth was contradicted.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    bits: int
    below: int
    signed: bool
    photometric: str
    depth: str = AS_SAID

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest value of the stored bits."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Raises Rejected(DECODE) if it is not a radiograph, and any exception for a value that is not a number."""
        frames = number(dataset, "NumberOfFrames") or 1
        if frames > 1:
            raise Rejected(Reason.DECODE, "multi-frame: one image is expected")
        allocated, said, high = int(dataset.BitsAllocated), int(dataset.BitsStored), number(dataset, "HighBit")
        if said < 1 or allocated < 1:
            raise Rejected(Reason.DECODE, "the header says that a pixel has no bits")
        bits, depth = min(said, allocated), AS_SAID if said <= allocated else f"{allocated} bits allocated, {said} said"
        # Old files have their values in the high bits of the word.
        below = int(high) + 1 - bits if high is not None and bits <= high < allocated else 0
        rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
        if rows * columns * samples > (MAX_PIXELS if allocated <= 16 else MAX_DEEP_PIXELS):
            raise Rejected(Reason.DECODE, "more pixels than any X-ray has: refused as a decompression bomb")
        photometric = str(dataset.PhotometricInterpretation)
        if SAMPLES.get(photometric) != samples:
            raise Rejected(Reason.DECODE, "the photometric interpretation is unknown or contradicts the samples")
        signed = int(dataset.PixelRepresentation) == 1
        return cls(rows, columns, samples, allocated, bits, below, signed, photometric, depth)

    def of_depth(self, bits: int, depth: str) -> Self:
        """The layout with another depth, and why."""
        return replace(self, bits=bits, below=0, depth=depth)

    def of_frame(self, precision: int) -> Self:
        """The layout for a compressed frame of this precision, which cannot hold more bits than that."""
        if precision >= self.bits:
            return self
        return self.of_depth(precision, f"{precision} bits in the frame, {self.bits} said")


def used_bits(values: NDArray[Any], layout: PixelLayout, most: int) -> tuple[NDArray[Any], PixelLayout]:
    """The values without the bits around them (overlays, in old files; PS3.5 8.1.1), and the layout that holds.

    The header is not followed where values lie at the other end of the word, or have more bits than it says (`most`
    at most): bits above or below would be lost.
    """
    if not layout.below and _fits(values, layout):
        return values, layout
    low_bits = (values & (2**layout.below - 1)) != 0
    if low_bits.any() and _fits(values, layout):
        return values, layout.of_depth(layout.bits, "values in the low bits, said to be in the high ones")
    shifted, held = values >> layout.below, replace(layout, below=0)
    if _fits(shifted, layout) and low_bits.mean() <= OVERLAID:
        return shifted, held
    spare = most - layout.bits
    if 0 < spare <= layout.bits and not _any_of(values, 2**spare - 1):
        return values >> spare, layout.of_depth(layout.bits, "values in the high bits, said to be in the low ones")
    masked = _masked(values, layout)
    is_deeper = layout.bits < FEWEST_BITS or _fits(shifted, layout) or _roughness(shifted) < _roughness(masked)
    if spare > 0 and is_deeper:
        return values, layout.of_depth(most, f"values of more than {layout.bits} bits")
    return masked, held


def within_loss(values: NDArray[Any], layout: PixelLayout, precision: int) -> tuple[NDArray[Any], PixelLayout]:
    """The values of a lossy frame, which may exceed the stored bits by a little, and the layout that holds.

    Masked to those bits, white would become black. Far beyond, the frame's own precision holds.
    """
    if _fits(values, layout):
        return values, layout
    low, high = layout.range
    if values.max() <= high + (high - low) * LOSS:
        return np.clip(values, low, high), layout
    return values, layout.of_depth(precision, f"{precision} bits in the frame, {layout.bits} said")


def _fits(values: NDArray[Any], layout: PixelLayout) -> bool:
    low, high = layout.range
    return bool(values.min() >= low and values.max() <= high)


def _any_of(values: NDArray[Any], bits: int) -> bool:
    return bool((values & bits).any())


def _masked(values: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    above = max(0, 8 * values.dtype.itemsize - layout.bits - layout.below)
    return (values << above) >> (above + layout.below)


def _roughness(values: NDArray[Any]) -> float:
    """The mean step between neighbours: cutting bits off that belong to the values makes steps, cutting others none."""
    return float(np.abs(np.diff(values.astype(np.int64), axis=1)).mean()) if values.shape[1] > 1 else 0.0
