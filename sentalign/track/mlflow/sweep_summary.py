"""What MLflow shows of a sweep itself: the objective of every trial, the best one, and the sweep's files.

In: SWEEP/trials.json and what lies beside it. Out: metrics of the parent run with step = trial number, so that its
charts show the search, tags that name the best trial, artifacts. A trial of trials.json has `trial`, `status`, `value`
(None where it has none) and, where there are several objectives, `values` by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentalign.track.mlflow import entries, run_folder, upload_state
from sentalign.track.mlflow.connection import public_text

FILES = ("index.html", "best.yaml", "trials.json")
OBJECTIVE, BEST = "objective", "best"
Trial = dict[str, Any]


def send(client: Any, run_id: str, sweep: Path) -> None:
    """Sends all of it; what is there already is the same."""
    trials = read(sweep / "trials.json")
    named = [
        ({"time": _time(sweep, trial), "step": int(trial["trial"])}, values)
        for trial in trials
        if (values := figures(trial))
    ]
    entries.log_metrics(client, run_id, named)
    if trials:
        _send_best(client, run_id, sweep, trials)
    for name in FILES:
        if (sweep / name).is_file():
            client.log_text(run_id, public_text((sweep / name).read_text(encoding="utf-8")), name)


def read(file: Path) -> list[Trial]:
    """The trials of trials.json, best first: a list, or an object with one. Empty where there is no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    except ValueError:  # being written
        return []
    return [trial for trial in (content["trials"] if isinstance(content, dict) else content) if "trial" in trial]


def figures(trial: Trial) -> dict[str, float]:
    """The objectives of a trial by metric name."""
    found: dict[str, Any] = {OBJECTIVE: trial.get("value")}
    found |= {f"{OBJECTIVE}/{name}": value for name, value in (trial.get("values") or {}).items()}
    return {name: float(value) for name, value in found.items() if run_folder.finite(value)}


def _send_best(client: Any, run_id: str, sweep: Path, trials: list[Trial]) -> None:
    best = next((trial for trial in trials if trial.get("status") != "failed" and figures(trial)), None)
    statuses = [str(trial.get("status")) for trial in trials]
    tags = {f"trials.{status}": str(statuses.count(status)) for status in sorted(set(statuses))}
    if best:
        values = {f"{BEST}/{name}": value for name, value in figures(best).items()}
        entries.log_metrics(client, run_id, [({"time": _time(sweep, best), "step": 0}, values)])
        child = _folder(sweep, best)
        last = upload_state.last_store(child)
        tags |= {"best.trial": str(best["trial"]), "best.run_id": last[1].run_id if last else ""}
        tags |= {f"best.{name}": str(value) for name, value in best.get("parameters", {}).items()}
        tags["best.value"] = str(best.get("value"))
    entries.set_tags(client, run_id, tags)


def _folder(sweep: Path, trial: Trial) -> Path:
    return sweep / run_folder.TRIALS / f"{int(trial['trial']):03d}"


def _time(sweep: Path, trial: Trial) -> float:
    """When a trial ended, the same at every call: MLflow keeps two values of one step with different times."""
    ended = run_folder.ending(_folder(sweep, trial), 0.0, over=True)
    return ended.time if ended else 0.0
