"""What MLflow shows of a sweep itself: the objectives of every trial, the best one, and the sweep's files.

In: SWEEP/trials.json and what lies beside it. Out: metrics of the parent run with step = trial number, so that its
charts show the search; tags that name the best trial; artifacts; the mean curves of trials with several seeds.

trials.json is {trials, best} or a list of trials, best first. A trial has `trial`, `status`, `parameters` and `values`
(objectives by name) or `value`; `curve` is [[pairs, {name: mean over seeds}], ...].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentalign.track import journal
from sentalign.track.mlflow import entries, run_folder, upload_state
from sentalign.track.mlflow.connection import public_text

FILES = ("index.html", "best.yaml", "trials.json")
OBJECTIVE, BEST, MEAN = "objective", "best", "seeds_mean"
Trial = dict[str, Any]


def send(client: Any, run_id: str, sweep: Path) -> None:
    """Sends all of it; what is there already is the same."""
    trials, best = read(sweep / "trials.json")
    finished = [trial for trial in trials if trial.get("status") != "failed" and figures(trial)]
    named = [({"time": _time(sweep, t), "step": int(t["trial"])}, _named(OBJECTIVE, t)) for t in finished]
    entries.log_metrics(client, run_id, named)
    statuses = [str(trial.get("status")) for trial in trials]
    entries.set_tags(client, run_id, {f"trials.{name}": str(statuses.count(name)) for name in sorted(set(statuses))})
    if best:
        _send_best(client, run_id, sweep, best)
    for trial in trials:
        _send_curve(client, _folder(sweep, trial), trial.get("curve") or [])
    for name in FILES:
        if (sweep / name).is_file():
            client.log_text(run_id, public_text((sweep / name).read_text(encoding="utf-8")), name)


def read(file: Path) -> tuple[list[Trial], Trial | None]:
    """The trials of trials.json, and the best one. None where there is no such file, or it is being written."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return [], None
    return content["trials"], next((t for t in content["trials"] if t["trial"] == content.get("best")), None)


def figures(trial: Trial) -> dict[str, float]:
    """The objectives of a trial by metric name."""
    return {name: float(value) for name, value in trial.get("values", {}).items() if run_folder.finite(value)}


def _named(prefix: str, trial: Trial) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures(trial).items()}


def _send_best(client: Any, run_id: str, sweep: Path, best: Trial) -> None:
    entries.log_metrics(client, run_id, [({"time": _time(sweep, best), "step": 0}, _named(BEST, best))])
    tags = {"best.trial": str(best["trial"])}
    tags |= {f"best.{name}": str(value) for name, value in (figures(best) | best.get("parameters", {})).items()}
    if last := upload_state.last_store(_folder(sweep, best)):
        tags["best.run_id"] = last[1].run_id
    entries.set_tags(client, run_id, tags)


def _send_curve(client: Any, folder: Path, curve: list[Any]) -> None:
    """The means over seeds, in the run of the trial, which has no journal of its own."""
    last = upload_state.last_store(folder)
    if not curve or not last or (folder / journal.JOURNAL_NAME).is_file():
        return
    when = run_folder.last_entry(folder)
    named = [
        (
            {"time": when, "pairs": pairs},
            {f"{MEAN}/{name}": float(value) for name, value in row.items() if run_folder.finite(value)},
        )
        for pairs, row in curve
    ]
    entries.log_metrics(client, last[1].run_id, named)


def _folder(sweep: Path, trial: Trial) -> Path:
    return sweep / "trials" / f"{int(trial['trial']):03d}"


def _time(sweep: Path, trial: Trial) -> float:
    """When a trial ended, the same at every call: MLflow keeps two values of one step with different times."""
    return run_folder.last_entry(_folder(sweep, trial))
