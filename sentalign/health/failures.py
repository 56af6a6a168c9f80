"""What a rank leaves behind when it fails: one line for the user, the way to the failure in the run folder.

In: an exception. Out: RUN/errors/rank-00003.txt and, where it was the peers that were lost, a `LostContact`. The file
names lines of code and the exception's type; of messages only those of the communication are kept, without addresses,
since any other could quote a report.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from torch.distributed import DistError

from sentalign.engine.nonfinite import NotFiniteError
from sentalign.health import heartbeat
from sentalign.model.pretrained import WeightsError
from sharding.contract import UserError

FOLDER = "errors"
# How gloo and NCCL begin or name what reaches Python as a plain RuntimeError.
_OF_PEERS = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Timed out waiting|[Ss]ocket", re.ASCII)
_ADDRESS = re.compile(r"\S+<\d+>|\[[0-9a-fA-F:.]+\](?::\d+)?|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\([\w.-]+, \d+\)")


class LostContact(RuntimeError):
    """This rank lost its peers; the message is the user's one line."""


@contextmanager
def told(run: Path, rank: int) -> Iterator[None]:
    """How the rank ends is told to its heartbeat and to the run folder. Raises LostContact, or as it came."""
    try:
        yield
    except (UserError, WeightsError, NotFiniteError, KeyboardInterrupt, SystemExit):
        heartbeat.end("failed")
        raise
    except Exception as error:
        phase, pairs = heartbeat.where()
        record(run, rank, error)
        lost = is_of_peers(error)
        heartbeat.end("lost contact" if lost else "failed")
        if not lost:
            raise
        raise LostContact(
            f"rank {rank} lost contact with its peers in phase {phase} after {pairs} pairs; see `sentalign doctor "
            f"hang {run}`; run the same command to go on"
        ) from None
    heartbeat.end("finished")


def is_of_peers(error: Exception) -> bool:
    """Whether a collective failed because another rank or the network did."""
    return isinstance(error, DistError) or (type(error) is RuntimeError and bool(_OF_PEERS.search(str(error))))


def record(run: Path, rank: int, error: Exception) -> None:
    """Writes the lines of code that led to the error; where that cannot be written, nothing."""
    message = f": {_ADDRESS.sub('ADDRESS', str(error))}" if is_of_peers(error) else " (message left out)"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"  {_inside(Path(frame.filename))}:{frame.lineno} {frame.name}" for frame in frames]
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = "\n".join([f"{when} rank {rank}", *lines, type(error).__name__ + message, ""])
    try:
        (run / FOLDER).mkdir(parents=True, exist_ok=True)
        (run / FOLDER / f"rank-{rank:05d}.txt").write_text(text, encoding="utf-8")
    except OSError:
        return


def _inside(file: Path) -> str:
    """The path inside its package, without the folders of this machine."""
    parts = file.parts
    for root in ("site-packages", "sentalign", "sharding"):
        if root in parts:
            index = len(parts) - 1 - parts[::-1].index(root)
            return "/".join(parts[index + (root == "site-packages") :])
    return file.name
