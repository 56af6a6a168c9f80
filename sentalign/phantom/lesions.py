"""Lesions, painted into a healthy chest, each with its visible box.

In: a `Chest`, a kind, a side and a zone. Out: the changed picture and a `Lesion` with its box. `study` draws which
lesions a study has, `wording` holds their names.
"""
# h, w rows and columns of the window around a lesion

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sentalign.phantom.anatomy import SIDES, Array, Chest, lung_depth, ramp, smooth_noise

KINDS = ("consolidation", "nodule", "cavity", "effusion", "pneumothorax", "reticular", "granulomas",
         "atelectasis")  # fmt: skip
ZONES = {"upper": (-0.245, -0.125), "mid": (-0.105, 0.035), "lower": (0.055, 0.165)}
FREE_ZONES = ("upper", "mid", "lower")
ALLOWED_ZONES = dict.fromkeys(KINDS, FREE_ZONES) | {
    "effusion": ("base",),
    "pneumothorax": ("apex",),
    "atelectasis": ("mid", "lower"),
}
SMALLEST_SHARE, LARGEST_SHARE = 0.0052, 0.098
_VISIBLE = 0.4
_ATTEMPTS = 14


@dataclass(frozen=True)
class Lesion:
    """One lesion; `box_xywh` in pixels of the picture, tight around the visible mask; `diameter` in body units."""

    kind: str
    side: str
    zone: str
    box_xywh: tuple[int, int, int, int]
    diameter: float


@dataclass
class _Stroke:
    """The result of a painter for its window: the change of the picture, and the mask that the box surrounds."""

    change_hw: Array
    mask_hw: Array


def _disc(u: Array, v: Array, radius: float, edge: float) -> Array:
    return ramp(np.float32(radius) - np.sqrt(u * u + v * v), edge)


def _consolidation(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    lumps = smooth_noise(rng, u.shape[0], u.shape[1], 5)
    inside = 1 - (u / np.float32(half[0])) ** 2 - (v / np.float32(half[1])) ** 2 + np.float32(0.28) * lumps
    mask = np.clip(inside / np.float32(0.55), 0, 1)
    grain = smooth_noise(rng, u.shape[0], u.shape[1], max(4, round(4 * max(half) / 0.042)))
    return _Stroke(mask * np.float32(0.26) * (1 + np.float32(0.42) * np.clip(grain, -1.6, 1.6)), mask)


def _nodule(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    mask = _disc(u, v * np.float32(rng.uniform(0.94, 1.06)), half[0] - 0.004, 0.011)
    return _Stroke(mask * np.float32(0.31), mask)


def _cavity(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    outer = _disc(u, v, half[0] - 0.004, 0.010)
    inner = _disc(u, v, half[0] - 0.004 - rng.uniform(0.018, 0.024), 0.010)
    return _Stroke((outer - inner) * np.float32(0.31) - inner * np.float32(0.05), outer)


def _reticular(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    mask = ramp(1 - (u / np.float32(half[0])) ** 2 - (v / np.float32(half[1])) ** 2, 0.45)
    period = rng.uniform(0.036, 0.046)
    lines = np.zeros_like(u)
    for slope in (rng.uniform(0.45, 0.9), -rng.uniform(0.45, 0.9)):
        phase = (v + np.float32(slope) * u) / np.float32(period * np.hypot(1, slope))
        phase = phase + np.float32(0.16) * smooth_noise(rng, u.shape[0], u.shape[1], 5)
        lines = np.maximum(lines, ramp(np.float32(0.17) - np.abs(phase - np.floor(phase) - np.float32(0.5)), 0.16))
    return _Stroke(mask * (lines * np.float32(0.29) + np.float32(0.02)), mask)


def _granulomas(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    angles = rng.uniform(0, 2 * np.pi) + np.arange(6) * (2 * np.pi / 6) + rng.uniform(-0.25, 0.25, 6)
    foci = [
        (r * half[0] * np.cos(a), r * half[1] * np.sin(a))
        for a, r in zip(angles, rng.uniform(0.68, 0.84, 6), strict=True)
    ]
    mask = _disc(u, v, 0.012, 0.007)
    for x, y in foci:
        mask = np.maximum(mask, _disc(u - np.float32(x), v - np.float32(y), rng.uniform(0.0095, 0.0125), 0.007))
    return _Stroke(mask * np.float32(0.40), mask)


def _atelectasis(rng: np.random.Generator, u: Array, v: Array, half: tuple[float, float]) -> _Stroke:
    tilt = rng.uniform(-0.36, 0.36)
    along, aside = u + np.float32(tilt) * v, v - np.float32(tilt) * u
    mask = ramp(np.float32(half[0]) - np.abs(along), 0.012) * ramp(np.float32(half[1]) - np.abs(aside), 0.009)
    return _Stroke(mask * np.float32(0.30), mask)


_Painter = Callable[[np.random.Generator, Array, Array, tuple[float, float]], _Stroke]
_PAINTERS: dict[str, tuple[_Painter, tuple[float, float], tuple[float, float] | None]] = {
    # painter, range of the half width, range of the half height (None: the same as the half width)
    "consolidation": (_consolidation, (0.090, 0.146), (0.086, 0.146)),
    "nodule": (_nodule, (0.058, 0.082), None),
    "cavity": (_cavity, (0.060, 0.088), None),
    "reticular": (_reticular, (0.086, 0.130), (0.086, 0.130)),
    "granulomas": (_granulomas, (0.072, 0.102), None),
    "atelectasis": (_atelectasis, (0.084, 0.118), (0.015, 0.022)),
}


def paint(
    rng: np.random.Generator, chest: Chest, kind: str, side: str, zone: str, others: list[Lesion]
) -> Lesion | None:
    """Paint one lesion into `chest.picture_HW`.

    Returns None, with the picture unchanged, if no attempt is visible, of a valid size and clear of the `others`.
    """
    for _ in range(_ATTEMPTS):
        if kind == "effusion":
            rows, columns, stroke, diameter = _effusion(rng, chest, side)
        elif kind == "pneumothorax":
            rows, columns, stroke, diameter = _pneumothorax(rng, chest, side)
        else:
            rows, columns, stroke, diameter = _in_lung(rng, chest, kind, side, zone)
        box = _box(stroke.mask_hw * chest.lung_HW[rows, columns], rows.start, columns.start)
        if (
            box is None
            or not _fits(chest, stroke, rows, columns, box, kind)
            or any(_overlap(box, other.box_xywh) for other in others)
        ):
            continue
        chest.picture_HW[rows, columns] += (
            stroke.change_hw * chest.lung_HW[rows, columns] * np.float32(rng.uniform(0.88, 1.12))
        )
        return Lesion(kind, side, zone, box, diameter)
    return None


def _in_lung(
    rng: np.random.Generator, chest: Chest, kind: str, side: str, zone: str
) -> tuple[slice, slice, _Stroke, float]:
    painter, across, up = _PAINTERS[kind]
    half_x = rng.uniform(*across)
    half_y = rng.uniform(*up) if up else half_x
    low, high = ZONES[zone]
    x = SIDES[side] * rng.uniform(0.10, 0.31)
    y = rng.uniform(low, high)
    reach = max(half_x, half_y) if kind == "atelectasis" else 0.0
    rows, columns = chest.pose.window(x, y, half_x * 1.12, max(half_y * 1.12, reach * 0.35))
    if rows.stop - rows.start < 4 or columns.stop - columns.start < 4:
        nothing = np.zeros((1, 1), np.float32)
        return slice(0, 1), slice(0, 1), _Stroke(nothing, nothing), 0.0
    u = chest.x_HW[rows, columns] - np.float32(x)
    v = chest.y_HW[rows, columns] - np.float32(y)
    return rows, columns, painter(rng, u, v, (half_x, half_y)), 2 * max(half_x, half_y)


def _effusion(rng: np.random.Generator, chest: Chest, side: str) -> tuple[slice, slice, _Stroke, float]:
    """Fluid over the dome with a level that rises towards the chest wall: the meniscus."""
    body, sign = chest.body, SIDES[side]
    which = 0 if side == "right" else 1
    rows, columns = chest.pose.window(sign * 0.21, body.dome_y[which], 0.17, 0.19)
    x, y = chest.x_HW[rows, columns] * np.float32(sign), chest.y_HW[rows, columns]
    outward = np.clip((x - np.float32(body.lung_x - 0.10)) * np.float32(1 / 0.22), 0, 1.2)
    level = np.float32(body.dome_y[which] + rng.uniform(0.0, 0.04)) - np.float32(rng.uniform(0.06, 0.13)) * outward**2
    mask = ramp(y - level, 0.014)
    target = np.float32(rng.uniform(0.60, 0.66))
    return rows, columns, _Stroke(mask * (target - chest.picture_HW[rows, columns]), mask), 0.15


def _pneumothorax(rng: np.random.Generator, chest: Chest, side: str) -> tuple[slice, slice, _Stroke, float]:
    """Air between chest wall and collapsed lung: darker, without markings, bordered by the thin pleural line."""
    body, sign = chest.body, SIDES[side]
    rows, columns = chest.pose.window(sign * 0.22, -0.17, 0.16, 0.20)
    x, y = chest.x_HW[rows, columns], chest.y_HW[rows, columns]
    inner = lung_depth(body, side, x, y, shrink=rng.uniform(0.76, 0.84), slide=rng.uniform(0.030, 0.042))
    lowest = rng.uniform(-0.20, -0.09)
    reach = ramp(np.float32(lowest) - y, 0.05) * ramp(x * np.float32(sign) - np.float32(body.lung_x - 0.06), 0.05)
    mask = ramp(-inner, 0.08) * reach
    line = ramp(np.float32(0.045) - np.abs(inner - np.float32(0.03)), 0.05) * reach
    change = -mask * (np.float32(0.16) + chest.markings_HW[rows, columns]) + line * np.float32(0.20)
    return rows, columns, _Stroke(change, mask), 0.2


def _box(mask_hw: Array, top: int, left: int) -> tuple[int, int, int, int] | None:
    visible_hw = mask_hw > _VISIBLE
    rows, columns = np.flatnonzero(visible_hw.any(axis=1)), np.flatnonzero(visible_hw.any(axis=0))
    if len(rows) == 0:
        return None
    x, y = left + int(columns[0]), top + int(rows[0])
    return x, y, int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1


def _fits(
    chest: Chest, stroke: _Stroke, rows: slice, columns: slice, box: tuple[int, int, int, int], kind: str
) -> bool:
    pose = chest.pose
    share = box[2] * box[3] / (pose.rows * pose.columns)
    if not SMALLEST_SHARE <= share <= LARGEST_SHARE:
        return False
    if kind in ("effusion", "pneumothorax"):
        return min(box[2], box[3]) >= 0.045 * pose.size
    within = (stroke.mask_hw * chest.lung_HW[rows, columns]).sum() / max(float(stroke.mask_hw.sum()), 1e-6)
    return bool(within > (0.72 if kind in ("consolidation", "reticular") else 0.85))


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
