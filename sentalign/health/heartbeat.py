"""Heartbeats: a thread of each rank writes the rank's phase every second or so, and ends a rank that hangs.

In: the loop's calls (`phase`, `tick`). Out: RUN/heartbeat/rank-00003.json, replaced atomically; a rank that makes no
progress for longer than its limit exits with one line. The loop only stores values; the thread does the rest. Comparing
the heartbeats of all ranks is hang.py. No host name, path or value of the data is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

from sharding.store import atomic

FOLDER = "heartbeat"
# In the order in which the loop passes through them at equal pairs.
PHASES = ("start", "restore", "validate", "save", "data", "step", "end")
GRACE = 5.0  # seconds
_PACKAGE = Path(__file__).resolve().parents[1]
_COLLECTIVES = ("/torch/distributed/", "/deepspeed/comm/")
T = TypeVar("T")
Ending = Literal["finished", "failed", "lost contact", "hung"]


@dataclass(frozen=True)
class Heartbeat:
    """One rank's state. `interval`, `idle`: seconds between heartbeats, and since the rank last made progress."""

    rank: int
    ranks: int
    local_rank: int
    node: int
    pid: int
    interval: float
    count: int = 0
    phase: str = "start"
    pairs: int = 0
    idle: float = 0.0
    line: str = ""  # of code, where the main thread is
    in_collective: bool = False
    ended: Ending | None = None  # stays None where the process was killed


def path_of(run: Path, rank: int) -> Path:
    """The file of a rank's heartbeat."""
    return run / FOLDER / f"rank-{rank:05d}.json"


def step_limit(timeout: float, longest_step: float, data_timeout: float) -> float:
    """Seconds that a rank may be idle in its data or its step, once it knows how long a step takes.

    At most `timeout` (train.timeout_minutes); at least twenty of its longest steps, the longest wait for a worker and
    five minutes.
    """
    return min(timeout, max(300.0, 20 * longest_step, data_timeout + 60))


class HeartbeatThread:
    """Writes one rank's heartbeat, and ends the process when the rank is idle for longer than its limit."""

    def __init__(self, run: Path, heartbeat: Heartbeat, timeout: float, data_timeout: float) -> None:
        self.run, self.heartbeat = run, heartbeat
        self.timeout, self.data_timeout, self.longest_step = timeout, data_timeout, 0.0
        # Written only by the main thread, as `heartbeat` is only by this one: neither overwrites the other's values.
        self.position, self.progress = (heartbeat.phase, heartbeat.pairs), 0
        self._main = threading.main_thread().ident
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def limit(self) -> float:
        """Seconds. A collective's own timeout explains more than this one, so it comes first."""
        knows_steps = self.longest_step > 0 and self.heartbeat.phase in ("data", "step")
        return GRACE + (step_limit(self.timeout, self.longest_step, self.data_timeout) if knows_steps else self.timeout)

    def start(self) -> None:
        path_of(self.run, self.heartbeat.rank).parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()

    def end(self, ended: Ending) -> None:
        """Stops the thread and writes the last heartbeat."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._update(ended=ended)

    def _update(self, **changes: Any) -> None:
        phase, pairs = self.position
        self.heartbeat = replace(self.heartbeat, count=self.heartbeat.count + 1, phase=phase, pairs=pairs, **changes)
        self._write()

    def _run(self) -> None:
        seen, idle, woke = -1, 0.0, time.monotonic()
        while not self._stop.wait(self.heartbeat.interval):
            now, progress = time.monotonic(), self.progress
            idle = idle_seconds(idle, progress != seen, now - woke, self.heartbeat.interval)
            seen, woke = progress, now
            line, in_collective = current_line(sys._current_frames().get(self._main or 0))
            self._update(idle=round(idle, 1), line=line, in_collective=in_collective)
            if idle > self.limit():
                self._exit()

    def _exit(self) -> None:
        last = self.heartbeat
        problem = "has waited for its peers" if last.in_collective else "hung"
        print(
            f"error: rank {last.rank} {problem} for {last.idle:.0f} s in phase {last.phase} after {last.pairs} pairs "
            f"and exits; see `sentalign doctor hang --run {self.run}`; run the same command to go on",
            file=sys.stderr,
            flush=True,
        )
        self.end("lost contact" if last.in_collective else "hung")
        os._exit(1)  # the main thread may be in a collective that never returns

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full or absent store ends the heartbeats, not the run
            atomic.write_text(path_of(self.run, self.heartbeat.rank), json.dumps(asdict(self.heartbeat)))


def idle_seconds(idle: float, progressed: bool, elapsed: float, interval: float) -> float:
    """Seconds without progress, one heartbeat later. While the whole process is stopped (a suspended host, Ctrl-Z)
    neither the rank nor this thread runs: such a time counts as two intervals at most.
    """
    return 0.0 if progressed else idle + min(elapsed, 2 * interval)


def current_line(frame: FrameType | None) -> tuple[str, bool]:
    """The innermost line of this project in the stack, as file:line function; whether it is in a collective."""
    in_collective = False
    while frame:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            inside = file.relative_to(_PACKAGE).as_posix()
            return f"{inside}:{frame.f_lineno} {frame.f_code.co_name}", in_collective or inside == "dist.py"
        in_collective = in_collective or any(part in file.as_posix() for part in _COLLECTIVES)
        frame = frame.f_back
    return "", in_collective


_thread: HeartbeatThread | None = None


def start(run: Path, environ: Mapping[str, str], timeout: float, data_timeout: float) -> None:
    """Starts this rank's heartbeat; `environ` has the rank's variables (launch/rank_environment.py), times in seconds.

    Where it cannot be written there is none: whatever needs the run folder reports that.
    """
    global _thread
    ranks = int(environ.get("WORLD_SIZE", 1))
    first = Heartbeat(
        rank=int(environ.get("RANK", 0)),
        ranks=ranks,
        local_rank=int(environ.get("LOCAL_RANK", 0)),
        node=int(environ.get("NODE_RANK", 0)),
        pid=os.getpid(),
        interval=max(1.0, ranks / 64),  # a shared store gets at most 64 small writes a second, for any number of ranks
    )
    _thread = HeartbeatThread(run, first, timeout, data_timeout)
    try:
        if first.rank == 0:  # heartbeats of an earlier launch would hide ranks that never start
            for path in (run / FOLDER).glob("rank-*.json"):
                path.unlink(missing_ok=True)  # that of a rank which is already running comes back
        _thread.start()
    except OSError:
        _thread = None


def phase(name: str, pairs: int | None = None) -> None:
    """This rank enters that phase; costs two assignments."""
    assert name in PHASES, name
    if _thread:
        _thread.position = (name, _thread.position[1] if pairs is None else pairs)
        _thread.progress += 1


def tick() -> None:
    """This rank makes progress within its phase."""
    if _thread:
        _thread.progress += 1


def ticking(items: Iterable[T]) -> Iterator[T]:
    """The items, with a tick for each."""
    for item in items:
        tick()
        yield item


def step_took(seconds: float) -> None:
    """Records the duration of a step: the rank's limit follows from its longest one."""
    if _thread:
        _thread.longest_step = max(_thread.longest_step, seconds)


def end(ended: Ending) -> None:
    """Stops the heartbeat; the last one records how the rank ended."""
    global _thread
    if _thread:
        _thread.end(ended)
    _thread = None


def position() -> tuple[str, int]:
    """The phase and the pairs of this rank, for a message."""
    return _thread.position if _thread else ("start", 0)
