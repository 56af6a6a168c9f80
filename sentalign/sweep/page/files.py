"""Writes the page of a sweep and its table: OUT/index.html and OUT/trials.csv.

In: the sweep's folder and the content of trials.json. Out: two files, each replaced as a whole; the page loads nothing.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sentalign.sweep import content as content_of
from sentalign.sweep.content import SweepContent
from sentalign.sweep.page import curves, importance, parallel, scatter, table
from sentalign.sweep.page.scales import SettingScale, domain_text, scales
from sentalign.sweep.wording import duration, setting_text
from sharding import page_templates
from sharding.store import atomic

TEMPLATES = page_templates.load(__name__.rpartition(".")[0])
PAGE, TABLE = "index.html", "trials.csv"
WEIGHTS = "model.safetensors"


def write(out: Path, content: Mapping[str, Any]) -> None:
    """Writes both files from the content of trials.json, of a sweep that runs, was interrupted or has ended."""
    sweep = content_of.read(content)
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out / TABLE, table.as_csv(sweep))
    atomic.write_text(out / PAGE, render(out, sweep))


def render(out: Path, sweep: SweepContent) -> str:
    """The page as text. `out` is asked for the files that the page links to."""
    settings = scales(sweep)
    over = [(goal, [scatter.over_setting(sweep, goal, one) for one in settings]) for goal in sweep.goals]
    return TEMPLATES.get_template("page.html.j2").render(
        name=out.resolve().name,
        sweep=sweep,
        states=Counter(trial.status for trial in sweep.trials),
        hours=duration(sum(trial.seconds for trial in sweep.trials)),
        found=_found(out, sweep, settings),
        over=[(goal, [plot for plot in plots if plot]) for goal, plots in over],
        fronts=scatter.fronts(sweep),
        curves=[plot for goal in sweep.goals if (plot := curves.curves(sweep, goal))],
        parallel=parallel.parallel(sweep, settings),
        importance=[importance.importance(sweep, goal, settings) for goal in sweep.goals] if settings else [],
        table=table.cells(sweep),
        errors=next((trial.error for trial in sweep.trials if trial.error), ""),
    )


def _found(out: Path, sweep: SweepContent, settings: list[SettingScale]) -> dict[str, Any] | None:
    """The best trial: values, settings with the range that was searched, the command that trains it longer, links."""
    best = sweep.best
    if best is None:
        return None
    edges = {one.name for one in settings if one.at_edge(best)}
    return {
        "trial": best,
        "values": [(metric, best.value_text(metric, table.NONE)) for metric in sweep.metrics],
        "seeds": max((len(values) for values in best.by_seed.values()), default=1),
        "settings": [
            (name, setting_text(value), domain_text(sweep.space[name]), name in edges)
            for name, value in best.parameters.items()
        ],
        "command": sweep.command or f"sentalign train {shlex.quote(_from_here(out / 'best.yaml'))}",
        "links": _links(out, best.number),
    }


def _from_here(path: Path) -> str:
    """Relative to the working folder where it lies in it, as a user types it."""
    relative = os.path.relpath(path)
    return str(path.resolve()) if relative.startswith(os.pardir) else relative


def _links(out: Path, number: int) -> list[tuple[str, str]]:
    """Text and address of the best run's folder and of the models in it, of each seed."""
    folder = out / "trials" / f"{number:03d}"
    models = [p for p in sorted(folder.rglob(WEIGHTS)) if "checkpoints" not in p.relative_to(folder).parts]
    files = [out / name for name in (f"best-{WEIGHTS}", "best.yaml", TABLE, "trials.json")]
    there = [path for path in (folder, *models, *files) if path.exists()]
    names = [path.relative_to(out).as_posix() + ("/" if path.is_dir() else "") for path in there]
    return [(name, quote(name)) for name in names]
