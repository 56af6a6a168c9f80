"""The display of a running sweep: a table, drawn anew every two seconds, or one line per event elsewhere.

In: the content of trials.json at each change. Out: text on stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sentalign.sweep import content as content_of
from sentalign.sweep.content import SweepContent
from sentalign.sweep.live import progress, rows
from sentalign.sweep.live.events import SweepEvents
from sentalign.sweep.wording import printable

SHARE = 0.005  # of the time, at most, goes into reading contents
REFRESHES = 0.5  # a second: a table of 50 trials takes 20 ms to draw
SHOWN_ABOVE = ("failed", "end")  # what the table does not hold: errors in full, and the result


class SweepDisplay:
    """`with SweepDisplay() as display: display.update(content)`, however often; the last content is always shown."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._console = Console(file=self._stream)
        self._events, self._sweep = SweepEvents(), content_of.read({})
        self._unread: Mapping[str, Any] | None = None
        self._next_reading = float("-inf")
        self._live: Live | None = None

    def __enter__(self) -> SweepDisplay:
        self._started, self._speed = self._clock(), progress.Speed()
        if self._stream.isatty() and not self._console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=REFRESHES,
                redirect_stdout=sys.stdout.isatty(),  # what is printed into a file or pipe stays there
            )
            self._live.start()
        return self

    def update(self, content: Mapping[str, Any]) -> None:
        """Shows a newer content. Contents that come faster than they can be read cheaply are passed over."""
        self._unread = content
        if self._clock() >= self._next_reading:
            self._read()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._read()
        if self._live:
            self._live.stop()
        if self._sweep.trials:
            ending = self._events.end(self._sweep, self._clock() - self._started, interrupted=kind is not None)
            self._print(ending)

    def _read(self) -> None:
        if self._unread is None:
            return
        began = time.perf_counter()
        self._sweep, self._unread = content_of.read(self._unread), None
        self._speed.note(self._sweep, self._clock())
        for event, line in self._events.new(self._sweep):
            if not self._live or event in SHOWN_ABOVE:
                self._print(line)
        self._next_reading = self._clock() + (time.perf_counter() - began) / SHARE

    def _print(self, text: str) -> None:
        line = printable(text)  # names of settings and metrics come from files
        if self._live:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def _table(self) -> Group:
        """Called by the thread of `Live` too; a `SweepContent` does not change."""
        sweep: SweepContent = self._sweep
        size, now = self._console.size, self._clock()
        left = self._speed.seconds_left(sweep)
        heading = progress.heading(sweep, now - self._started, left)
        return Group(Text(heading, no_wrap=True, overflow="crop"), *rows.table(sweep, size.width, size.height - 2))
