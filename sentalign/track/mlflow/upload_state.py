"""RUN/mlflow_upload.json: what each store has of a run, so that a restarted upload continues the same MLflow run.

In: the folder of a run, the URI of a store (without credentials). Out: an `UploadState`, read and written whole; a lock
that keeps two processes from sending the same run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sharding.store import atomic

STATE_NAME = "mlflow_upload.json"


@dataclass
class UploadState:
    """`offset`: bytes of the journal that were sent; `system`: of each file of system metrics.

    `parent` is the MLflow run that `track sync` nested the run in; `results` are the files of RUN/results that were
    sent, `model` the checksum of the weights that were.
    """

    run_id: str = ""
    experiment: str = ""
    offset: int = 0
    parent: str | None = None
    system: dict[str, int] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    model: str = ""


def read(run: Path, uri: str) -> UploadState:
    """The state of a store; an empty one where nothing was sent there."""
    stored = _all(run).get(uri, {})
    return UploadState(**{one.name: stored[one.name] for one in fields(UploadState) if one.name in stored})


def write(run: Path, uri: str, state: UploadState) -> None:
    """Replaces the state of a store."""
    known = {name: value for name, value in asdict(state).items() if value or name in ("run_id", "offset")}
    others = {name: stored for name, stored in _all(run).items() if name != uri}
    atomic.write_text(run / STATE_NAME, json.dumps(others | {uri: known}, indent=1))


def last_store(run: Path) -> tuple[str, UploadState] | None:
    """The store that the run was last sent to."""
    stored = _all(run)
    return (uri := list(stored)[-1], read(run, uri)) if stored else None


@contextlib.contextmanager
def only_sender(run: Path) -> Iterator[None]:
    """Raises BlockingIOError while another process sends this run: two would make two MLflow runs of it."""
    folder = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError("another process is sending this run") from None
        except OSError:
            pass  # some network file systems have no locks for folders
        yield
    finally:
        os.close(folder)


def _all(run: Path) -> dict[str, dict[str, Any]]:
    path = run / STATE_NAME
    return json.loads(path.read_text()) if path.is_file() else {}
