"""A connection to an MLflow store: the client, the experiment, and what a failure means for the user.

In: the URI of a store, the name of an experiment. Out: a `Connection`, or the exception that MLflow raises.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sharding.contract import UserError

# With MLflow's own defaults one call to a dead server blocks for four minutes (7 retries, 120 s each).
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout belongs to the command
}
# MLflow's page then opens with the views for training, not with those for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_CREDENTIALS = re.compile(r"(\w[\w+.-]*://)[^/\s'\"]*@")


class StoreError(UserError):
    """A store cannot be reached, or refuses what it is sent."""


class Connection:
    """A store and an experiment in it, connected to when first used; one connection serves many runs."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri, self.experiment = absolute(uri), experiment
        self._client: Any = None
        self.experiment_id = ""

    @property
    def client(self) -> Any:
        """The MlflowClient; connects at the first use. Raises whatever MLflow raises."""
        if self._client is None:
            with _creation_lock(self.uri):
                client = load().MlflowClient(tracking_uri=self.uri)
                self.experiment_id = _experiment(client, self.experiment, self.uri)
            self._client = client
        return self._client

    def exists(self, run_id: str) -> bool:
        """Whether the store has the run, not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise


def load() -> Any:
    """Imports mlflow (2.5 s). Raises UserError where it is not installed."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
        import mlflow.store.tracking.sqlalchemy_store
    except ImportError:
        raise UserError("mlflow is not installed; install it with: pip install 'sentalign[track]'") from None
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def absolute(uri: str) -> str:
    """The same SQLite file from every working folder (Ray and launchers change it); other stores as they are."""
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri or path.startswith("/") else f"sqlite:///{Path(path).expanduser().resolve()}"


def public(uri: str) -> str:
    """The address without user name and password: it is stored with the run and shown."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def public_text(text: str) -> str:
    """A text without the credentials of the addresses in it."""
    return _CREDENTIALS.sub(r"\1", text)


def one_line(error: BaseException) -> str:
    """The message of an exception, shortened."""
    return public_text(" ".join(str(error).split()) or type(error).__name__)[:200]


def remedy(reason: str) -> str:
    """What the user can do about an error of a store."""
    words = reason.lower()
    if "deleted" in words or "must be in the 'active' state" in words:
        return "restore the experiment in MLflow, or name another with --experiment"
    if any(sign in words for sign in ("401", "403", "unauthorized", "permission", "forbidden", "denied")):
        return "check the credentials in MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if any(sign in words for sign in ("no space", "disk", "readonly", "read-only", "locked")):
        return "check the disk and the rights of the database"
    if "schema" in words or "alembic" in words:
        return "upgrade the database with `mlflow db upgrade`, or use MLflow's version that made it"
    if "no module named" in words:
        return "install the driver of that database (postgresql+psycopg2://...: pip install psycopg2-binary)"
    return "check the address"


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
        return client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_experiment_by_name(name).experiment_id
