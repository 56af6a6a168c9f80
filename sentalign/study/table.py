"""study.json → its table as Markdown, and a page with a plot of every figure.

In: the content of study.json (`figures`). Out: text. The page is `templates/study.html`; it loads nothing.
"""

from __future__ import annotations

from typing import Any

from sentalign.study.figures import FIGURES, Spread, difference, spread
from sharding import page_templates

TEMPLATES = page_templates.load("sentalign.study")
WIDTH, MARGIN = 300, 8  # of a plot, in its own units


def markdown(content: dict[str, Any]) -> str:
    """One line a row: mean (smallest to largest) over the seeds, and the difference from the reference if it is clear.

    A difference is clear where its 95% interval, paired by seed, does not hold 0.
    """
    headings = ["row", "seeds", *content["figures"].values()]
    lines = [" | ".join(headings), " | ".join(["---"] * len(headings))]
    for name in content["rows"]:
        cells = [_cell(content, name, figure) for figure in content["figures"]]
        lines.append(" | ".join([name.replace("|", "/"), str(_seeds(content, name)), *cells]))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _seeds(content: dict[str, Any], row: str) -> int:
    found = (spread(content, row, figure) for figure in content["figures"])
    return max((len(values.values) for values in found if values), default=0)


def _cell(content: dict[str, Any], row: str, figure: str) -> str:
    values, digits = spread(content, row, figure), _digits(figure)
    if values is None:
        return "–"
    text = f"{values.mean:.{digits}f}"
    if len(values.values) > 1:
        text += f" ({values.low:.{digits}f} to {values.high:.{digits}f})"
    change = difference(content, row, figure)
    if change and (change[1] > 0 or change[2] < 0):
        text += f" **{change[0]:+.{digits}f}**"
    return text


def _digits(figure: str) -> int:
    return FIGURES[figure].digits if figure in FIGURES else 3


def page(content: dict[str, Any]) -> str:
    """The page: for every figure a plot with one dot a run and the mean, then the table of differences."""
    plots = [_plot(content, figure, heading) for figure, heading in content["figures"].items()]
    return TEMPLATES.get_template("study.html").render(content=content, plots=[p for p in plots if p], width=WIDTH)


def _plot(content: dict[str, Any], figure: str, heading: str) -> dict[str, Any] | None:
    spreads = {name: spread(content, name, figure) for name in content["rows"]}
    known = [values for values in spreads.values() if values]
    if not known:
        return None
    low, high = min(values.low for values in known), max(values.high for values in known)
    digits = _digits(figure)

    def x(value: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / ((high - low) or 1.0), 1)

    lines = [_line(content, name, figure, values, x, digits) for name, values in spreads.items()]
    return {"heading": heading, "low": f"{low:.{digits}f}", "high": f"{high:.{digits}f}", "lines": lines}


def _line(
    content: dict[str, Any], name: str, figure: str, values: Spread | None, x: Any, digits: int
) -> dict[str, Any]:
    change = difference(content, name, figure)
    return {
        "name": name,
        "text": _cell(content, name, figure).replace("**", ""),
        "mean": values and x(values.mean),
        "dots": [(seed, x(value)) for seed, value in values.values.items()] if values else [],
        "change": "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*change, d=digits) if change else "",
    }
