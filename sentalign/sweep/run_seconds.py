"""The time that trainings took, from their journals.

In: run folders. Out: seconds. Asked again, it reads only what is new, so that a table of many trials can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sentalign.track import journal


@dataclass
class _Read:
    """What was read of a journal: the seconds of starts that have ended, and the first and last time of the newest."""

    offset: int = 0
    earlier: float = 0.0
    started: float | None = None
    last: float = 0.0

    @property
    def seconds(self) -> float:
        return self.earlier + (self.last - self.started if self.started is not None else 0.0)


class RunSeconds:
    """The seconds of a training over all its starts; the time between two starts is not counted."""

    def __init__(self) -> None:
        self._runs: dict[Path, _Read] = {}

    def of(self, run: Path) -> float:
        read = self._runs.setdefault(run, _Read())
        for entry, offset in journal.follow(run, read.offset):
            read.offset = offset
            if entry["kind"] == "start":
                read.earlier, read.started = read.seconds, entry["time"]
            if entry["kind"] != "end":  # of a training that was killed it is written much later
                read.last = entry["time"]
        return read.seconds
