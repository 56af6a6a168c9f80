"""Long work → a bar with rate and remaining time on a terminal, nothing elsewhere.

In: how much there is to do, in items or bytes. Out: a bar on the error stream.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

Advance = Callable[[int], None]


class _Rate(ProgressColumn):
    """Items a second, once there is one."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextlib.contextmanager
def bar(what: str, total: int, in_bytes: bool = False) -> Iterator[Advance]:
    """A bar named `what`; the function that it gives says how much more was done, from any thread."""
    amounts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(), _Rate())
    columns = (TextColumn(what), BarColumn(), *amounts, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)
