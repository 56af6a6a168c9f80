"""study.json: the figures of all runs of a study, by row and seed, and the union of several such files.

In: the content that `figures.collect` makes. Out: a file, small enough to be committed, from which table, page and
plots are drawn without the runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sharding.contract import UserError
from sharding.store import atomic

SETTINGS = ("set", "data", "starts_from", "runs_of", "evaluate")  # of a row
PER_SEED = "training_seconds"


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes study.json; a list of numbers stays on one line, so that a changed run is a changed line."""
    text = json.dumps(content, indent=1, allow_nan=False)
    atomic.write_text(path, _lists_on_one_line(text) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The content of a study.json. Raises UserError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        lists = [values_S for row in content["rows"].values() for values_S in row["figures"].values()]
        if not {"title", "reference", "figures"} <= content.keys() or {len(x) for x in lists} - {len(content["seeds"])}:
            raise ValueError
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        raise UserError(f"{path} is no study.json; give the file that `sentalign study` wrote") from None
    return dict(content)


def _lists_on_one_line(text: str) -> str:
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        if inside:
            lines[-1] += (" " if lines[-1].endswith(",") else "") + line.strip()
        else:
            lines.append(line)
        if line.endswith("["):
            inside = True
        elif line.strip() in ("]", "],"):
            inside = False
    return "\n".join(lines)


def union(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs of several files as one content: of several machines, or of a study that grew. Title of the first.

    Raises UserError where a row has other settings, or a seed other values, in two of them.
    """
    result = dict(contents[0])
    result["seeds"] = sorted({seed for content in contents for seed in content["seeds"]})
    result["data"] = {name: value for content in contents for name, value in content.get("data", {}).items()}
    names = dict.fromkeys(name for content in contents for name in content["rows"])
    result["rows"] = {name: _union_of_row(name, contents, result["seeds"]) for name in names}
    return result


def _union_of_row(name: str, contents: Sequence[dict[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
    holders = [content for content in contents if name in content["rows"]]
    rows = [content["rows"][name] for content in holders]
    if any(row.get(key) != rows[0].get(key) for row in rows for key in SETTINGS):
        raise UserError(f"row {name!r} has other settings in two of the files; give files of one study")
    data = [content.get("data", {}).get(rows[0].get("data")) for content in holders]
    if any(other != data[0] for other in data):
        raise UserError(f"the data of row {name!r} differ in two of the files; give files of one study")
    figures = dict.fromkeys(figure for row in rows for figure in row["figures"])
    values = {
        figure: _by_seed(name, holders, [row["figures"].get(figure, []) for row in rows], seeds) for figure in figures
    }
    seconds = _by_seed(name, holders, [row.get(PER_SEED, []) for row in rows], seeds)
    return rows[0] | {"figures": values, PER_SEED: seconds}


def _by_seed(
    name: str, holders: Sequence[dict[str, Any]], values: Sequence[Sequence[float | None]], seeds: Sequence[int]
) -> list[float | None]:
    """The values of several files in the order of `seeds`; null where none has a run."""
    found: dict[int, float] = {}
    for content, values_S in zip(holders, values, strict=True):
        for seed, value in zip(content["seeds"], values_S, strict=False):
            if value is not None and found.setdefault(seed, value) != value:
                raise UserError(f"row {name!r}: two of the files have a run of seed {seed}; leave one of them out")
    return [found.get(seed) for seed in seeds]
