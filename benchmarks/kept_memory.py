"""What a step on the CPU costs where freed memory stays with the process, against glibc's defaults.

    PYTHONPATH=. python benchmarks/kept_memory.py configs/phantom-cpu.yaml data.shards=SHARDS  (shards: see `make demo`)

One rank of one thread, its batch included, ROUNDS processes of each in turn: processor time of a step, the median over
its steps, and page faults. The last line is the median ratio of the processes that stand side by side.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sentalign.launch import local_ranks

ROUNDS, STEPS, FIRST = 4, 24, 6  # the first steps allocate
VARIABLE = "GLIBC_TUNABLES"


def main() -> None:
    environments = {"defaults": dict(os.environ), "kept memory": dict(os.environ)}
    environments["defaults"].pop(VARIABLE, None)
    environments["kept memory"][VARIABLE] = local_ranks.KEEP_MEMORY
    seconds: dict[str, list[float]] = {name: [] for name in environments}
    for _ in range(ROUNDS):
        for name, environ in environments.items():
            found = measured(environ)
            seconds[name].append(found["seconds"])
            print(f"{name:12} {found['seconds']:.3f} s   {found['faults']:,} page faults", flush=True)
    ratios = [kept / plain for plain, kept in zip(*seconds.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measured(environ: dict[str, str]) -> dict[str, float]:
    """The figures of one process."""
    command = [sys.executable, __file__, "--steps", *sys.argv[1:]]
    done = subprocess.run(
        command, env=environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def steps() -> None:
    """Trains STEPS steps in this process and prints what they took."""
    from benchmarks.levers import step_of
    from sentalign.engine import build

    port = str(local_ranks.free_port())
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"DS_ACCELERATOR": "cpu"}
    build.init_ranks(1)
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        step = step_of(sys.argv[2], sys.argv[3:], Path(folder))
        for _ in range(STEPS):
            started = time.process_time()
            step()
            spent.append(time.process_time() - started)
    build.leave_ranks()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    print(json.dumps({"seconds": statistics.median(spent[FIRST:]), "faults": faults}))


if __name__ == "__main__":
    steps() if "--steps" in sys.argv[1:2] else main()
