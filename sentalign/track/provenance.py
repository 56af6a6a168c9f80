"""Where a run comes from: the commit of the code, the interpreter, the packages, the GPUs, the user.

In: this process. Out: the fields of the journal's start entry that say so. What cannot be found is absent: a wheel has
no commit, a container may have no user.
"""

from __future__ import annotations

import contextlib
import getpass
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("sentalign", "torch", "deepspeed", "transformers", "webdataset")
GIT_SECONDS = 5.0


def fields(environ: Mapping[str, str]) -> dict[str, Any]:
    """`versions`, `ranks`, `nodes`, and where known `git`, `user` and `gpus`; `environ` has the rank's variables."""
    ranks = int(environ.get("WORLD_SIZE", 1))
    found: dict[str, Any] = {"versions": versions(), "ranks": ranks}
    found["nodes"] = max(1, ranks // max(1, int(environ.get("LOCAL_WORLD_SIZE", ranks))))
    found |= {"git": git} if (git := commit(Path(__file__).resolve())) else {}
    found |= {"user": user} if (user := user_name()) else {}
    return found | ({"gpus": gpus} if (gpus := gpu_names(ranks)) else {})


def versions() -> dict[str, str]:
    """Of Python, and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit(file: Path) -> dict[str, Any] | None:
    """The commit that a source file belongs to, and whether tracked files differ from it; None where git does not have
    the file, as in a wheel that is installed below somebody's repository.
    """
    try:
        _git(file, "ls-files", "--error-unmatch", file.name)
        dirty = _git(file, "status", "--porcelain", "--untracked-files=no")
        return {"commit": _git(file, "rev-parse", "HEAD"), "dirty": bool(dirty)}
    except (OSError, subprocess.SubprocessError):
        return None


def user_name() -> str | None:
    """The account; None in a container without one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def gpu_names(ranks: int) -> str | None:
    """`8 x NVIDIA H100`: one a rank; None without."""
    import torch

    return f"{ranks} x {torch.cuda.get_device_name()}" if torch.cuda.is_available() else None


def _git(file: Path, *words: str) -> str:
    command = ["git", "-C", str(file.parent), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    return done.stdout.strip()
