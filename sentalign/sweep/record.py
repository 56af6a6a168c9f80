"""The record of a search: points, reports with the scheduler's decisions, ends; what a later start goes on from.

In: events of the driver, the only writer. Out: `out/search/journal.jsonl`, and the trials as they stand. A trial that
has a point and no end is open: the next start of the same command continues it.

    start   settings of the sweep, base: those of the base that decide what a trial gives
    point   trial, parameters
    exhausted                                 the space has no further point
    began   trial                             its trainings start or continue
    report  trial, pairs, values, by_seed, decision
    taken   trial, parameters, source, source_pairs   PBT: goes on from another trial's checkpoint
    closed  trial, status: finished | stopped | failed, error
    opened  trial                             a later start goes on with it, also where it had failed
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentalign.sweep.spec.domain import Parameters
from sentalign.sweep.spec.objective import Curve
from sentalign.track import journal
from sentalign.track.journal import Journal
from sentalign.track.mlflow import connection
from sharding.contract import UserError
from sharding.store import atomic

FOLDER, LOCK, TRIAL_NAME = "search", "lock", "trial.json"
# What another start of the same sweep may change: how much is tried and how fast, not what is tried or compared.
CHANGEABLE = {
    "out", "base", "trials", "concurrent", "seeds_at_once", "nodes", "ranks", "cpus", "gpus", "retries", "max_failures",
    "time_budget", "first_step", "overrides",  # these are in the settings of the base
}  # fmt: skip

Listener = Callable[[str, "TrialState"], None]


@dataclass
class TrialState:
    """One point and what became of it; `generation` counts the checkpoints that it took over."""

    trial: int
    parameters: Parameters
    status: str = "waiting"
    error: str = ""
    curve: Curve = field(default_factory=list)
    by_seed: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    generation: int = 0
    source: tuple[int, int, int] | None = None  # trial, generation and pairs of the checkpoint that was taken over

    @property
    def pairs(self) -> int:
        return self.curve[-1][0] if self.curve else 0

    @property
    def is_open(self) -> bool:
        return self.status in ("waiting", "running")


class SearchRecord:
    """Reads what earlier starts wrote, and appends; one process at a time."""

    def __init__(self, out: Path, listener: Listener = lambda event, trial: None) -> None:
        """Raises UserError where another process runs the sweep."""
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        self._lock = open(out / FOLDER / LOCK, "ab")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out} is being searched by another process; wait for it, or set out=FOLDER") from None
        self.out, self.listener = out, listener
        self.trials: list[TrialState] = []
        self.reports: list[tuple[int, int, dict[str, float]]] = []  # trial, pairs and values, in the order of decisions
        self.settings: dict[str, Any] | None = None
        self.base: dict[str, Any] | None = None
        self.is_exhausted = False
        for entry, _ in journal.follow(out / FOLDER):
            self._apply(entry)
        self._journal = Journal(out / FOLDER)

    def start(self, settings: dict[str, Any], base: dict[str, Any]) -> None:
        """A start of the command; failed trials are open again. Raises UserError where the sweep was another one."""
        changed = _difference(self.settings, settings) or _difference(self.base, base)
        if changed:
            raise UserError(f"{self.out} holds a sweep of other settings ({changed}); restore them, or set out=FOLDER")
        self._append("start", settings=settings, base=base)
        for trial in self.trials:
            if trial.status in ("failed", "running"):
                self._append("opened", trial.trial)

    def point(self, parameters: Parameters) -> TrialState:
        """A new trial."""
        return self._append("point", len(self.trials), parameters=parameters)

    def exhausted(self) -> None:
        """The space has no other point than those of the trials."""
        if not self.is_exhausted:
            self._append("exhausted")

    def is_complete(self, trials: int) -> bool:
        """Whether so many trials, or all that the space has, have ended."""
        return (self.is_exhausted or len(self.trials) >= trials) and not any(trial.is_open for trial in self.trials)

    def began(self, trial: int) -> None:
        self._append("began", trial)

    def report(
        self, trial: int, pairs: int, values: dict[str, float], by_seed: dict[str, list[float]], decision: str
    ) -> None:
        self._append("report", trial, pairs=pairs, values=values, by_seed=by_seed, decision=decision)

    def taken(self, trial: int, parameters: Parameters, source: int, source_pairs: int) -> None:
        self._append("taken", trial, parameters=parameters, source=source, source_pairs=source_pairs)

    def close_trial(self, trial: int, status: str, error: str = "") -> None:
        """The first end counts: what Tune does to a trial that has ended is no other end."""
        if self.trials[trial].is_open:
            self._append("closed", trial, status=status, error=error)

    def close(self) -> None:
        self._journal.close()
        self._lock.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> SearchRecord:
        return self  # Tune copies what holds it

    def __reduce__(self) -> Any:
        return (type(None), ())  # Tune pickles what holds it, and nothing reads that

    def _append(self, kind: str, trial: int | None = None, **fields: Any) -> Any:
        of = {} if trial is None else {"trial": trial}
        self._journal.append(kind, **of, **fields)
        changed = self._apply({"kind": kind, **of, **fields})
        if changed:
            self._write(changed)
            self.listener(kind, changed)
        return changed

    def _apply(self, entry: dict[str, Any]) -> TrialState | None:
        kind = entry["kind"]
        if kind == "start":
            self.settings, self.base = entry["settings"], entry.get("base")
            return None
        if kind == "exhausted":
            self.is_exhausted = True
            return None
        if kind == "point":
            self.trials.append(TrialState(entry["trial"], entry["parameters"]))
            return self.trials[-1]
        trial = self.trials[entry["trial"]]
        if kind == "report":
            self.reports.append((trial.trial, entry["pairs"], entry["values"]))
            trial.curve.append((entry["pairs"], entry["values"]))
            trial.by_seed[entry["pairs"]] = entry["by_seed"]
            trial.status = "stopped" if entry["decision"] == "STOP" else trial.status
        elif kind == "began":
            trial.status = "running"
        elif kind == "taken":
            self._take(trial, entry)
        elif kind == "closed":
            trial.status, trial.error = entry["status"], entry["error"]
        elif kind == "opened":
            trial.status, trial.error = "waiting", ""
        return trial

    def _take(self, trial: TrialState, entry: dict[str, Any]) -> None:
        """The curve of a trial is that of its weights: up to there it is the other trial's."""
        source, pairs = self.trials[entry["source"]], entry["source_pairs"]
        trial.parameters, trial.generation = entry["parameters"], trial.generation + 1
        trial.source = (source.trial, source.generation, pairs)
        trial.curve = [point for point in source.curve if point[0] <= pairs]
        trial.by_seed = {at: source.by_seed[at] for at, _ in trial.curve}

    def _write(self, trial: TrialState) -> None:
        folder = self.out / "trials" / f"{trial.trial:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        names = ("trial", "parameters", "status", "error", "generation", "source")
        content = {name: getattr(trial, name) for name in names}
        atomic.write_text(folder / TRIAL_NAME, json.dumps(content, indent=1))


def _difference(one: dict[str, Any] | None, other: dict[str, Any]) -> str:
    """Empty where nothing is different, or nothing is known of the earlier start."""
    if one is None:
        return ""
    keys = [key for key in one | other if key not in CHANGEABLE and one.get(key) != other.get(key)]
    text = "; ".join(f"{key}: {json.dumps(one.get(key))} -> {json.dumps(other.get(key))}" for key in keys)
    return connection.public_text(text)[:300]
