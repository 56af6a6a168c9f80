"""The checkpoint folders of a run: their names, which are complete, and which are kept.

In: a run folder. Out: RUN/checkpoints/pairs-000000012800, with the suffix .part while it is written and .gone while it
is removed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sentalign.checkpoint import checksums

FOLDER = "checkpoints"


def part_of(run: Path, pairs: int) -> Path:
    """Where the checkpoint of so many pairs is written before it gets its final name."""
    return run / FOLDER / f"pairs-{pairs:012d}.part"


def complete(run: Path) -> list[Path]:
    """The run's checkpoints under their final names, oldest first. Their files are not looked at."""
    return sorted(p for p in (run / FOLDER).glob("pairs-*") if p.is_dir() and not p.suffix)


def publish(part: Path) -> None:
    """Gives a checkpoint its final name, durably. Raises OSError."""
    final = part.with_suffix("")
    shutil.rmtree(final, ignore_errors=True)  # one of the same pairs exists only if it was damaged
    part.rename(final)
    checksums.durable(final.parent)


def retain(run: Path, newest: int, keep: int) -> None:
    """Removes all but the newest `keep` complete checkpoints up to `newest` pairs, and what killed runs left.

    A checkpoint of more pairs than the newest was damaged, and the run resumed from one before it.
    """
    last = part_of(run, newest).with_suffix("")
    whole = [folder for folder in complete(run) if folder <= last and checksums.has_all_sizes(folder)]
    every = set((run / FOLDER).glob("pairs-*"))
    for folder in [p for p in every if p.suffix]:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in {p for p in every if not p.suffix} - set(whole[-keep:]):
        # Renamed first: a kill halfway leaves nothing that looks like a checkpoint.
        shutil.rmtree(folder.rename(folder.with_suffix(".gone")), ignore_errors=True)
