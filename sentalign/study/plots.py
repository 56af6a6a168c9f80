"""study.json → one SVG a figure: a dot for every run, a line at the mean of each row.

In: the content of study.json (`figures`). Out: SVG text that stands alone or in a page; it loads nothing. The layout is
`templates/plot.svg`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentalign.plot_axes import position
from sentalign.study.figures import Spread, number, spread
from sharding import page_templates

TEMPLATES = page_templates.load("sentalign.study")
# In the plot's own units: the columns of names, of dots and the free space around; the height of a row.
NAMES, WIDTH, MARGIN, ROW = 200, 360, 10, 22
LONGEST_NAME = 30  # characters in the column of names


def plots(content: dict[str, Any]) -> dict[str, str]:
    """The plots by figure; none of a figure that no run has."""
    drawn = {figure: _plot(content, figure, heading) for figure, heading in content["figures"].items()}
    return {figure: svg for figure, svg in drawn.items() if svg}


def _plot(content: dict[str, Any], figure: str, heading: str) -> str:
    spreads = {row: spread(content, row, figure) for row in content["rows"]}
    known = [values for values in spreads.values() if values]
    if not known:
        return ""
    low, high = min(values.low for values in known), max(values.high for values in known)
    x = position(low, high, NAMES + MARGIN, NAMES + WIDTH - MARGIN)
    rows = [_row(name, n, figure, values, x) for n, (name, values) in enumerate(spreads.items())]
    size = {"width": NAMES + WIDTH, "height": ROW * (len(rows) + 2), "left": x(low), "right": x(high)}
    ends = {"low": number(figure, low), "high": number(figure, high)}
    return TEMPLATES.get_template("plot.svg").render(heading=heading, rows=rows, row_height=ROW, **size, **ends)


def _row(name: str, n: int, figure: str, values: Spread | None, x: Callable[[float], float]) -> dict[str, Any]:
    dots = [(seed, number(figure, value), x(value)) for seed, value in values.values.items()] if values else []
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return {"name": short, "y": ROW * (n + 1) + ROW / 2, "dots": dots, "mean": values and x(values.mean)}
