"""What a folder says of its run: its entries, its end, its children, and the store that it belongs to.

In: the folder of a run, of a trial or of a sweep. Out: facts from journal.jsonl, trial.json, config.yaml, heartbeats
and mlflow_upload.json. Nothing is sent or written here, and mlflow is not imported.

    SWEEP/journal.jsonl, trials.json, best.yaml, index.html
    SWEEP/trials/003/trial.json, and a run in the same folder, or
    SWEEP/trials/003/seed-1/       a run from each seed
    SWEEP/trials/003/taken-2/      a run, or seed-1/ ..., that goes on from another trial's checkpoint
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentalign.track import journal
from sentalign.track.mlflow import upload_state
from sharding.contract import UserError

TRIAL_NAME, CONFIG_NAME = "trial.json", "config.yaml"
BELOW = ("trials/*", "seed-*", "taken-*", "taken-*/seed-*")
OPEN = ("running", "waiting")  # states of a trial
SILENT_SECONDS = 600.0  # a run without a sign of life for so long has been killed
LATE_SECONDS = 60.0  # an end that long after the entry before it was written by somebody else
_EXCEPTION = re.compile(r"\b(\w+(?:Error|Exception)): .*")
_ENDED = re.compile(r"training ended with -?\d+(: \w*(?:Error|Exception)(?=:))?")  # then the last line of its log


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
    return [path for pattern in BELOW for path in sorted(folder.glob(pattern)) if is_run(path)]


def name_of(folder: Path) -> str:
    """The name of its MLflow run: 003, 003-seed-1, 003-taken-2-seed-1."""
    folder = folder.resolve()
    prefix = f"{name_of(folder.parent)}-" if folder.name.startswith(("seed-", "taken-")) else ""
    return prefix + folder.name


def count(folder: Path) -> int:
    """Runs in the folder, itself included."""
    return 1 + sum(map(count, children(folder)))


def entries(folder: Path) -> list[journal.Entry]:
    """The journal's entries; of a trial without one, a start that its record, configuration and children tell."""
    if lines := _lines(folder):
        return lines
    trial, config = read_trial(folder), read_config(folder)
    below = [entries(child)[0]["time"] for child in children(folder) if not _damaged(child)]
    files = [path.stat().st_mtime for name in (TRIAL_NAME, CONFIG_NAME) if (path := folder / name).is_file()]
    return [{"kind": "start", "time": min(below or files), "config": config | trial.get("parameters", {})}]


def ending(folder: Path, now: float, over: bool = False) -> Ending | None:
    """None while the run may still run; `over`: it cannot, for its sweep has ended.

    A trial's own record outranks the journal, which a killed training cannot end. Such a training ended with its last
    entry, not when somebody noticed.
    """
    lines, trial = _lines(folder), read_trial(folder)
    written, status = last_entry(folder), trial.get("status", OPEN[0])
    if status == "failed":
        return Ending("failed", written, public_error(str(trial.get("error", ""))))
    if lines and lines[-1]["kind"] == "end":
        own = lines[-1]
        late = own["status"] != "finished" and own["time"] - written > LATE_SECONDS
        return Ending(own["status"], written if late else own["time"], own.get("error", ""))
    if status not in OPEN:
        return Ending(status, written)
    return Ending("interrupted", written) if over or now - last_sign(folder) > SILENT_SECONDS else None


def last_entry(folder: Path) -> float:
    """When the training, or the last one below, wrote its last entry before its end; a damaged journal has none."""
    times = [last_entry(child) for child in children(folder)]
    with contextlib.suppress(UserError):
        times += [entry["time"] for entry in _lines(folder) if entry["kind"] != "end"][-1:]
    return max(times, default=0.0) or last_sign(folder)


def last_sign(folder: Path) -> float:
    """When the run or one of its children last wrote its journal, a heartbeat or its record."""
    patterns = (journal.JOURNAL_NAME, TRIAL_NAME, "heartbeat/*.json", "train.log")
    times = [path.stat().st_mtime for pattern in patterns for path in folder.glob(pattern)]
    return max([*times, *map(last_sign, children(folder))], default=0.0)


def store_of(folder: Path) -> UploadTarget | None:
    """The store of a run by its configuration, its start entry, its last upload, or its children's.

    A relative SQLite file is the one that the run used, whatever folder this process works in.
    """
    tracks = [entry["track"] for entry in _lines(folder) if entry["kind"] == "start" and entry.get("track")]
    started = tracks[-1] if tracks else {}
    last = upload_state.last_store(folder)
    track = read_config(folder).get("track") or started
    if track.get("uri"):
        uri = _same_file(track["uri"], [started.get("uri"), last and last[0]])
        return UploadTarget(uri, track.get("experiment") or "sentalign", track.get("parent_run"))
    if last:
        return UploadTarget(last[0], last[1].experiment or "sentalign", last[1].parent)
    found = (store_of(child) for child in children(folder) if not _damaged(child))
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
    if re.match(r"(training ended with -?\d+: )?error: ", text):
        return text
    ended = _ENDED.match(text)
    return f"{ended[0]} (message left out)" if ended else _EXCEPTION.sub(r"\1 (message left out)", text)


def finite(value: Any) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same_file(uri: str, used: list[str | None]) -> str:
    """The absolute SQLite file of `used` that a relative one names; any other URI as it is."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or path.startswith("/"):
        return uri
    return next((one for one in used if one and one.endswith(f"/{path.removeprefix('./')}")), uri)


def _damaged(folder: Path) -> bool:
    try:
        return not (_lines(folder) or read_trial(folder))
    except UserError:
        return True


def _lines(folder: Path) -> list[journal.Entry]:
    return [entry for entry, _ in journal.follow(folder)]
