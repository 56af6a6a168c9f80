"""A folder of runs → nested MLflow runs: a sweep, its trials, the seeds of a trial.

In: a folder, a store. Out: the MLflow run ids of all folders. However the outage went, each run is nested in that of
the folder above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sentalign.track.mlflow import run_folder, sweep_summary
from sentalign.track.mlflow.connection import Connection, StoreError, one_line, public, remedy
from sentalign.track.mlflow.sender import RunSender
from sharding.contract import UserError

LOCKED_SECONDS, PAUSE_SECONDS = 10.0, 0.5
T = TypeVar("T")


class TreeSync:
    """Sends a folder and all runs below it; `ids` are the MLflow runs by path, the folder itself under "."."""

    def __init__(self, top: Path, connection: Connection, progress: Callable[[str], None]) -> None:
        """`progress` gets the path of each run that was sent."""
        self._top, self._connection, self._progress = top, connection, progress
        self.ids: dict[str, str] = {}
        self.damaged: list[str] = []  # what is wrong with runs that could not be read

    def sync(self, folder: Path, parent: str | None, over: bool = False) -> None:
        """`over`: the sweep has ended, so that no run in it is running. Raises StoreError."""
        name = folder.relative_to(self._top).as_posix()
        try:
            self.ids[name] = run_id = self._send(folder, parent, over)
        except StoreError:
            raise
        except UserError as error:
            self.damaged.append(str(error))
            return
        self._progress(name)
        below = run_folder.children(folder)
        over = bool(below) and run_folder.ending(folder, time.time(), over) is not None
        for child in below:
            self.sync(child, run_id, over)
        if below:
            self._reach(lambda: sweep_summary.send(self._connection.client, run_id, folder))

    def _send(self, folder: Path, parent: str | None, over: bool) -> str:
        """One folder; waits a little where its training sends at the same time."""
        sender = RunSender(folder, self._connection, parent, over=over)
        deadline = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return self._reach(sender.send)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise UserError(f"{folder}: {error}; try again later") from None
                time.sleep(PAUSE_SECONDS)

    def _reach(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (UserError, BlockingIOError):
            raise
        except Exception as error:  # whatever a server or a database driver raises
            why = one_line(error)
            message = f"{public(self._connection.uri)} did not accept the run ({why}); {remedy(why)}"
            raise StoreError(message) from None
