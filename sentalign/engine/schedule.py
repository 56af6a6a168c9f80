"""The learning rate as a pure function of the image-report pairs seen, so that a resumed run has nothing to restore."""

from __future__ import annotations

import math

from sentalign.config import Optimizer


def lr(settings: Optimizer, pairs: int, epoch_pairs: int, total_pairs: int) -> float:
    """The learning rate of the step that starts after `pairs` pairs.

    Warm-up is linear. `exponential`: lr · decay^epoch, in steps (docs/method.md: x0.9 an epoch). `cosine`: lr to 0.
    """
    if pairs < settings.warmup_pairs:
        return settings.lr * (pairs + 1) / settings.warmup_pairs
    if settings.schedule == "exponential":
        return settings.lr * settings.decay ** (pairs // epoch_pairs)
    if settings.schedule == "cosine":
        share = (pairs - settings.warmup_pairs) / max(1, total_pairs - settings.warmup_pairs)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.lr
