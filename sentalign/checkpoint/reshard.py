"""A checkpoint of one number of ranks → the engine of another, at ZeRO's stages 1 to 3.

In: a sound checkpoint folder. Out: the engine's weights and optimizer state. DeepSpeed's own converter cuts the ranks'
parts into one file a parameter ("universal checkpoint"); rank 0 runs it in a process of its own, whose memory goes with
it. It knows neither buffers nor frozen parameters (restore.load_rest). Stage 0 needs no conversion.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from sentalign import dist
from sentalign.checkpoint.write import TAG
from sentalign.health import heartbeat
from sharding.contract import UserError

log = logging.getLogger(__name__)
SUFFIX = ".universal"
PATIENCE = 10.0  # seconds after which the waiting ranks hear that the converter still works


def load(folder: Path, engine: Any, ranks: int) -> None:
    """Converts the checkpoint, which `ranks` ranks wrote, loads it and removes the conversion. Raises UserError."""
    if dist.rank() == 0:
        log.warning("%s was written by %d ranks, this is %d: converting it", folder, ranks, dist.ranks())
        for left in folder.parent.glob(f"*{SUFFIX}"):
            shutil.rmtree(left, ignore_errors=True)
    # A name of its own: the converter of a run that was killed may still be writing.
    made = dist.broadcast_object(folder.with_name(f"{folder.name}-{uuid.uuid4().hex[:8]}{SUFFIX}"))
    _converted(folder / TAG, made)
    # The engine was built before anyone knew that it would load a universal checkpoint; the setting has no other use.
    engine._config.load_universal_checkpoint = True
    try:
        path, _ = engine.load_checkpoint(str(made), tag=TAG)
        assert path, f"DeepSpeed loaded nothing from {made}"
    finally:
        engine._config.load_universal_checkpoint = False
    dist.barrier()
    if dist.rank() == 0:
        shutil.rmtree(made, ignore_errors=True)


def _converted(source: Path, made: Path) -> None:
    """Returns on all ranks when the converter is done. Raises UserError where it fails."""
    process = _converter(source, made / TAG) if dist.rank() == 0 else ""
    # Many short waits: no collective may last longer than train.timeout_minutes.
    while (said := dist.broadcast_object(process if isinstance(process, str) else _waited(process))) is None:
        heartbeat.tick()
    if said:
        shutil.rmtree(made, ignore_errors=True)
        raise UserError(f"{source.parent} cannot be converted for {dist.ranks()} ranks: {said}; use as many as before")


def _converter(source: Path, made: Path) -> subprocess.Popen[str] | str:
    """The running converter, or why it cannot run."""
    words = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    words += ["--input_folder", str(source), "--output_folder", str(made)]
    try:
        made.mkdir(parents=True)
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        return str(error)


def _waited(process: subprocess.Popen[str]) -> str | None:
    """None while the converter works, "" when it is done, its last words where it failed."""
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    return (errors.strip().splitlines() or ["no reason given"])[-1] if process.returncode else ""
