"""The way to MLflow for the rest of the program: in the background of a training, or at once for a folder of runs.

In: the folders of runs and sweeps. Out: MLflow runs. A dead, slow or failing server never blocks or fails the training:
what was not sent stays in the folder for `sentalign track sync FOLDER`. The sending itself is in `track.mlflow`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sentalign.track.mlflow import connection, run_folder
from sentalign.track.mlflow.connection import Connection
from sentalign.track.mlflow.sender import RunSender
from sentalign.track.mlflow.tree import TreeSync
from sharding.contract import UserError

POLL_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
# That the end of a run waits: a server may hang, the file of a SQLite store may be new.
SERVER_SECONDS, FILE_SECONDS = 6.0, 30.0


class MlflowUploader:
    """Sends one run while its journal grows; rank 0 only. `uri` None: sends nothing."""

    def __init__(self, run: Path, uri: str | None, experiment: str, parent_run: str | None = None) -> None:
        self._run, self._seconds = run, FILE_SECONDS if uri and uri.startswith("sqlite:") else SERVER_SECONDS
        self._sender = RunSender(run, Connection(uri, experiment), parent_run, live=True) if uri else None
        self._closing, self._imported = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-upload", daemon=True)

    def start(self) -> None:
        """Starts the thread; waits for the import of mlflow (2.5 s), never for a server or a store.

        Two threads that import at the same time, or a fork during an import, can deadlock.
        """
        if self._sender:
            self._thread.start()
            self._imported.wait(timeout=60)

    def close(self, timeout: float | None = None) -> bool:
        """Sends what is left, for at most `timeout` seconds (default: by the store); True when everything was sent."""
        if not self._sender:
            return True
        self._closing.set()
        self._thread.join(self._seconds if timeout is None else timeout)
        if self._sender.complete:
            return True
        reason = f" ({self._sender.last_error})" if self._sender.last_error else ""
        command = f"sentalign track sync {self._run}"
        print(f"warning: MLflow does not have all of this run{reason}; send it later with: {command}", file=sys.stderr)
        return False

    def _work(self) -> None:
        assert self._sender
        pause = POLL_SECONDS
        try:
            connection.load()
        except UserError as error:
            self._sender.last_error = str(error)
            return
        finally:
            self._imported.set()
        while True:
            last_round = self._closing.is_set()
            try:
                self._sender.send()
                pause = POLL_SECONDS
            except Exception as error:  # whatever a server or a database driver raises, training goes on
                self._sender.last_error = connection.one_line(error)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            if last_round:
                return
            self._closing.wait(pause)


def sync_tree(
    folder: Path,
    uri: str,
    experiment: str,
    parent: str | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, str]:
    """Sends a run, or a sweep with all runs below it; MLflow run ids by path, that of the folder itself under ".".

    Prints nothing on stdout. Raises UserError: nothing to send, a store that cannot be reached, or, after all others
    were sent, runs that cannot be read.
    """
    if not run_folder.is_run(folder):
        raise UserError(f"no journal.jsonl in {folder}; give the folder of a run or of a sweep")
    tree = TreeSync(folder, Connection(uri, experiment), progress)
    with contextlib.redirect_stdout(sys.stderr):  # MLflow and alembic print
        tree.sync(folder, parent)
    if tree.damaged:
        more = f" (and {len(tree.damaged) - 1} more)" if len(tree.damaged) > 1 else ""
        raise UserError(f"{tree.damaged[0]}{more}; all other runs were sent")
    return tree.ids


def sync(run: Path, uri: str, experiment: str, parent: str | None = None) -> str:
    """`sync_tree`; the MLflow run id of the folder itself."""
    return sync_tree(run, uri, experiment, parent)["."]
