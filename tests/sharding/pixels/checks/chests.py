"""A drawn chest: dark lungs beside a bright mediastinum, a bright abdomen below, shoulders above."""

from __future__ import annotations

import numpy as np


def chest(rows: int = 300, columns: int = 280, noise: float = 4, seed: int = 0) -> np.ndarray:
    """(H, W) uint8, upright, dense is bright."""
    y_HW, x_HW = np.mgrid[:rows, :columns]
    y_HW, x_HW = y_HW / rows, x_HW / columns
    body_HW = np.where(np.abs(x_HW - 0.5) < 0.28 + 0.6 * np.clip(y_HW - 0.02, 0, 0.35), 150.0, 20.0)
    for centre in (0.28, 0.72):
        inside_HW = ((x_HW - centre) / 0.15) ** 2 + ((y_HW - 0.45) / 0.33) ** 2 < 1
        body_HW[inside_HW & (y_HW < 0.7)] = 50
    body_HW[np.abs(x_HW - 0.5) < 0.06 + 0.12 * np.clip(y_HW - 0.35, 0, 0.3)] = 200
    body_HW[(y_HW > 0.72) & (np.abs(x_HW - 0.5) < 0.42)] = 190
    grainy_HW = body_HW + np.random.default_rng(seed).normal(0, noise, body_HW.shape)
    return np.clip(grainy_HW, 0, 255).astype(np.uint8)
