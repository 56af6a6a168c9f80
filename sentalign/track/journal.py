"""The journal of a run: append-only `journal.jsonl`, one JSON object a line; the source of truth for every curve.

In: events of rank 0. Out: lines on the disk, and readers (`read`, `follow`, `metrics`). Nothing here waits for a
network: whatever MLflow shows can be rebuilt from this file (mlflow_uploader.py). Standard library only.

Kinds and their fields, besides `kind` and `time` (seconds since 1970):
    start       run, config (resolved), versions, pairs (0, or where a resumed run continues)
    metrics     step, pairs, one field a number        validation  pairs, one field a number
    attribution pairs (of a validation), one field a number; written when the background has computed it
    localization pairs (of a validation), one field a number; likewise, with `validation.boxes`
    picture     path (relative to the run), pairs      checkpoint, best  pairs, path or value
    warning     pairs, message
    end         status: finished | failed | interrupted | stopped
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sharding.contract import UserError

JOURNAL_NAME = "journal.jsonl"
# Lines that must survive a power cut; metrics are too many to fsync each of them.
DURABLE_KINDS = frozenset({"start", "validation", "localization", "checkpoint", "best", "end"})
_PREFIXES = {"metrics": ""} | dict.fromkeys(("validation", "attribution", "localization"), "validation/")
_NOT_METRICS = frozenset({"kind", "time", "step", "pairs"})

Entry = dict[str, Any]


class Journal:
    """Writes the journal of one run; one writer at a time (rank 0)."""

    def __init__(self, run: Path) -> None:
        """Opens or creates the journal in the folder `run`; a line torn by a crash is cut off."""
        run.mkdir(parents=True, exist_ok=True)
        self.path = run / JOURNAL_NAME
        # Unbuffered: one write per line, so that a killed process tears at most the last one.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._file.truncate(_whole(self.path.read_bytes()))

    def append(self, kind: str, **fields: Any) -> None:
        """Writes one line; DURABLE_KINDS are fsynced. Raises OSError."""
        entry = {"kind": kind, "time": round(time.time(), 3), **fields}
        self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        if kind in DURABLE_KINDS:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def follow(run: Path, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Whole lines from byte `offset` on, each with the offset after it; an incomplete last line is skipped.

    Raises UserError where a line in the middle is damaged.
    """
    path = run / JOURNAL_NAME
    if not path.is_file():
        return
    with open(path, "rb") as file:
        file.seek(offset)
        content = file.read()
    place = 0
    for line in content[: _whole(content)].splitlines(keepends=True):
        place += len(line)
        yield _parse(path, line, offset + place - len(line)), offset + place


def read(run: Path) -> list[Entry]:
    """All entries that count, in the order of writing (see `latest`). Raises UserError: no journal, or a damaged
    one.
    """
    if not (run / JOURNAL_NAME).is_file():
        raise UserError(f"no {JOURNAL_NAME} in {run}; give the folder of a run")
    return latest([entry for entry, _ in follow(run)])


def was_stopped(run: Path) -> bool:
    """Whether the run ended before its last step by a stop request; its exit code is 0 as that of a finished one."""
    ends = [entry["status"] for entry, _ in follow(run) if entry["kind"] == "end"]
    return ends[-1:] == ["stopped"]


def latest(entries: list[Entry]) -> list[Entry]:
    """For each (kind, pairs, path) the entry written last, without entries that a resumed run undid.

    The start line of a resumed run has the pairs P of its checkpoint: earlier entries with more than P pairs belong
    to lost work and are dropped. Entries without pairs are kept.
    """
    kept: dict[tuple[Any, ...], Entry] = {}
    for number, entry in enumerate(entries):
        pairs = entry.get("pairs")
        if entry["kind"] == "start" and pairs is not None:
            kept = {key: old for key, old in kept.items() if (old.get("pairs") or 0) <= pairs}
        key = (entry["kind"], pairs, entry.get("path")) if pairs is not None else (number,)
        kept.pop(key, None)
        kept[key] = entry
    return list(kept.values())


def metrics(entry: Entry) -> dict[str, float]:
    """The numbers of an entry by name; `validation/NAME` those of a validation, its attribution and localization."""
    prefix = _PREFIXES.get(entry["kind"])
    if prefix is None:
        return {}
    return {
        name if name.startswith(prefix) else prefix + name: float(value)
        for name, value in entry.items()
        if name not in _NOT_METRICS and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _whole(content: bytes) -> int:
    """Bytes up to the end of the last whole line; a last line that is no JSON (power cuts leave zeros) is not whole."""
    end = content.rfind(b"\n") + 1
    start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        json.loads(content[start:end] or b"{}")
    except ValueError:
        return start
    return end


def _parse(path: Path, line: bytes, offset: int) -> Entry:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "kind" not in entry:
        raise UserError(f"{path} is damaged at byte {offset}; delete that line to continue")
    return entry
