"""The command and the environment that start the ranks of one host through DeepSpeed's launcher.

In: a module and its arguments, a number of ranks, the GPUs that this process sees. Out: a command line and an
environment. Nothing is started here: `sentalign train` becomes the launcher, `sentalign tune` starts it for each trial.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

from sharding.contract import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
# glibc returns the memory of each large tensor to the system and fetches it again, zeroed, page by page. With huge
# pages, and up to 1 GiB of free memory that stays with the process, a step on the CPU takes .85 of its time
# (docs/training.md). 32 MiB is the largest threshold that all versions accept; other C libraries ignore the variable.
KEEP_MEMORY = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"


def visible_gpus(environ: Mapping[str, str], count: int) -> list[int]:
    """The host's numbers of the `count` GPUs that this process sees; none with DS_ACCELERATOR=cpu.

    Raises UserError where CUDA_VISIBLE_DEVICES holds names (UUIDs) instead of numbers.
    """
    if environ.get("DS_ACCELERATOR") == "cpu":
        return []
    names = environ[VISIBLE].split(",")[:count] if VISIBLE in environ else list(map(str, range(count)))
    if not all(name.strip().isdecimal() for name in names):
        raise UserError(
            f"{VISIBLE}={environ[VISIBLE]} names GPUs, and DeepSpeed's launcher takes numbers only; "
            f"set the numbers that `nvidia-smi -L` prints, for example {VISIBLE}=0,1"
        )
    return list(map(int, names))


def command(module: str, arguments: Sequence[str], ranks: int, gpus: Sequence[int]) -> list[str]:
    """DeepSpeed's launcher of `python -m module`: one rank a GPU, or processes on the CPU where `gpus` is empty.

    Raises UserError where there are more ranks than GPUs.
    """
    if gpus and ranks > len(gpus):
        raise UserError(f"{ranks} ranks need a GPU each, and {len(gpus)} can be seen; set --ranks {len(gpus)}")
    # With --num_gpus the launcher ignores CUDA_VISIBLE_DEVICES and takes the first GPUs of the host.
    devices = ["--include", f"localhost:{','.join(map(str, gpus[:ranks]))}"] if gpus else ["--num_gpus", str(ranks)]
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank", *devices]
    # Always a port of its own: the default one could belong to another run on this host.
    return [*launcher, "--master_port", str(free_port()), "--module", module, *arguments]


def environment(environ: Mapping[str, str], ranks: int, gpus: Sequence[int]) -> dict[str, str]:
    """`environ` for the launcher: on the CPU with the accelerator, no more threads than cores, and kept memory."""
    if gpus:  # in --include; a second list would be ignored with a message
        return {name: value for name, value in environ.items() if name != VISIBLE}
    threads = max(1, (os.cpu_count() or 1) // ranks)
    return {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(threads), "GLIBC_TUNABLES": KEEP_MEMORY, **environ}


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port of this address that no process listens on at this moment; empty: of all this host's addresses."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
