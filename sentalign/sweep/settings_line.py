"""The settings of a point as text: `loss.tau=0.12 optimizer.lr=0.001`."""

from __future__ import annotations

from typing import Any


def settings_line(parameters: dict[str, Any]) -> str:
    """The settings of a point in one line."""
    return " ".join(f"{setting}={shown(value)}" for setting, value in parameters.items())


def shown(value: Any) -> str:
    """A value, floats with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
