"""A checkpoint as the beginning of another run: same weights, optimizer state and place in the stream, other settings.

In: a run folder and pairs. Out: hard links to a checkpoint, which outlive it; a run folder that resumes from one. What
the settings decide (learning rate, weights and temperatures of the loss that are not learned) is of the new run.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from sentalign.checkpoint import checksums, folders
from sharding.contract import UserError
from sharding.store import atomic

STATE, TOKENIZER = "state.json", "tokenizer"


def name_of(pairs: int) -> str:
    return folders.part_of(Path(), pairs).stem


def checkpoint(run: Path, pairs: int) -> Path:
    return run / folders.FOLDER / name_of(pairs)


def keep(run: Path, pairs: int, into: Path) -> None:
    """Hard links to the checkpoint of so many pairs, as `into/pairs-000000012800`. Raises OSError where it is gone."""
    target = into / name_of(pairs)
    if not target.is_dir():
        into.mkdir(exist_ok=True)
        with atomic.new_folder(target) as fresh:
            shutil.copytree(checkpoint(run, pairs), fresh, copy_function=os.link, dirs_exist_ok=True)


def fork(source: Path, run: Path, target: Path) -> None:
    """Makes `target` a run folder that resumes from a checkpoint of `run`; its best validation is still to come.

    Raises UserError where the checkpoint is gone.
    """
    if not source.is_dir():
        raise UserError(f"{source} is gone, and with it what another trial should have continued")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_folder(target) as fresh:
        copied = fresh / folders.FOLDER / source.name
        shutil.copytree(source, copied, copy_function=os.link)
        state = json.loads((copied / STATE).read_text(encoding="utf-8"))
        state["progress"]["best"] = None  # losses of other settings cannot be compared
        atomic.write_text(copied / STATE, json.dumps(state, indent=1))
        checksums.renew(copied, STATE)
        shutil.copytree(run / TOKENIZER, fresh / TOKENIZER)
