"""What tracking costs a training while its MLflow server is healthy, dead, silent, failing or slow.

A step is a matrix product of about --step milliseconds and what the run logger writes of it. In each round a block of
steps without a store is followed by one whose uploader talks to a server with that fault. Printed: the median over
rounds of the ratio of their median step times; the processor time of the uploader's thread by wall time, which bounds
what it can take from the steps; the seconds by which the server delays the end of the run. Servers listen on the
loopback interface.

    PYTHONPATH=. python benchmarks/tracking.py [--rounds 7] [--seconds 4] [--step 40]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from sentalign.track.journal import Journal
from sentalign.track.mlflow_uploader import MlflowUploader

METRICS = {f"metric_{n}": 0.5 for n in range(12)}


@contextlib.contextmanager
def faulty(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that treats every request so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def store(fault: str, folder: Path) -> Iterator[str | None]:
    """The URI of a store with that fault."""
    if fault == "none":
        yield None
    elif fault == "SQLite":
        yield f"sqlite:///{folder}/mlflow.db"
    elif fault == "dead":
        yield "http://127.0.0.1:9"
    else:
        answers = {
            "silent": lambda handler: time.sleep(600),
            "failing (500)": lambda handler: handler.send_error(500),
            "slow (3 s, then 500)": late,
        }
        with faulty(answers[fault]) as uri:
            yield uri


def late(handler: Any) -> None:
    time.sleep(3)
    handler.send_error(500)


def block(run: Path, uri: str | None, seconds: float, size: int) -> tuple[float, float, float]:
    """Steps for some seconds: median step, processor time of other threads by wall time, seconds of the close."""
    matrix = torch.rand(size, size)
    uploader = MlflowUploader(run, uri, "benchmark")
    uploader.start()
    steps: list[float] = []
    began, others = time.monotonic(), time.process_time() - time.thread_time()
    with Journal(run) as book:
        book.append("start", run="run", config={"seed": 0}, pairs=0)
        while time.monotonic() - began < seconds:
            started = time.perf_counter()
            matrix @ matrix
            book.append("metrics", step=len(steps), pairs=8 * len(steps), **METRICS)
            steps.append(time.perf_counter() - started)
        spent = (time.process_time() - time.thread_time() - others) / (time.monotonic() - began)
        book.append("end", status="finished")
    closing = time.monotonic()
    with contextlib.redirect_stderr(io.StringIO()):
        uploader.close()
    return statistics.median(steps), spent, time.monotonic() - closing


def size_of(milliseconds: float) -> int:
    """The side of a square matrix whose product takes that long."""
    size = 256
    while True:
        matrix = torch.rand(size, size)
        started = time.perf_counter()
        for _ in range(5):
            matrix @ matrix
        if 200 * (time.perf_counter() - started) >= milliseconds:
            return size
        size = int(size * 1.15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a block")
    parser.add_argument("--step", type=float, default=40.0, help="milliseconds of a step")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = size_of(args.step)
    printed = Table("server", "step with / without", "lowest and highest round", "uploader's CPU", "end delayed by, s")
    with tempfile.TemporaryDirectory() as folder:
        block(Path(folder) / "warm", f"sqlite:///{folder}/mlflow.db", 1.0, size)
        for fault in ("none", "SQLite", "dead", "silent", "failing (500)", "slow (3 s, then 500)"):
            ratios, shares, delays = [], [], []
            for number in range(args.rounds):
                run = Path(folder) / f"{fault[:4]}-{number}"
                plain, _, _ = block(run / "plain", None, args.seconds, size)
                with store(fault, Path(folder)) as uri:
                    tracked, spent, delay = block(run / "tracked", uri, args.seconds, size)
                ratios.append(tracked / plain)
                shares.append(spent)
                delays.append(delay)
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            printed.add_row(
                fault,
                f"{statistics.median(ratios):.3f}",
                spread,
                f"{statistics.median(shares):.2%}",
                f"{max(delays):.1f}",
            )
    Console(width=110).print(printed)


if __name__ == "__main__":
    main()
