"""The real server in a process of its own, on a tiny random model."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.localize.conftest import save_run
from tests.servers import BOUND


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def json(self):
        return json.loads(self.body)


@dataclass
class Server:
    """`scratch` is its TMPDIR and working folder, `log` all that it printed so far."""

    port: int
    scratch: Path
    log: Path
    process: subprocess.Popen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, path: str, body: bytes | dict | None = None, method: str = "", **headers: str) -> Answer:
        """A request; a body that is a dictionary is sent as JSON. `_` in the names of headers stands for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})

    def open(self, file: Path | bytes) -> dict:
        """Opens a file, and returns what the page is told of it."""
        answer = self.ask("/api/pictures", file if isinstance(file, bytes) else file.read_bytes())
        assert answer.status == 201, answer.body
        return answer.json()


@contextlib.contextmanager
def serving(run: Path, scratch: Path, *options: str) -> Iterator[Server]:
    """The command `sentalign serve` while it runs."""
    scratch.mkdir()
    log = scratch.with_suffix(".log")
    words = ["-m", "sentalign", "serve", "--run", str(run), "--port", "0", *options]
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as output:
        command = [sys.executable, "-c", BOUND, sys.executable, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, cwd=scratch, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("serving "), line + log.read_text()
        yield Server(int(line.split(":")[2].split("/")[0]), scratch, log, process)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def served_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("served"), {"image_size": 96, "long_side": 80})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, served_run: Path) -> Iterator[Server]:
    with serving(served_run, tmp_path_factory.mktemp("serve") / "scratch", "--max-upload-mb", "1") as running:
        yield running
