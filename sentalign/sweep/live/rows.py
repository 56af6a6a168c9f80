"""The table of a running sweep, as large as the terminal allows: the least important columns and rows are left out.

In: a `SweepContent`, width and height in characters. Out: renderables of rich.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from sentalign.sweep.content import SweepContent, TrialContent
from sentalign.sweep.live.progress import STATES, trial_seconds_left
from sentalign.sweep.wording import duration, number, printable, setting_text

BETWEEN = 2  # free characters between two columns
FEWEST_ROWS = 3
STYLES = {"running": "cyan", "waiting": "dim", "failed": "red", "interrupted": "red", "stopped": "dim"}
LONGEST_CELL = 24


class _Column(NamedTuple):
    """Heading and cells; columns of higher `rank` are left out first."""

    heading: str
    cells: list[str]
    rank: int

    @property
    def width(self) -> int:
        return max(len(self.heading), *map(len, self.cells)) + BETWEEN


def table(sweep: SweepContent, width: int, height: int) -> list[Table | Text]:
    """The table and, where trials are left out, a line that counts them; nothing before the first trial."""
    if not sweep.trials:
        return []
    shown = _rows(sweep, max(height - 3, FEWEST_ROWS))
    drawn = Table(box=None, pad_edge=False, padding=(0, BETWEEN, 0, 0), header_style="bold")
    columns = _fitting(_columns(sweep, shown), width)
    for column in columns:
        drawn.add_column(Text(printable(column.heading)), no_wrap=True, overflow="crop")
    for row, trial in enumerate(shown):
        style = "bold green" if trial is sweep.best else STYLES.get(trial.status, "")
        drawn.add_row(*(Text(column.cells[row], no_wrap=True, overflow="crop") for column in columns), style=style)
    numbers = {trial.number for trial in shown}
    left_out = [trial for trial in sweep.trials if trial.number not in numbers]
    return [drawn, Text(_counted(left_out), style="dim", no_wrap=True, overflow="crop")] if left_out else [drawn]


def _counted(trials: Sequence[TrialContent]) -> str:
    counts = Counter(trial.status for trial in trials)
    return "and " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def _rows(sweep: SweepContent, most: int) -> list[TrialContent]:
    """Running trials and the best one before all, then the newest that ended, then those that wait."""
    ranks = {"running": 0, "waiting": 2}

    def importance(trial: TrialContent) -> tuple[int, int]:
        rank = 0 if trial is sweep.best else ranks.get(trial.status, 1)
        return rank, trial.number if rank == 2 else -trial.number

    return sorted(sorted(sweep.trials, key=importance)[:most], key=lambda trial: trial.number)


def _columns(sweep: SweepContent, shown: Sequence[TrialContent]) -> list[_Column]:
    """In the order of the table. Ranks: trial, first metric, state, pairs, left, settings, time, other metrics."""
    settings = varying(sweep)
    names = _short_names(settings)
    columns = [
        _Column("trial", [str(t.number) for t in shown], 0),
        _Column("state", [t.status for t in shown], 2),
        _Column("pairs", [f"{t.pairs:,}/{sweep.max_pairs:,}" for t in shown], 3),
    ]
    for place, metric in enumerate(sweep.metrics):
        heading = metric.rpartition("/")[2]
        columns.append(_Column(heading, [_value(sweep, t, metric) for t in shown], 1 if place == 0 else 200 + place))
    for place, setting in enumerate(settings):
        cells = [setting_text(t.parameters[setting])[:LONGEST_CELL] if setting in t.parameters else "-" for t in shown]
        columns.append(_Column(names[place], cells, 5 + place))
    times = [_Column("time", [duration(t.seconds) if t.seconds else "-" for t in shown], 100)]
    times.append(_Column("left", [_left(sweep, t) for t in shown], 4))
    return columns + [column for column in times if set(column.cells) != {"-"}]


def _value(sweep: SweepContent, trial: TrialContent, metric: str) -> str:
    """The value; "best" for the best trial's objectives, "!" where it violates a constraint."""
    if metric not in trial.values:
        return "-"
    best = trial is sweep.best and any(goal.metric == metric for goal in sweep.goals)
    violated = any(bound.metric == metric for bound in sweep.violated(trial))
    return number(trial.values[metric]) + (" best" if best else "") + (" !" if violated else "")


def _left(sweep: SweepContent, trial: TrialContent) -> str:
    seconds = trial_seconds_left(sweep, trial)
    return "-" if seconds is None else duration(seconds)


def varying(sweep: SweepContent) -> list[str]:
    """Settings that differ between trials; all of a single trial."""
    texts = {
        name: {setting_text(t.parameters[name]) if name in t.parameters else None for t in sweep.trials}
        for name in sweep.space
    }
    return [name for name, values in texts.items() if len(values) > 1 or len(sweep.trials) == 1]


def _short_names(settings: Sequence[str]) -> list[str]:
    """The last part of a dotted name where it is the only one of its kind."""
    ends = Counter(name.rpartition(".")[2] for name in settings)
    return [end if ends[end := name.rpartition(".")[2]] == 1 else name for name in settings]


def _fitting(columns: Sequence[_Column], width: int) -> list[_Column]:
    """The most important columns that stand side by side, in the order of the table; always the first two."""
    kept: list[_Column] = []
    for column in sorted(columns, key=lambda one: one.rank):
        if column.rank < 2 or sum(one.width for one in [*kept, column]) - BETWEEN <= width:
            kept.append(column)
    return [column for column in columns if column in kept]
