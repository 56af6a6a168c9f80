"""What a folder says of its run: its entries, its end, its children, and the store that it belongs to.

In: the folder of a run, of a trial or of a sweep. Out: facts from journal.jsonl, trial.json, config.yaml, heartbeats
and mlflow_upload.json. Nothing is sent or written here, and mlflow is not imported.

    SWEEP/journal.jsonl, trials.json, best.yaml, index.html
    SWEEP/trials/003/trial.json, log, and the run itself, or its runs from several seeds:
    SWEEP/trials/003/seed-1/journal.jsonl, config.yaml, checkpoints/
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentalign.track import journal
from sentalign.track.mlflow import upload_state
from sharding.contract import UserError

TRIAL_NAME, CONFIG_NAME, TRIALS = "trial.json", "config.yaml", "trials"
SILENT_SECONDS = 600.0  # a run without a sign of life for so long has been killed
_EXCEPTION = re.compile(r"\b(\w+(?:Error|Exception)): .*")


@dataclass(frozen=True)
class UploadTarget:
    """Where a run is sent to."""

    uri: str
    experiment: str
    parent: str | None = None


@dataclass(frozen=True)
class Ending:
    """How a run ended, and when (seconds since 1970)."""

    status: str
    time: float
    error: str = ""


def is_run(folder: Path) -> bool:
    """Whether there is anything to send: a trial that dies early leaves trial.json alone."""
    return any((folder / name).is_file() for name in (journal.JOURNAL_NAME, TRIAL_NAME))


def children(folder: Path) -> list[Path]:
    """The runs directly below: the trials of a sweep, the seeds of a trial."""
    return [path for path in sorted([*folder.glob(f"{TRIALS}/*"), *folder.glob("seed-*")]) if is_run(path)]


def count(folder: Path) -> int:
    """Runs in the folder, itself included."""
    return 1 + sum(map(count, children(folder)))


def entries(folder: Path) -> list[journal.Entry]:
    """The journal's entries; of a trial without one, a start that trial.json and config.yaml tell."""
    lines = [entry for entry, _ in journal.follow(folder)]
    if lines:
        return lines
    trial = read_trial(folder)
    config = read_config(folder)
    began = [p.stat().st_mtime for name in (TRIAL_NAME, CONFIG_NAME) if (p := folder / name).is_file()]
    when = trial.get("started") or min(began, default=time.time())
    return [{"kind": "start", "time": float(when), "config": config | trial.get("parameters", {})}]


def ending(folder: Path, now: float, over: bool = False) -> Ending | None:
    """None while the run may still run; `over`: it cannot, for its sweep has ended.

    A trial's own record outranks the journal, which a killed training cannot end. A trial that the search stopped ended
    when its record says so, else with its last entry, not when somebody noticed.
    """
    lines = [entry for entry, _ in journal.follow(folder)]
    trial, quiet = read_trial(folder), last_sign(folder)
    status, written = trial.get("status", "running"), lines[-1]["time"] if lines else quiet
    when = float(trial.get("ended") or written)
    if status == "failed":
        return Ending("failed", when, public_error(str(trial.get("error", ""))))
    if lines and lines[-1]["kind"] == "end":
        return Ending(lines[-1]["status"], min(when, written), lines[-1].get("error", ""))
    if status not in ("running", "pending"):
        return Ending(status, when)
    return Ending("interrupted", written) if over or now - quiet > SILENT_SECONDS else None


def last_sign(folder: Path) -> float:
    """When the run or one of its children last wrote its journal, a heartbeat or its record."""
    patterns = (journal.JOURNAL_NAME, TRIAL_NAME, "heartbeat/*.json", "train.log")
    times = [path.stat().st_mtime for pattern in patterns for path in folder.glob(pattern)]
    return max([*times, *map(last_sign, children(folder))], default=0.0)


def store_of(folder: Path) -> UploadTarget | None:
    """The store of a run by its configuration, its sweep's start entry, its last upload, or its children's.

    A relative SQLite file is the one that the last upload went to, whatever folder this process works in.
    """
    track = read_config(folder).get("track") or _start_entry(folder).get("track") or {}
    last = upload_state.last_store(folder)
    if track.get("uri"):
        uri, relative = track["uri"], track["uri"].removeprefix("sqlite:///")
        if last and uri.startswith("sqlite:///") and last[0].endswith(f"/{relative.lstrip('./')}"):
            uri = last[0]
        return UploadTarget(uri, track.get("experiment") or "sentalign", track.get("parent_run"))
    if last:
        return UploadTarget(last[0], last[1].experiment or "sentalign", last[1].parent)
    found = (store_of(child) for child in children(folder))
    first = next((store for store in found if store), None)
    return first and UploadTarget(first.uri, first.experiment)


def read_trial(folder: Path) -> dict[str, Any]:
    """trial.json; empty where there is none. Raises UserError."""
    path = folder / TRIAL_NAME
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:
        raise UserError(f"{path} is not JSON; delete it to continue") from None


def read_config(folder: Path) -> dict[str, Any]:
    """config.yaml; empty where there is none. Raises UserError."""
    import yaml

    path = folder / CONFIG_NAME
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else {}
    except yaml.YAMLError:
        raise UserError(f"{path} is not YAML; restore it from the configuration of the run") from None
    return content if isinstance(content, dict) else {}


def public_error(text: str) -> str:
    """An error without the message of an unexpected exception, which could quote a report; errors for users stay."""
    return text if "error: " in text else _EXCEPTION.sub(r"\1 (message left out)", text)


def finite(value: Any) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _start_entry(folder: Path) -> journal.Entry:
    return next((entry for entry, _ in journal.follow(folder) if entry["kind"] == "start"), {})
