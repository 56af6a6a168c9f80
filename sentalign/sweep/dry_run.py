"""What a sweep would do, before it does: points, rungs, resources.

In: a checked sweep. Out: a dict, or text. Points that Optuna would choose depend on what is measured, and are left out.
"""

from __future__ import annotations

from typing import Any

from sentalign.sweep.search.points import random_points
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.sweep_file import first_points
from sentalign.sweep.wording import settings_line


def plan(checked: Checked) -> dict[str, Any]:
    """Plain data."""
    sweep = checked.sweep
    points = random_points(sweep) if sweep.searcher == "random" else first_points(sweep)[: sweep.trials]
    each = {"cpus": sweep.cpus * sweep.parallel_seeds, "gpus": sweep.gpus * sweep.parallel_seeds}
    return {
        "objectives": checked.objective.modes,
        "constraints": [bound.as_dict() for bound in checked.objective.bounds],
        "run": {"pairs": checked.length.total, "validate_every_pairs": checked.length.validate_every},
        "scheduler": checked.schedule.kind,
        "rungs": list(checked.schedule.rungs),
        "searcher": sweep.searcher,
        "trials": sweep.trials,
        "trainings": sweep.trials * sweep.seeds,
        "most_pairs": sweep.trials * sweep.seeds * checked.schedule.max_pairs,
        "concurrent": sweep.concurrent,
        "trial_takes": each,
        "nodes": sweep.nodes,
        "points": points,
    }


def text(checked: Checked) -> str:
    """The same for a reader."""
    found = plan(checked)
    take = found["trial_takes"]
    spread = f", each training on {found['nodes']} nodes" if found["nodes"] > 1 else ""
    rungs = ", ".join(f"{pairs:,}" for pairs in found["rungs"])
    lines = [
        f"compares by   {', '.join(f'{metric} ({mode})' for metric, mode in found['objectives'].items())}",
        *(f"only where    {bound}" for bound in checked.objective.bounds),
        f"a training    {checked.schedule.max_pairs:,} of {checked.length.total:,} pairs, "
        f"a validation every {checked.length.validate_every:,}",
        f"scheduler     {found['scheduler']}{f', rungs at {rungs} pairs' if rungs else ''}",
        f"trials        {found['trials']} by {found['searcher']}, {checked.sweep.seeds} training(s) each, at most "
        f"{found['most_pairs']:,} pairs",
        f"at once       {found['concurrent']} trial(s), each {take['cpus']:g} CPU and {take['gpus']} GPU{spread}",
        *(f"point {number:<7} {settings_line(point)}" for number, point in enumerate(found["points"])),
    ]
    return "\n".join(lines)
