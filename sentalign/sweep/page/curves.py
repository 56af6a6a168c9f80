"""Learning curves with the rungs: one line a trial, for each metric that the sweep compares.

In: a `SweepContent`. Out: a dict for `templates/plots.html.j2`.
"""

from __future__ import annotations

from typing import Any

from sentalign import plot_axes
from sentalign.sweep.content import MetricGoal, SweepContent
from sentalign.sweep.page.frame import frame, line_mark, order, shown_range

SIZE = (760, 320)


def curves(sweep: SweepContent, goal: MetricGoal) -> dict[str, Any] | None:
    """Every trial's validations of one metric over the pairs; None where no trial has one."""
    known = [(t, [(p, v[goal.metric]) for p, v in t.curve if goal.metric in v]) for t in order(sweep, sweep.trials)]
    known = [(trial, points) for trial, points in known if points]
    if not known:
        return None
    rungs = ", ".join(f"{pairs:,}" for pairs in sweep.rungs)
    about = f"{len(known)} trials." + (f" Rungs at {rungs} pairs." if rungs else "")
    pairs = [0, sweep.max_pairs, *(p for _, points in known for p, _ in points)]
    y_values = shown_range(goal, [value for _, points in known for _, value in points])
    words = (f"{goal.metric} over the pairs", about, "image-report pairs", goal.metric)
    drawn = frame(words, SIZE, lambda start, end: plot_axes.linear(pairs, start, end), y_values)
    lines = [line_mark(sweep, trial, [drawn.point(*point) for point in points]) for trial, points in known]
    return {"frame": drawn, "lines": lines, "rungs": [drawn.x.place(pairs) for pairs in sweep.rungs]}
