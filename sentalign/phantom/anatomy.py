"""Healthy chest: the picture before any lesion, and the fields that lesions need.

In: random generators and a picture size. Out: a `Chest` (float picture, bright = dense, body coordinates, visible
lung). Lesions are painted in `lesions`; devices, gain and noise of the detector are in `devices`.

Body coordinates: unit = the long side of a nominal picture, x to the picture's right (the patient's left), y down.
"""
# H rows, W columns, N grid knots

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

AIR, SOFT, LUNG, ABDOMEN = 0.03, 0.60, 0.27, 0.84
SIDES = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Body:
    """Shape of one patient; constant over that patient's studies."""

    lung_x: float
    lung_half_width: tuple[float, float]
    lung_half_height: tuple[float, float]
    lung_y: float
    dome_y: tuple[float, float]
    dome_curve: tuple[float, float]
    heart: tuple[float, float, float, float]
    mediastinum: float
    shoulder: float
    rib_period: float
    rib_phase: float
    rib_gain: float


@dataclass(frozen=True)
class Pose:
    """The position of the body in the picture: pixels = size * (R(angle) @ body * scale + shift) + centre."""

    rows: int
    columns: int
    size: int
    shift_x: float
    shift_y: float
    scale: float
    cosine: float
    sine: float

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """Row and column (pixel i covers [i, i+1)) of a point in body coordinates."""
        across = self.scale * (self.cosine * x - self.sine * y) + self.shift_x
        down = self.scale * (self.sine * x + self.cosine * y) + self.shift_y
        return down * self.size + self.rows / 2, across * self.size + self.columns / 2

    def window(self, x: float, y: float, half_x: float, half_y: float) -> tuple[slice, slice]:
        """The pixel rows and columns that cover a rectangle of the body, clipped to the picture."""
        row, column = self.to_pixels(x, y)
        tall = (half_y * abs(self.cosine) + half_x * abs(self.sine)) * self.scale * self.size + 2
        wide = (half_x * abs(self.cosine) + half_y * abs(self.sine)) * self.scale * self.size + 2
        rows = slice(max(0, int(row - tall)), max(0, min(self.rows, int(row + tall) + 1)))
        columns = slice(max(0, int(column - wide)), max(0, min(self.columns, int(column + wide) + 1)))
        return rows, columns


@dataclass
class Chest:
    """A chest being drawn; lesions change `picture_HW` in place."""

    picture_HW: Array
    markings_HW: Array
    lung_HW: Array
    x_HW: Array
    y_HW: Array
    body: Body
    pose: Pose


@lru_cache(maxsize=16)
def _pixel_grid(rows: int, columns: int, size: int) -> tuple[Array, Array]:
    down = (np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / size
    across = (np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / size
    return np.broadcast_to(across, (rows, columns)), np.broadcast_to(down[:, None], (rows, columns))


@lru_cache(maxsize=512)
def _interpolation(length: int, knots: int) -> tuple[NDArray[np.intp], Array]:
    """For each of `length` points its lower knot and the fraction of the way to the next one."""
    position = np.linspace(0, knots - 1, length, dtype=np.float32)
    lower = np.minimum(position.astype(np.intp), knots - 2)
    return lower, position - lower.astype(np.float32)


def smooth_noise(rng: np.random.Generator, rows: int, columns: int, knots: int) -> Array:
    """White noise on a `knots` x `knots` grid, interpolated linearly to (rows, columns); unit variance at the knots."""
    coarse_NN = rng.standard_normal((knots, knots), dtype=np.float32)
    lower, fraction = _interpolation(rows, knots)
    coarse_HN = coarse_NN[lower] + fraction[:, None] * (coarse_NN[lower + 1] - coarse_NN[lower])
    lower, fraction = _interpolation(columns, knots)
    steps_HN = np.diff(coarse_HN, axis=1)
    noise_HW = np.take(steps_HN, lower, axis=1)
    noise_HW *= fraction
    noise_HW += np.take(coarse_HN, lower, axis=1)
    return noise_HW


def ramp(distance: Array, width: float) -> Array:
    """0 below -width/2, 1 above +width/2, linear in between: a cheap soft edge."""
    soft = distance * np.float32(1 / width)
    soft += np.float32(0.5)
    np.maximum(soft, 0, out=soft)
    return np.minimum(soft, 1, out=soft)


def draw_body(rng: np.random.Generator) -> Body:
    """A random patient."""
    u = rng.uniform
    right_width, right_height = u(0.118, 0.148), u(0.325, 0.375)
    right_dome = u(0.150, 0.205)
    return Body(
        lung_x=u(0.185, 0.215),
        lung_half_width=(right_width, right_width * u(0.94, 1.05)),
        lung_half_height=(right_height, right_height * u(0.96, 1.04)),
        lung_y=u(0.015, 0.045),
        dome_y=(right_dome, right_dome + u(0.005, 0.035)),
        dome_curve=(u(3.0, 5.5), u(3.0, 5.5)),
        heart=(u(0.025, 0.060), u(0.095, 0.130), u(0.105, 0.145), u(0.085, 0.115)),
        mediastinum=u(0.045, 0.062),
        shoulder=u(0.44, 0.50),
        rib_period=u(0.078, 0.095),
        rib_phase=u(0, 1),
        rib_gain=u(0.05, 0.11),
    )


def draw_pose(rng: np.random.Generator, size: int) -> Pose:
    """Position, magnification and rotation of one exposure; the long side of the picture is `size` pixels."""
    narrow = round(size * float(rng.choice([1.0, 0.92, 0.84])))
    rows, columns = (size, narrow) if rng.random() < 0.8 else (narrow, size)
    angle = float(np.clip(rng.normal(0, 2.2), -5, 5)) * np.pi / 180
    scale = rng.uniform(0.90, 1.06) * (0.93 if columns < 0.9 * size or rows < 0.9 * size else 1.0)
    shift_x, shift_y = rng.uniform(-0.035, 0.035), rng.uniform(-0.03, 0.035)
    return Pose(rows, columns, size, shift_x, shift_y, scale, float(np.cos(angle)), float(np.sin(angle)))


def lung_depth(body: Body, side: str, x_HW: Array, y_HW: Array, shrink: float = 1.0, slide: float = 0.0) -> Array:
    """Positive inside the egg-shaped lung, 0 on its contour; `shrink`, `slide`: the lung beside a pneumothorax."""
    sign, which = SIDES[side], 0 if side == "right" else 1
    v = (y_HW - np.float32(body.lung_y + slide)) * np.float32(1 / (body.lung_half_height[which] * shrink))
    u = (x_HW - np.float32(sign * (body.lung_x - slide))) * np.float32(1 / (body.lung_half_width[which] * shrink))
    u *= 1 - np.float32(0.16) * v
    return 1 - u * u - v * v


def dome_depth(body: Body, side: str, x_HW: Array, y_HW: Array) -> Array:
    """Height above the diaphragm dome, positive in the lung."""
    which = 0 if side == "right" else 1
    off = x_HW - np.float32(SIDES[side] * (body.lung_x - 0.035))
    return np.float32(body.dome_y[which]) + np.float32(body.dome_curve[which]) * off * off - y_HW


def draw_chest(rng: np.random.Generator, body: Body, pose: Pose) -> Chest:
    """Draw the healthy chest of `body` seen in `pose`."""
    across, down = _pixel_grid(pose.rows, pose.columns, pose.size)
    c, s = np.float32(pose.cosine / pose.scale), np.float32(pose.sine / pose.scale)
    across, down = across - np.float32(pose.shift_x), down - np.float32(pose.shift_y)
    x_HW, y_HW = across * c + down * s, down * c - across * s
    wide_HW = np.abs(x_HW)
    centre_HW = _centre(body, pose, x_HW, y_HW, wide_HW)
    domes = {side: dome_depth(body, side, x_HW, y_HW) for side in SIDES}
    lung_HW = np.zeros_like(x_HW)
    for side, dome_HW in domes.items():
        window = pose.window(SIDES[side] * body.lung_x, -0.02, 0.20, 0.37)
        egg = ramp(lung_depth(body, side, x_HW[window], y_HW[window]), 0.10)
        lung_HW[window] += egg * ramp(dome_HW[window], 0.012)
    picture_HW = _soft_tissue(rng, body, pose, x_HW, y_HW, np.minimum(domes["right"], domes["left"]))
    field_HW = lung_HW * (1 - centre_HW)
    markings_HW = _markings(rng, pose, y_HW, wide_HW)
    markings_HW *= field_HW
    picture_HW += lung_HW * (np.float32(LUNG + rng.uniform(-0.03, 0.03)) - picture_HW)
    picture_HW += centre_HW * (np.float32(0.66) - picture_HW)
    picture_HW += markings_HW
    _add_bones(rng, body, pose, picture_HW, x_HW, y_HW)
    return Chest(picture_HW, markings_HW, field_HW, x_HW, y_HW, body, pose)


def _centre(body: Body, pose: Pose, x_HW: Array, y_HW: Array, wide_HW: Array) -> Array:
    """Mediastinum, hila and heart, 0 to 1."""
    centre_HW = np.zeros_like(x_HW)
    upper = pose.window(0, -0.12, 0.16, 0.40)
    wide, y = wide_HW[upper], y_HW[upper]
    column = ramp(np.float32(body.mediastinum) - wide, 0.022)
    u, v = (wide - np.float32(0.075)) * np.float32(22), (y + np.float32(0.03)) * np.float32(14)
    hila = ramp(1 - u * u - v * v, 0.9)
    centre_HW[upper] = np.maximum(column, hila * np.float32(0.55)) * (y < np.float32(0.28))
    x, y0, half_x, half_y = body.heart
    window = pose.window(x, y0, 0.22, 0.18)
    u, v = x_HW[window] - np.float32(x), y_HW[window] - np.float32(y0)
    along = (u + np.float32(0.35) * v) * np.float32(1 / half_x)
    aside = (v - np.float32(0.25) * u) * np.float32(1 / half_y)
    heart = ramp(1 - along * along - aside * aside, 0.22)
    centre_HW[window] = np.maximum(centre_HW[window], heart)
    return centre_HW


def _soft_tissue(
    rng: np.random.Generator, body: Body, pose: Pose, x_HW: Array, y_HW: Array, above_dome_HW: Array
) -> Array:
    """Air, trunk, neck, abdomen with gas bubbles."""
    u, v = x_HW * np.float32(1 / body.shoulder), (y_HW - np.float32(0.17)) * np.float32(1 / 0.53)
    u *= u
    v *= v
    trunk = ramp(1 - u * u - v * v, 0.12)
    neck = pose.window(0, -0.40, 0.14, 0.30)
    trunk[neck] = np.maximum(trunk[neck], ramp(np.float32(0.10) - np.abs(x_HW[neck]), 0.03) * (y_HW[neck] < -0.1))
    tissue = ramp(-above_dome_HW, 0.03)
    tissue *= np.float32(ABDOMEN - SOFT)
    tissue += np.float32(SOFT)
    for _ in range(int(rng.integers(1, 4))):
        stomach = rng.random() < 0.5
        gas_x, gas_y = rng.uniform(-0.25, 0.30), rng.uniform(0.34, 0.44)
        if stomach:
            gas_x, gas_y = rng.uniform(0.12, 0.24), rng.uniform(0.285, 0.33)
        size_x, size_y = rng.uniform(0.03, 0.07), rng.uniform(0.02, 0.04)
        window = pose.window(gas_x, gas_y, size_x * 1.3, size_y * 1.3)
        u = (x_HW[window] - np.float32(gas_x)) * np.float32(1 / size_x)
        v = (y_HW[window] - np.float32(gas_y)) * np.float32(1 / size_y)
        tissue[window] -= np.float32(0.42) * ramp(1 - u * u - v * v, 0.5)
    trunk *= tissue - np.float32(AIR)
    trunk += np.float32(AIR)
    return trunk


def _markings(rng: np.random.Generator, pose: Pose, y_HW: Array, wide_HW: Array) -> Array:
    """Vessel-like strands, stronger near the hila, and uneven ventilation."""
    near_hilum = np.float32(1.15) - np.abs(wide_HW - np.float32(0.1)) * 4 - np.abs(y_HW + np.float32(0.02)) * 2.6
    winding = np.abs(smooth_noise(rng, pose.rows, pose.columns, 17))
    strands = np.maximum(np.float32(rng.uniform(0.06, 0.12)) - winding * np.float32(0.45), 0)
    strands *= np.clip(near_hilum, 0.15, 1)
    return strands + np.float32(0.022) * smooth_noise(rng, pose.rows, pose.columns, 9)


def _add_bones(rng: np.random.Generator, body: Body, pose: Pose, picture_HW: Array, x_HW: Array, y_HW: Array) -> None:
    """Ribs, clavicles, spine, trachea and humeral heads."""
    cage = pose.window(0, -0.07, 0.38, 0.31)
    x, y = x_HW[cage], y_HW[cage]
    wide = np.abs(x)
    phase = (y - np.float32(0.55) * wide + np.float32(1.7) * x * x) * np.float32(1 / body.rib_period)
    phase += np.float32(body.rib_phase)
    phase -= np.floor(phase)
    ribs = ramp(np.float32(0.20) - np.abs(phase - np.float32(0.5)), 0.14)
    ribs *= ramp(np.float32(0.345) - wide, 0.03)
    ribs *= ramp(np.float32(0.17) - y, 0.10) * ramp(y + np.float32(0.33), 0.05)
    picture_HW[cage] += ribs * np.float32(body.rib_gain)
    top = pose.window(0, -0.27, 0.36, 0.11)
    wide = np.abs(x_HW[top])
    off = np.abs(y_HW[top] + np.float32(0.262) + np.float32(rng.uniform(0.14, 0.30)) * (wide - np.float32(0.05)))
    collar = ramp(np.float32(0.013) - off, 0.012) * ramp(np.float32(0.136) - np.abs(wide - np.float32(0.18)), 0.036)
    picture_HW[top] += collar * np.float32(0.13)
    _add_midline(pose, picture_HW, x_HW, y_HW)
    for side in SIDES.values():
        joint = pose.window(side * (body.shoulder - 0.07), -0.235, 0.09, 0.09)
        u, v = x_HW[joint] * np.float32(side) - np.float32(body.shoulder - 0.07), y_HW[joint] + np.float32(0.235)
        picture_HW[joint] += ramp(1 - (u * u + v * v) * np.float32(169), 0.3) * np.float32(0.24)


def _add_midline(pose: Pose, picture_HW: Array, x_HW: Array, y_HW: Array) -> None:
    """Vertebrae and the air of the trachea."""
    column = pose.window(0, 0, 0.05, 0.7)
    wide, y = np.abs(x_HW[column]), y_HW[column]
    level = y * np.float32(1 / 0.052)
    disc = np.abs(level - np.floor(level) - np.float32(0.5))
    bone = np.float32(0.07) + np.float32(0.10) * ramp(np.float32(0.36) - disc, 0.12)
    picture_HW[column] += ramp(np.float32(0.034) - wide, 0.012) * bone
    picture_HW[column] -= ramp(np.float32(0.016) - wide, 0.01) * ramp(np.float32(-0.07) - y, 0.04) * np.float32(0.20)
