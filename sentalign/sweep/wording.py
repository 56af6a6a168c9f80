"""How values, settings, times and foreign texts of a sweep are written, for a terminal, the page and the dry run alike.

In: plain values. Out: text in one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_LINE = 300
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def number(value: float) -> str:
    """A value in four digits."""
    return f"{value:.4g}"


def value_with_range(value: float, by_seed: Sequence[float]) -> str:
    """`0.41 (0.39 to 0.43)`: the mean over the seeds, and their smallest and largest value where they differ."""
    if not by_seed or min(by_seed) == max(by_seed):
        return number(value)
    return f"{number(value)} ({number(min(by_seed))} to {number(max(by_seed))})"


def setting_text(value: Any) -> str:
    """The value of a setting as it is read: four digits, words as they are, lists as JSON."""
    if isinstance(value, float):
        return number(value)
    return printable(value if isinstance(value, str) else json.dumps(value, default=str))


def settings_line(parameters: Mapping[str, Any], between: str = " ") -> str:
    """The settings of a point in one line: `loss.tau=0.12 optimizer.lr=0.001`."""
    return between.join(f"{setting}={setting_text(value)}" for setting, value in parameters.items())


def one_line(text: str) -> str:
    """Text of any process as one line that is not endless."""
    line = printable(text)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def printable(text: str) -> str:
    """Without colours and control characters, with single spaces."""
    plain = ESCAPES.sub("", text)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def duration(seconds: float) -> str:
    """42 s, 7 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
