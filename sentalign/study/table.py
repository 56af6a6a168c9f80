"""study.json → its table as Markdown, its page, and the plots as files for other documents.

In: the content of study.json (`figures`). Out: text, or files. The page is `templates/study.html`; it loads nothing.
Plots are drawn in `plots`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentalign.study import plots, study_json
from sentalign.study.figures import difference, number, spread
from sharding.store import atomic

FEW_ROWS = 3


def markdown(content: dict[str, Any]) -> str:
    """Mean (smallest to largest) over the seeds, and the difference from the reference if it is clear.

    One line a row of the study; of a study of three rows or fewer, whose lines would be long, one line a figure. A
    difference is clear where its 95% interval, paired by seed, does not hold 0.
    """
    columns = [["row", *(name.replace("|", "/") for name in content["rows"])]]
    columns += [["seeds", *(str(_seeds(content, name)) for name in content["rows"])]]
    for figure, heading in content["figures"].items():
        columns.append([heading, *(_cell(content, name, figure) for name in content["rows"])])
    lines = columns if len(content["rows"]) <= FEW_ROWS else [list(line) for line in zip(*columns, strict=True)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _seeds(content: dict[str, Any], row: str) -> int:
    found = (spread(content, row, figure) for figure in content["figures"])
    return max((len(values.values) for values in found if values), default=0)


def _cell(content: dict[str, Any], row: str, figure: str) -> str:
    values = spread(content, row, figure)
    if values is None:
        return "–"
    text = number(figure, values.mean)
    if len(values.values) > 1:
        text += f" ({number(figure, values.low)} to {number(figure, values.high)})"
    change = difference(content, row, figure)
    if change and (change[1] > 0 or change[2] < 0):
        text += f" **{number(figure, change[0], '+')}**"
    return text


def page(content: dict[str, Any]) -> str:
    """The page: for every figure its plot, then each row's numbers and its difference from the reference."""
    drawn = [
        {"svg": svg, "rows": [_line(content, name, figure) for name in content["rows"]]}
        for figure, svg in plots.plots(content).items()
    ]
    return plots.TEMPLATES.get_template("study.html").render(content=content, plots=drawn)


def _line(content: dict[str, Any], name: str, figure: str) -> dict[str, str]:
    change = difference(content, name, figure)
    mean, low, high = (number(figure, value, "+") for value in change) if change else ("", "", "")
    text = _cell(content, name, figure).replace("**", "")
    return {"name": name, "text": text, "change": f"{mean} [{low}, {high}]" if change else ""}


def write(out: Path, content: dict[str, Any]) -> None:
    """Writes study.json, table.md, index.html and plots/FIGURE.svg; plots that another content had are removed."""
    (out / "plots").mkdir(parents=True, exist_ok=True)
    drawn = plots.plots(content)
    for old in (out / "plots").glob("*.svg"):
        if old.stem not in drawn:
            old.unlink()
    for figure, svg in drawn.items():
        atomic.write_text(out / "plots" / f"{figure}.svg", svg + "\n")
    study_json.write(out / "study.json", content)
    atomic.write_text(out / "table.md", markdown(content))
    atomic.write_text(out / "index.html", page(content))
