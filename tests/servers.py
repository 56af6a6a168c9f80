"""Real servers on loopback: an object store with the S3 and Google APIs, Azure's emulator, a faulty proxy.

A server is a process of its own that ends with the tests, also where these are killed.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import http.client
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO
from urllib.parse import urlsplit

import pytest

# PR_SET_PDEATHSIG: the kernel kills the server when the tests end, however they end.
BOUND = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
MOTO = "from moto.server import main; main()"
WAIT = 120  # seconds for a server to come up
NUMBERS = itertools.count()

# Any credentials do; Google's API finds the service in the token.
S3_KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_REGION": "us-east-1"}
GOOGLE_KEYS = {"GOOGLE_BEARER_TOKEN": "nobody/20260101/us-east-1/s3/aws4_request"}
# The account that every Azurite has (Azurite's README, "Default Storage Account").
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
FAMILIES = ("AWS_", "GOOGLE_", "AZURE_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """The URL of a server while it runs, from the moment that it takes connections."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-c", BOUND, *command], stdout=log, stderr=log)
        try:
            _wait_for(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    log.seek(0)
    pytest.fail(f"no server on port {port}, exit code {process.poll()}: {log.read().decode()[-2000:]}")


@contextlib.contextmanager
def s3_running() -> Iterator[str]:
    """A moto server of one's own, for tests that stop it or change its state."""
    port = free_port()
    with running([sys.executable, "-c", MOTO, "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with s3_running() as url:
        yield url


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but those of the test, no proxy, and no bucket that is still open from another test."""
    from sharding.store import locations

    for name in list(os.environ):
        if name.startswith(FAMILIES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    locations._open_bucket.cache_clear()


def use_s3(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Point this process, and those that it starts, at an S3 server."""
    for name, value in {**S3_KEYS, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)


def make_bucket(url: str) -> str:
    name = f"bucket{next(NUMBERS)}"  # no hyphen: obstore sends it to Google as %2D, which moto takes as it is
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()
    return name


@pytest.fixture
def s3(s3_server: str, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new bucket on an S3 server; the environment leads this and other processes to it."""
    use_s3(monkeypatch, s3_server)
    return f"s3://{make_bucket(s3_server)}"


@pytest.fixture
def gs(s3_server: str, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new bucket behind Google's XML interface, which is S3's but for the credentials."""
    for name, value in {**GOOGLE_KEYS, "GOOGLE_BASE_URL": s3_server, "GOOGLE_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    return f"gs://{make_bucket(s3_server)}"


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is not installed: npm install --global azurite")
    port = free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with running([program, *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)], port) as url:
        yield f"{url}/{AZURE_ACCOUNT}"


@pytest.fixture
def az(azure_server: str, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new container on Azure's emulator."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", azure_server)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    return f"az://{_make_container(azure_server)}"


def _make_container(url: str) -> str:
    """Signed as "Authorize with Shared Key" of the Azure Storage REST reference says; obstore makes no container."""
    name, version, date = f"container-{next(NUMBERS)}", "2021-12-02", email.utils.formatdate(usegmt=True)
    lines = ["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}"]
    lines += [f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}", "restype:container"]
    digest = hmac.new(base64.b64decode(AZURE_KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    signed = {"Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"}
    headers = {"x-ms-date": date, "x-ms-version": version, "Content-Length": "0", **signed}
    request = urllib.request.Request(f"{url}/{name}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request).close()
    return name


class Line(ThreadingHTTPServer):
    """A proxy to a server that injects faults: the next requests get those in `faults`, later ones pass.

    "503" and "500" are statuses, "drop" closes the connection without a response, "cut" after half of its body;
    "silence" never responds, "stall" hangs after half of the body. `always` has a fault for every request whose path
    contains a word ("" for all). `requests` and `connections` are counted, `sent` are paths and bytes of the bodies.
    """

    daemon_threads = True
    request_queue_size = 128  # of socketserver's five, two workers' read-ahead fills all at once, and the rest hangs

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.server, self.faults = urlsplit(server), list[str]()
        self.always = dict[str, str]()
        self.requests, self.connections, self.sent = list[str](), 0, list[tuple[str, int]]()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: clients disconnect from a faulty proxy."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"{self.command} {self.path}")
        fault = self.server.faults.pop(0) if self.server.faults else self._constant()
        if fault in ("drop", "silence"):
            if fault == "silence":
                self.server.closing.wait()
            self.close_connection = True
            return
        status, headers, answer = (int(fault), [], b"") if fault.isdigit() else self._forward(body)
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        if self.command != "HEAD" and "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        part = answer[: len(answer) // 2] if fault in ("cut", "stall") else answer
        self.server.sent.append((self.path, len(part)))  # before the client has it all, and looks
        self.wfile.write(part)
        if fault == "stall":
            self.wfile.flush()
            self.server.closing.wait()
        self.close_connection = fault in ("cut", "stall")

    def _constant(self) -> str:
        return next((fault for word, fault in self.server.always.items() if word in self.path), "")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        behind = http.client.HTTPConnection(str(self.server.server.hostname), self.server.server.port)
        with contextlib.closing(behind):
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def line(s3_server: str) -> Iterator[Line]:
    """A faulty proxy to the S3 server; `use_s3` leads to it."""
    with Line(s3_server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()
