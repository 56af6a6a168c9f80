"""What a rank leaves behind when it fails: one line for the user, and where in the code it failed in the run folder.

In: an exception. Out: RUN/errors/rank-00003.txt and, where the peers were lost, a `LostContact`. The file names lines
of code and the exception's type; only messages about communication are kept, without addresses, since any other could
quote a report.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from torch.distributed import DistError

from sentalign.health import heartbeat

FOLDER = "errors"
# How messages of gloo and NCCL that reach Python as a plain RuntimeError can be recognised.
_COMMUNICATION = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Timed out waiting|[Ss]ocket")
_ADDRESS = re.compile(r"\S+<\d+>|\[[0-9a-fA-F:.]+\](?::\d+)?|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\([\w.-]+, \d+\)")


class LostContact(RuntimeError):
    """This rank lost its peers; the message is the user's one line."""


@contextmanager
def recorded(run: Path, rank: int, expected: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Records how the rank ends, in its heartbeat and in the run folder.

    Exceptions of the `expected` types, whose message is for the user, and Ctrl-C leave no file. Raises LostContact
    where the communication failed, any other exception unchanged.
    """
    try:
        yield
    except BaseException as error:
        phase, pairs = heartbeat.position()
        lost = is_communication(error)
        if not isinstance(error, (*expected, KeyboardInterrupt, SystemExit)):
            write(run, rank, error)
        heartbeat.end("lost contact" if lost else "failed")
        if not lost:
            raise
        raise LostContact(
            f"rank {rank} lost contact with its peers in phase {phase} after {pairs} pairs; see `sentalign doctor "
            f"hang --run {run}`; run the same command to go on"
        ) from None
    heartbeat.end("finished")


def is_communication(error: BaseException) -> bool:
    """Whether a collective failed because of another rank or the network."""
    return isinstance(error, DistError) or (type(error) is RuntimeError and bool(_COMMUNICATION.search(str(error))))


def write(run: Path, rank: int, error: BaseException) -> None:
    """Writes the lines of code that led to the error; does nothing where the folder cannot be written."""
    message = f": {_ADDRESS.sub('ADDRESS', str(error))}" if is_communication(error) else " (message left out)"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"  {_in_package(Path(frame.filename))}:{frame.lineno} {frame.name}" for frame in frames]
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = "\n".join([f"{when} rank {rank}", *lines, type(error).__name__ + message, ""])
    try:
        (run / FOLDER).mkdir(parents=True, exist_ok=True)
        (run / FOLDER / f"rank-{rank:05d}.txt").write_text(text, encoding="utf-8")
    except OSError:
        return


def _in_package(file: Path) -> str:
    """The path inside its package, without the folders of this machine."""
    parts = file.parts
    for root in ("site-packages", "sentalign", "sharding"):
        if root in parts:
            index = len(parts) - 1 - parts[::-1].index(root)
            return "/".join(parts[index + (root == "site-packages") :])
    return file.name
