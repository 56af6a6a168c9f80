"""The newest sound checkpoint → the engine, for any number of ranks and ZeRO stage.

In: a run folder. Out: `Progress`, and the engine as it was. All ranks agree on the checkpoint: each checks a share of
the files, and one bad file is enough to use the checkpoint before. Only JSON and safetensors are read.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import safe_open

from sentalign import dist
from sentalign.checkpoint import checksums, folders, full_state
from sentalign.checkpoint.write import FORMAT, STATE, Progress
from sharding.contract import UserError

log = logging.getLogger(__name__)


def restore(run: Path, engine: Any) -> Progress | None:
    """Loads the newest sound checkpoint into the engine; None if the run has none at all. Raises UserError."""
    newest = newest_sound(run)
    if newest is None:
        return None
    folder, state = newest
    if state.get("format") != FORMAT:
        raise UserError(
            f"{folder} was written by another version of sentalign; finish the run with that version, or set another "
            "run="
        )
    with ExitStack() as stack:
        # Opened, not read: each tensor is in memory only while it is copied.
        files = [stack.enter_context(safe_open(path, "pt")) for path in sorted(folder.rglob("*.safetensors"))]
        file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        full_state.load(engine, file_of, lambda name: file_of[name].get_tensor(name))
    engine.skipped_steps = state["skipped_steps"]
    return Progress(**state["progress"])


def newest_sound(run: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint whose files match its index, and its state.json; the same on all ranks.

    Each one that is skipped is one line of warning. Raises UserError if there are some and none is sound.
    """
    damaged = []
    for folder in reversed(dist.broadcast_object(folders.complete(run) if dist.rank() == 0 else [])):
        mismatch = _agreed_mismatch(folder)
        state = dist.broadcast_object(mismatch or (_state(folder) if dist.rank() == 0 else ""))
        if isinstance(state, dict):
            return folder, state
        damaged.append(f"{folder.name}: {state}")
        if dist.rank() == 0:
            log.warning("warning: checkpoint %s is skipped: %s", folder, state)
    if damaged:
        raise UserError(f"no checkpoint of {run} is sound ({damaged[0]}); put a copy back, or set another run=")
    return None


def _agreed_mismatch(folder: Path) -> str | None:
    """The first mismatch that a rank found; the ranks share the files, largest first."""
    entries = dist.broadcast_object(checksums.read(folder) if dist.rank() == 0 else {})
    if isinstance(entries, str):
        return entries
    names = sorted(entries, key=lambda name: (-entries[name]["bytes"], name))[dist.rank() :: dist.ranks()]
    mismatch = next((m for name in names if (m := checksums.mismatch(folder, name, entries[name]))), None)
    bad = [rank for rank, (found,) in enumerate(dist.of_all_ranks([mismatch is not None])) if found]
    return dist.broadcast_object(mismatch, bad[0]) if bad else None


def _state(folder: Path) -> dict[str, Any] | str:
    """state.json, or why it cannot be used."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if state.get("format") == FORMAT:
            Progress(**state["progress"]), state["skipped_steps"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{STATE} cannot be read ({' '.join(str(error).split())})"
    return state
