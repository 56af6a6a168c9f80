"""What a sweep leaves behind: trials.json, best.yaml, a link to the best run's model, the page, and the next command.

In: a checked sweep and its record. Out: files in `out`, and the content of trials.json.
"""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

from sentalign import config
from sentalign.sweep import page
from sentalign.sweep.record import SearchRecord, TrialState
from sentalign.sweep.run_seconds import RunSeconds
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.sweep_file import configuration
from sentalign.sweep.trial.plan import trial_runs
from sentalign.sweep.wording import number
from sharding.store import atomic

WEIGHTS = "model.safetensors"


def content(
    checked: Checked, record: SearchRecord, ended: bool = False, run_seconds: RunSeconds | None = None
) -> dict[str, Any]:
    """The content of trials.json. `ended`: what is still open was interrupted. `run_seconds`: has read the journals."""
    objective, run_seconds = checked.objective, run_seconds or RunSeconds()
    chosen = {trial.trial: objective.chosen(trial.curve) for trial in record.trials if trial.status != "failed"}
    values = {number: point[1] for number, point in chosen.items() if point}
    return {
        "objectives": [{"metric": metric, "mode": mode} for metric, mode in objective.modes.items()],
        "constraints": [bound.as_dict() for bound in objective.bounds],
        "space": {s: d.model_dump(mode="json", exclude_defaults=True) for s, d in checked.sweep.space.items()},
        "rungs": list(checked.schedule.rungs),
        "max_pairs": checked.schedule.max_pairs,
        "planned": len(record.trials) if record.is_exhausted else max(checked.sweep.trials, len(record.trials)),
        "trials": [
            _trial(trial, chosen.get(trial.trial), ended, _seconds(checked, trial, run_seconds))
            for trial in record.trials
        ],
        "best": objective.best(values),
        "pareto": objective.pareto(values),
    }


def _seconds(checked: Checked, trial: TrialState, run_seconds: RunSeconds) -> float:
    return round(sum(map(run_seconds.of, trial_runs(checked.sweep, trial.trial, trial.generation))), 1)


def _trial(
    trial: TrialState, chosen: tuple[int, dict[str, float]] | None, ended: bool, seconds: float
) -> dict[str, Any]:
    pairs, values = chosen or (None, {})
    return {
        "trial": trial.trial,
        "parameters": trial.parameters,
        "status": "interrupted" if ended and trial.is_open else trial.status,
        "error": trial.error,
        "values": values,
        "by_seed": trial.by_seed[pairs] if pairs is not None else {},
        "pairs": trial.pairs,
        "best_pairs": pairs,
        "seconds": seconds,
        "curve": [[at, row] for at, row in trial.curve],
    }


def write(checked: Checked, record: SearchRecord) -> dict[str, Any]:
    """Writes all files; returns the content of trials.json."""
    out, found = checked.sweep.out, content(checked, record, ended=True)
    atomic.write_text(out / "trials.json", json.dumps(_finite(found), indent=1, allow_nan=False) + "\n")
    if found["best"] is not None:
        parameters = record.trials[found["best"]].parameters
        atomic.write_text(out / "best.yaml", config.dump(configuration(checked.sweep, parameters, out / "best")))
        _link_weights(out, best_run(checked, record, found))
    page.write(out, found | {"command": longer_command(checked)})
    return found


def best_run(checked: Checked, record: SearchRecord, found: dict[str, Any]) -> Path:
    """The training of the best trial whose first metric is the best of its seeds."""
    trial, metric = record.trials[found["best"]], checked.objective.first
    runs = trial_runs(checked.sweep, trial.trial, trial.generation)
    by_seed = found["trials"][trial.trial]["by_seed"].get(metric, [])
    sign = checked.objective.sign(metric)
    return max(zip(runs, by_seed, strict=False), key=lambda pair: sign * pair[1], default=(runs[0], 0.0))[0]


def _link_weights(out: Path, run: Path) -> None:
    link = out / f"best-{WEIGHTS}"
    link.unlink(missing_ok=True)
    if (run / WEIGHTS).is_file():
        link.symlink_to((run / WEIGHTS).relative_to(out))


def longer_command(checked: Checked) -> str:
    """The command that trains the best settings for twice as long."""
    best, here = checked.sweep.out / "best.yaml", Path.cwd()
    path = best.relative_to(here) if best.is_relative_to(here) else best
    return f"sentalign train {shlex.quote(str(path))} train.epochs={2 * checked.base.train.epochs}"


def nearest(checked: Checked, found: dict[str, Any]) -> str:
    """For a sweep without a trial that meets its constraints: the one that comes nearest, in words."""
    measured = [trial for trial in found["trials"] if trial["values"] and trial["status"] != "failed"]
    trial = min(measured, key=lambda trial: checked.objective.violation(trial["values"]))
    values = trial["values"]
    shown = ", ".join(f"{b}: {number(values.get(b.metric, math.nan))}" for b in checked.objective.bounds)
    return f"no trial meets the constraints; nearest is trial {trial['trial']} ({shown})"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no inf."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
