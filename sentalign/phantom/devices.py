"""Devices and markers in front of the chest, and the detector that exposes the picture.

In: a finished `Chest`. Out: wires, electrodes, tubes and side markers in it; a 12-bit picture with the detector's gain,
gradient and noise. Nothing of this module is a finding with a box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentalign.phantom.anatomy import Array, Chest, Pose, ramp, smooth_noise

GREY_LEVELS = 4096
_LETTERS = {
    "L": ("1000", "1000", "1000", "1000", "1000", "1000", "1111"),
    "R": ("1110", "1001", "1001", "1110", "1010", "1001", "1001"),
}


def add_devices(rng: np.random.Generator, chest: Chest) -> list[str]:
    """Draw random devices; returns their names (wires, electrodes, tube, port), for the report."""
    names = []
    if rng.random() < 0.55:
        names.append("wires")
        for _ in range(int(rng.integers(1, 4))):
            _wire(rng, chest)
        for _ in range(int(rng.integers(1, 4))):
            _electrode(rng, chest)
    if rng.random() < 0.25:
        names.append("tube")
        _tube(rng, chest)
    if rng.random() < 0.20:
        names.append("port")
        _port(rng, chest)
    return names


def _wire(rng: np.random.Generator, chest: Chest) -> None:
    """A lead from the neck or the shoulder across the chest, one of the brightest lines of the picture."""
    start, drift, bend = rng.uniform(-0.33, 0.33), rng.uniform(-0.5, 0.5), rng.uniform(-1.2, 1.2)
    rows, gain = int(chest.pose.rows * rng.uniform(0.55, 0.95)), rng.uniform(0.28, 0.42)
    y = chest.y_HW[:rows, :1] + np.float32(0.1)  # row by row: rotating it with the body would add nothing
    middle = np.float32(start) + np.float32(drift) * y + np.float32(bend) * y * y
    chest.picture_HW[:rows] += ramp(np.float32(0.0065) - np.abs(chest.x_HW[:rows] - middle), 0.006) * np.float32(gain)


def _electrode(rng: np.random.Generator, chest: Chest) -> None:
    """A snap electrode: a bright disc with a brighter rim."""
    x, y = rng.uniform(-0.36, 0.36), rng.uniform(-0.28, 0.32)
    rows, columns = chest.pose.window(x, y, 0.03, 0.03)
    u, v = chest.x_HW[rows, columns] - np.float32(x), chest.y_HW[rows, columns] - np.float32(y)
    distance = np.sqrt(u * u + v * v)
    chest.picture_HW[rows, columns] += ramp(0.021 - distance, 0.005) * np.float32(0.22)
    chest.picture_HW[rows, columns] += ramp(0.008 - distance, 0.005) * np.float32(0.30)


def _tube(rng: np.random.Generator, chest: Chest) -> None:
    """A feeding or breathing tube along the midline."""
    lean, lowest = np.float32(rng.uniform(-0.03, 0.06)), float(rng.choice([-0.09, 0.36]))
    window = chest.pose.window(0, lowest - 0.5, 0.07, 0.5)
    x, y = chest.x_HW[window], chest.y_HW[window] + np.float32(0.3)
    wall = np.abs(np.abs(x - np.float32(rng.uniform(-0.01, 0.01)) - lean * y) - np.float32(0.007))
    chest.picture_HW[window] += ramp(np.float32(0.0035) - wall, 0.004) * np.float32(0.30)


def _port(rng: np.random.Generator, chest: Chest) -> None:
    """An implanted port or generator below the clavicle."""
    x, y = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.22, 0.33), rng.uniform(-0.22, -0.14)
    half_x, half_y = rng.uniform(0.028, 0.048), rng.uniform(0.022, 0.04)
    rows, columns = chest.pose.window(x, y, 0.06, 0.06)
    u = np.abs(chest.x_HW[rows, columns] - np.float32(x)) / np.float32(half_x)
    v = np.abs(chest.y_HW[rows, columns] - np.float32(y)) / np.float32(half_y)
    inside = ramp(1 - (u**4 + v**4), 0.35)
    picture = chest.picture_HW[rows, columns]
    picture += inside * (np.float32(1.05) - picture)


def add_marker(rng: np.random.Generator, chest: Chest) -> None:
    """The lead letter on the patient's side that it names, above the shoulder."""
    pose = chest.pose
    letter = "L" if rng.random() < 0.7 else "R"
    glyph = np.array([[c == "1" for c in row] for row in _LETTERS[letter]])
    dot = max(1, round(pose.size * 0.0085 * float(rng.choice([1.0, 1.4]))))
    stamp = np.kron(glyph, np.ones((dot, dot), bool))
    row = int(pose.rows * rng.uniform(0.02, 0.06))
    from_edge = int(pose.columns * rng.uniform(0.04, 0.12))
    column = pose.columns - from_edge - stamp.shape[1] if letter == "L" else from_edge
    patch = chest.picture_HW[row : row + stamp.shape[0], column : column + stamp.shape[1]]
    patch[stamp] = 1.12


def expose(rng: np.random.Generator, picture_HW: Array, pose: Pose) -> NDArray[np.uint16]:
    """Detector: uneven field, gain, tone curve, noise, collimator; returns 12-bit grey, bright = dense."""
    rows, columns = picture_HW.shape
    field = smooth_noise(rng, rows, columns, 3)
    field *= np.float32(0.05)
    field += 1
    out = picture_HW * field
    tone, gain, level = rng.uniform(-0.22, 0.30), rng.uniform(0.80, 1.0), rng.uniform(-0.01, 0.05)
    out *= np.float32(1 + tone) - np.float32(tone) * out
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    noise[1:] += np.float32(0.6) * noise[:-1]  # the detector blurs its own noise a little
    noise *= np.float32(rng.uniform(0.006, 0.020))
    out += noise
    out *= np.float32(gain)
    out += np.float32(level)
    if rng.random() < 0.35:
        _collimate(rng, out, pose)
    out *= np.float32(GREY_LEVELS / 1.25)
    return np.clip(np.rint(out, out=out), 0, GREY_LEVELS - 1, out=out).astype(np.uint16)


def _collimate(rng: np.random.Generator, out_HW: Array, pose: Pose) -> None:
    shut = [int(pose.size * rng.uniform(0.008, 0.03)) for _ in range(4)]
    is_open = rng.random(4) < 0.4
    top, bottom, left, right = (0 if skip else width for skip, width in zip(is_open, shut, strict=True))
    out_HW[:top], out_HW[out_HW.shape[0] - bottom :] = 0, 0
    out_HW[:, :left], out_HW[:, out_HW.shape[1] - right :] = 0, 0
