"""The command line of DeepSpeed's launcher for a training run on this host.

In: a config file, overrides, a number of ranks. Out: the words of the command and its environment. Nothing is started
here, and deepspeed is not imported: `sentalign train` becomes the launcher, `sentalign tune` starts it for each trial.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence

MODULE = "sentalign.train"


def command(config: str, overrides: Sequence[str], ranks: int, port: int | None = None) -> list[str]:
    """`deepspeed --num_gpus RANKS --module sentalign.train CONFIG ...`; ranks are processes where there is no GPU."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank"]
    # Always a port of its own: two runs on one host would meet at the default one.
    launcher += ["--num_gpus", str(ranks), "--master_port", str(port or free_port())]
    return [*launcher, "--module", MODULE, config, *overrides]


def environment(given: Mapping[str, str], ranks: int, gpus: int) -> dict[str, str]:
    """`given` with what ranks on CPU need: the accelerator named, and no more threads than cores."""
    made = dict(given)
    if gpus == 0:
        made.setdefault("DS_ACCELERATOR", "cpu")
        made.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    return made


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
