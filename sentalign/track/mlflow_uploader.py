"""Uploads the journal of a run to MLflow, in the background: the only importer of mlflow.

In: `journal.jsonl`, config.yaml and pictures of a run's folder. Out: an MLflow run (params, metrics with step = pairs,
artifacts, tags) and `mlflow_upload.json`, the offset up to which the journal was sent, so that a restarted training
continues the same MLflow run. A dead, slow or failing server never blocks or fails the training: what was not sent
stays in the journal for `sentalign track sync --run RUN`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sentalign.track import journal
from sharding.contract import UserError
from sharding.store import atomic

STATE_NAME = "mlflow_upload.json"
POLL_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
LINES_PER_ROUND = 400
# Limits of MLflow 3 (mlflow.utils.validation): characters of a value, values per call.
PARAM_CHARACTERS, PARAMS_PER_CALL, METRICS_PER_CALL = 6000, 100, 1000
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "stopped": "KILLED"}
# With MLflow's own defaults one call to a dead server blocks for four minutes (7 retries, 120 s each).
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MlflowUploader:
    """Sends one run's journal while it grows; rank 0 only. `uri` None: sends nothing."""

    def __init__(self, run: Path, uri: str | None, experiment: str, parent_run: str | None = None) -> None:
        self._run = run
        self._sender = _Sender(run, absolute(uri), experiment, parent_run) if uri else None
        self._closing, self._imported = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-upload", daemon=True)

    def start(self) -> None:
        """Starts the thread; waits for the import of mlflow (2.5 s), never for a server or a store.

        Two threads that import at the same time, or a fork during an import, can deadlock.
        """
        if self._sender:
            self._thread.start()
            self._imported.wait(timeout=60)

    def close(self, timeout: float = 20.0) -> bool:
        """Sends what is left, for at most `timeout` seconds; True when the whole journal was sent."""
        if not self._sender:
            return True
        self._closing.set()
        self._thread.join(timeout)
        if self._sender.complete:
            return True
        reason = f" ({self._sender.last_error})" if self._sender.last_error else ""
        command = f"sentalign track sync --run {self._run}"
        print(f"warning: MLflow does not have all of this run{reason}; send it later with: {command}", file=sys.stderr)
        return False

    def _work(self) -> None:
        assert self._sender
        pause = POLL_SECONDS
        try:
            _mlflow()
        finally:
            self._imported.set()
        while True:
            last_round = self._closing.is_set()
            try:
                self._sender.send()
                pause = POLL_SECONDS
            except Exception as error:  # whatever a server or a database driver raises, training goes on
                self._sender.last_error = _one_line(error)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            if last_round:
                return
            self._closing.wait(pause)


def sync(run: Path, uri: str, experiment: str, parent_run: str | None = None) -> str:
    """Sends what MLflow does not have of a run's journal and waits for it; returns the MLflow run id.

    Raises UserError where `run` has no journal or the store cannot be reached.
    """
    journal.read(run)
    sender = _Sender(run, absolute(uri), experiment, parent_run)
    try:
        return sender.send()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{_public(uri)} did not accept the run ({(why := _one_line(error))}); {_remedy(why)}"
        ) from None


def absolute(uri: str) -> str:
    """The same SQLite file from every working folder (Ray and launchers change it); other stores as they are."""
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri or path.startswith("/") else f"sqlite:///{Path(path).expanduser().resolve()}"


def _remedy(reason: str) -> str:
    words = reason.lower()
    if "deleted" in words or "must be in the 'active' state" in words:
        return "restore the experiment in MLflow, or name another with --experiment"
    if any(sign in words for sign in ("401", "403", "unauthorized", "permission", "forbidden", "denied")):
        return "check the credentials in MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if any(sign in words for sign in ("no space", "disk", "readonly", "read-only", "locked")):
        return "check the disk and the rights of the database"
    if "schema" in words or "alembic" in words:
        return "upgrade the database with `mlflow db upgrade`, or use MLflow's version that made it"
    return "check the address"


class _Sender:
    """Brings one MLflow run up to date with one journal; not thread-safe."""

    def __init__(self, run: Path, uri: str, experiment: str, parent_run: str | None) -> None:
        self._run, self._uri, self._experiment, self._parent = run, uri, experiment, parent_run
        self._client: Any = None
        self._run_id = ""
        self._offset = 0
        self.complete, self.last_error = False, ""

    def send(self) -> str:
        """One round: all journal lines after the last round. Raises whatever MLflow raises."""
        self.complete = False
        if self._client is None:
            self._connect()
        lines = list(journal.follow(self._run, self._offset))
        # A replay from the start skips what a resumed training repeated; a growing journal is sent as it comes.
        wanted = {id(entry) for entry in journal.latest([entry for entry, _ in lines])}
        for first in range(0, len(lines), LINES_PER_ROUND):
            part = lines[first : first + LINES_PER_ROUND]
            self._send_entries([entry for entry, _ in part if id(entry) in wanted])
            self._store_offset(part[-1][1])
        self.complete, self.last_error = True, ""
        return self._run_id

    def _connect(self) -> None:
        mlflow = _mlflow()
        with _creation_lock(self._uri):
            client = mlflow.MlflowClient(tracking_uri=self._uri)
            experiment_id = _experiment(client, self._experiment, self._uri)
        state = _state(self._run).get(_public(self._uri), {})
        self._run_id, self._offset = state.get("run_id", ""), state.get("offset", 0)
        if not (self._run_id and _exists(client, self._run_id)):
            tags = {"mlflow.source.name": "sentalign"}
            created = client.create_run(experiment_id, run_name=self._run.resolve().name, tags=tags)
            self._run_id = created.info.run_id
            self._store_offset(0)
        if self._parent:
            client.set_tag(self._run_id, "mlflow.parentRunId", self._parent)
        self._client = client

    def _store_offset(self, offset: int) -> None:
        self._offset = offset
        states = _state(self._run)
        states[_public(self._uri)] = {"run_id": self._run_id, "experiment": self._experiment, "offset": offset}
        atomic.write_text(self._run / STATE_NAME, json.dumps(states, indent=1))

    def _send_entries(self, entries: list[journal.Entry]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(_name(name), value, round(entry["time"] * 1000), entry.get("pairs", 0))
            for entry in entries
            for name, value in journal.metrics(entry).items()
        ]
        for first in range(0, len(metrics), METRICS_PER_CALL):
            self._client.log_batch(self._run_id, metrics=metrics[first : first + METRICS_PER_CALL])
        for entry in entries:
            if entry["kind"] == "start":
                self._send_start(entry)
            elif entry["kind"] == "picture":
                self._send_file(entry["path"])
            elif entry["kind"] == "best":
                self._client.set_tag(self._run_id, "best.pairs", entry.get("pairs"))
            elif entry["kind"] == "end":
                self._client.set_terminated(self._run_id, STATUS.get(entry.get("status", ""), "FAILED"))

    def _send_start(self, entry: journal.Entry) -> None:
        from mlflow.entities import Param

        run = self._client.get_run(self._run_id)
        if run.info.status != "RUNNING":
            self._client.update_run(self._run_id, status="RUNNING")
        # A param cannot change in MLflow: a resumed run with another data.workers keeps the first value.
        params = [
            Param(_name(key), _public(str(value)) if key.endswith("uri") else str(value)[:PARAM_CHARACTERS])
            for key, value in _flat(entry.get("config", {})).items()
            if _name(key) not in run.data.params
        ]
        for first in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=params[first : first + PARAMS_PER_CALL])
        for name, version in _flat(entry.get("versions", {})).items():
            self._client.set_tag(self._run_id, f"version.{_name(name)}", version)
        self._send_file("config.yaml")

    def _send_file(self, path: str) -> None:
        file = self._run / path
        if file.is_file():
            folder = Path(path).parent.as_posix() if not Path(path).is_absolute() else "pictures"
            self._client.log_artifact(self._run_id, str(file), None if folder == "." else folder)


def _mlflow() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    import mlflow.store.tracking.sqlalchemy_store

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


@contextlib.contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """A file lock: two processes that create the same SQLite store at the same time break it."""
    path = uri.removeprefix("sqlite:///")
    if path == uri:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _experiment(client: Any, name: str, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found:
        return found.experiment_id
    path = uri.removeprefix("sqlite:///")
    # By default a SQLite store puts artifacts into the working folder of the process.
    location = None if path == uri else (Path(path).parent / "mlartifacts").as_uri()
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_experiment_by_name(name).experiment_id


def _exists(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _state(run: Path) -> dict[str, dict[str, Any]]:
    path = run / STATE_NAME
    return json.loads(path.read_text()) if path.is_file() else {}


def _public(uri: str) -> str:
    """The address without user name and password: it is stored with the run and shown."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _name(name: str) -> str:
    """A name that MLflow accepts: letters, digits and `_-. :/`, at most 250."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
