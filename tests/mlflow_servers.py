"""MLflow's own server, and a PostgreSQL server for it, on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_port

ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int, store: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`mlflow server` with its files in a folder; `store` is by default a SQLite file there."""
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--backend-store-uri", store or f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "files"), "--host", "127.0.0.1", "--port", str(port)]
    with open(folder / "server.log", "ab") as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"],
            env={**os.environ, **ENVIRONMENT},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(server.pid, signal.SIGCONT)
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URI of a new PostgreSQL server with a password; skips where PostgreSQL is not installed."""
    initdb, postgres = _program("initdb"), _program("postgres")
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    port, password = free_port(), secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        if account:  # PostgreSQL does not run as root
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(folder / "password", "postgres", "postgres")
        data, log = folder / "data", open(folder / "log", "ab")  # noqa: SIM115
        made = [initdb, "-D", str(data), "-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={folder}/password"]
        subprocess.run([*made, "--no-sync"], check=True, cwd=folder, stdout=log, stderr=log, **account)
        options = [f"-p{port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories=", "-cfsync=off"]
        server = subprocess.Popen([postgres, "-D", str(data), *options], cwd=folder, stdout=log, stderr=log, **account)
        try:
            uri = f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{port}/postgres"
            _wait(uri, server, folder / "log")
            yield uri
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
            log.close()


def _wait(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(uri.replace("+psycopg2", "")).close()
            return
        time.sleep(0.1)
    pytest.fail("PostgreSQL did not start")


def _program(name: str) -> str:
    """On the path, or where Debian puts it."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    return found
