"""One training over several nodes of a Ray cluster: `python -m sentalign.sweep.search.multinode ... COMMAND ...`.

In: the command of one rank, whose last `run=` names the run folder (JSON), on a disk that all nodes share. Out: a
finished run; exit code 0, 2 where a rank found a mistake of the user, else 1. Ray Train places one worker on each node,
and each starts the ranks of its node. This is a process of its own, since Ray ends all that a killed driver has
started; of a training that Tune stops inside of a trial it leaves the placement group.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sentalign.sweep.search.node_ranks import RANK_FAILED, STOP_NAME, run_node
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.plan import RAY_FOLDER
from sentalign.sweep.trial.training import USER_ERROR
from sharding import ray_cluster
from sharding.contract import UserError

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # what another training leaves is free only after its end
}


def command(sweep: Sweep, rank: Sequence[str]) -> tuple[str, ...]:
    """What starts a training of `sweep`, before the words of its configuration; `rank`: the program of a rank."""
    sizes = {"nodes": sweep.nodes, "ranks": sweep.ranks, "cpus": sweep.cpus, "gpus": sweep.gpus}
    words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    words += ["--storage", str(sweep.out / RAY_FOLDER)]
    return (sys.executable, "-m", __name__, *words, *rank)


def main(words: Sequence[str] | None = None) -> int:
    """Trains, and returns the exit code. SIGTERM lets the ranks save and end."""
    parser = argparse.ArgumentParser(__name__)
    for name in ("nodes", "ranks", "gpus"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--cpus", type=float, required=True)
    parser.add_argument("--storage", required=True, help="folder that Ray Train writes to; all nodes share it")
    parser.add_argument("rank", nargs=argparse.REMAINDER)
    args = parser.parse_args(words)
    run = Path(json.loads([word for word in args.rank if word.startswith("run=")][-1].removeprefix("run=")))
    (run / STOP_NAME).unlink(missing_ok=True)
    os.environ |= ENVIRONMENT
    try:
        ray = ray_cluster.start()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: (run / STOP_NAME).touch())  # Ray's own handler ends the process
    try:
        return _fit(args, run)
    finally:
        (run / STOP_NAME).unlink(missing_ok=True)
        ray.shutdown()


def _fit(args: argparse.Namespace, run: Path) -> int:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": args.cpus / args.nodes, "GPU": args.gpus / args.nodes}
    trainer = TorchTrainer(
        run_node,
        train_loop_config={
            "command": args.rank,
            "run": str(run),
            "folder": os.getcwd(),
            "ranks": args.ranks // args.nodes,
            "on_cpu": not args.gpus,
        },
        torch_config=TorchConfig(backend="gloo"),  # the ranks have a process group of their own, on the GPUs
        scaling_config=ScalingConfig(
            num_workers=args.nodes,
            use_gpu=bool(args.gpus),
            resources_per_worker={name: count for name, count in resources.items() if count},
            placement_strategy="STRICT_SPREAD",
        ),
        # Nothing is reported to it, so nothing is copied: checkpoints stay in the run folder. Retries are the sweep's.
        run_config=RunConfig(
            name=f"training-{os.getpid()}", storage_path=args.storage, failure_config=FailureConfig(max_failures=0)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        codes = re.findall(RANK_FAILED.format(r"\d+", r"(-?\d+)"), str(error))
        if not codes:  # no `error:`, which would count as the training's own
            print(f"lost a node or its placement: {str(error).strip().splitlines()[-1][:200]}", file=sys.stderr)
        return USER_ERROR if str(USER_ERROR) in codes else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
