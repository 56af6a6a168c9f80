"""Heartbeats: each rank tells every second or so where it stands, and ends itself where it stands too long.

In: the loop's words (`phase`, `tick`). Out: RUN/heartbeat/rank-00003.json, replaced whole; a rank that stood still for
longer than its limit leaves with one line. A thread does all of it: the loop only stores what it was told. What the
heartbeats mean when put side by side is hang.py. No host name, path or value of the data is written.
"""

from __future__ import annotations

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
Ending = Literal["finished", "failed", "lost contact", "stood still"]


@dataclass(frozen=True)
class Heartbeat:
    """What a rank says of itself. `seconds`: since it last moved; `beat` counts up; `place`: where its code stands."""

    rank: int
    ranks: int
    local_rank: int
    node: int
    pid: int
    every: float
    beat: int = 0
    phase: str = "start"
    pairs: int = 0
    seconds: float = 0.0
    place: str = ""
    waits: bool = False  # the place lies inside a collective
    ended: Ending | None = None  # stays None where the process was killed


def path_of(run: Path, rank: int) -> Path:
    """Where a rank's heartbeat lies."""
    return run / FOLDER / f"rank-{rank:05d}.json"


def patience(timeout: float, longest_step: float, data_timeout: float) -> float:
    """Seconds that a rank may stand still in its data or its step, once it knows how long a step takes.

    `timeout` bounds it from above (train.timeout_minutes); twenty of its longest steps, the longest wait for a worker
    and five minutes from below.
    """
    return min(timeout, max(300.0, 20 * longest_step, data_timeout + 60))


class HeartbeatThread:
    """One rank's heartbeat, and its limit: longer than that it does not stand still, it ends its process."""

    def __init__(self, run: Path, said: Heartbeat, timeout: float, data_timeout: float) -> None:
        self.run, self.said = run, said
        self.timeout, self.data_timeout, self.longest = timeout, data_timeout, 0.0
        # Written by the loop's thread alone, as `said` is by the heart's: neither can overwrite the other's news.
        self.stands, self.moves = (said.phase, said.pairs), 0
        self._main = threading.main_thread().ident
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def limit(self) -> float:
        """Seconds. A collective that gives up by itself says more than a limit does, so it goes first."""
        knows_steps = self.longest > 0 and self.said.phase in ("data", "step")
        return GRACE + (patience(self.timeout, self.longest, self.data_timeout) if knows_steps else self.timeout)

    def start(self) -> None:
        path_of(self.run, self.said.rank).parent.mkdir(parents=True, exist_ok=True)
        self._write()
        self._thread.start()

    def end(self, ended: Ending) -> None:
        """The last heartbeat, written before this returns."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._beat(ended=ended)

    def _beat(self, **news: Any) -> None:
        phase, pairs = self.stands
        self.said = replace(self.said, beat=self.said.beat + 1, phase=phase, pairs=pairs, **news)
        self._write()

    def _beats(self) -> None:
        seen, quiet, woke = -1, 0.0, time.monotonic()
        while not self._stop.wait(self.said.every):
            now, moves = time.monotonic(), self.moves
            quiet = still(quiet, moves != seen, now - woke, self.said.every)
            seen, woke = moves, now
            place, waits = place_of(sys._current_frames().get(self._main or 0))
            self._beat(seconds=round(quiet, 1), place=place, waits=waits)
            if quiet > self.limit():
                self._leave(quiet)

    def _leave(self, quiet: float) -> None:
        said = self.said
        how = "has waited for its peers" if said.waits else "has stood still"
        print(
            f"error: rank {said.rank} {how} for {quiet:.0f} s in phase {said.phase} after {said.pairs} pairs "
            f"and ends; see `sentalign doctor hang {self.run}`; run the same command to go on",
            file=sys.stderr,
            flush=True,
        )
        self.end("lost contact" if said.waits else "stood still")
        os._exit(1)  # the main thread may wait in a collective that nothing ends

    def _write(self) -> None:
        try:
            atomic.write_text(path_of(self.run, self.said.rank), json.dumps(asdict(self.said)))
        except OSError:
            return  # a full or absent store must not end a run that could go on; its heart is then seen to stop


def still(quiet: float, moved: bool, elapsed: float, every: float) -> float:
    """Seconds without a move, one beat later. While the whole process is stopped (a suspended host, Ctrl-Z) it cannot
    move and the heart cannot beat: such a while counts as two beats at most.
    """
    return 0.0 if moved else quiet + min(elapsed, 2 * every)


def place_of(frame: FrameType | None) -> tuple[str, bool]:
    """The innermost line of this project that the frame stands in, as file:line function; whether in a collective."""
    waits = False
    while frame:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            inside = file.relative_to(_PACKAGE).as_posix()
            return f"{inside}:{frame.f_lineno} {frame.f_code.co_name}", waits or inside == "dist.py"
        waits = waits or any(part in file.as_posix() for part in _COLLECTIVES)
        frame = frame.f_back
    return "", waits


_heart: HeartbeatThread | None = None


def begin(run: Path, ranks: Mapping[str, str], timeout: float, data_timeout: float) -> None:
    """Starts this rank's heartbeat; `ranks` is launch.ranks_of_environment, times in seconds.

    Where it cannot be written there is none: whoever needs the run folder says so.
    """
    global _heart
    said = Heartbeat(
        rank=int(ranks.get("RANK", 0)),
        ranks=(world := int(ranks.get("WORLD_SIZE", 1))),
        local_rank=int(ranks.get("LOCAL_RANK", 0)),
        node=int(ranks.get("NODE_RANK", 0)),
        pid=os.getpid(),
        # A shared store sees at most 64 small writes a second, however many ranks there are.
        every=max(1.0, world / 64),
    )
    _heart = HeartbeatThread(run, said, timeout, data_timeout)
    try:
        if said.rank == 0:  # what an earlier launch left would pass for ranks that never came
            for path in (run / FOLDER).glob("rank-*.json"):
                path.unlink(missing_ok=True)  # of a rank that is there already, it comes back with its next beat
        _heart.start()
    except OSError:
        _heart = None


def phase(name: str, pairs: int | None = None) -> None:
    """This rank is now in that phase; costs two assignments."""
    assert name in PHASES, name
    if _heart:
        _heart.stands = (name, _heart.stands[1] if pairs is None else pairs)
        _heart.moves += 1


def tick() -> None:
    """This rank moves, within its phase."""
    if _heart:
        _heart.moves += 1


def each(items: Iterable[T]) -> Iterator[T]:
    """The items, with a tick for each."""
    for item in items:
        tick()
        yield item


def stepped(seconds: float) -> None:
    """A step was done, in so long: from now on the rank's patience follows from its longest one."""
    if _heart:
        _heart.longest = max(_heart.longest, seconds)


def end(ended: Ending) -> None:
    """The rank leaves; the last heartbeat says how."""
    global _heart
    if _heart:
        _heart.end(ended)
    _heart = None


def where() -> tuple[str, int]:
    """The phase and the pairs of this rank, for a message."""
    return _heart.stands if _heart else ("start", 0)
