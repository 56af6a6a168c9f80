"""`sentalign study STUDY`: named trainings over several seeds, and one table of what they reach.

In: a study file. Out: study.json, table.md, index.html and plots/FIGURE.svg in its folder. The work is in `run`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from sharding.command_line import Subcommands, add_command, add_json

EXAMPLES = """\
  sentalign study configs/study/demo.yaml
  sentalign study configs/study/levers.yaml --seeds 0 1 --rows best "without mirror" --out runs/levers
  sentalign study configs/study/levers.yaml --ray local          (as many trainings at once as there are cores for)
  sentalign study configs/study/demo.yaml --ray auto             (on all machines of a Ray cluster)
  sentalign study --table docs/study/demo.json                   (the table of a finished study)
  sentalign study --table a/study.json b/study.json --out both   (the runs of two machines in one table)
  sentalign study --table runs/study/demo/study.json --out docs/study     (its page and plots again)

The same command goes on where an interrupted study stopped."""


def add_parser(commands: Subcommands) -> None:
    """Adds `study` to the command line."""
    study = add_command(
        commands,
        "study",
        run,
        "train named settings over several seeds",
        description="Trains every row of a study with every seed, evaluates each run, and writes one table with mean, "
        "smallest and largest value over the seeds.",
        examples=EXAMPLES,
    )
    study.add_argument("study", nargs="?", help="study file, for example configs/study/demo.yaml")
    study.add_argument("--seeds", type=int, nargs="+", default=[], help="these seeds in place of the file's")
    study.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="these rows only, and the reference")
    study.add_argument("--out", type=Path, metavar="DIR", help="folder in place of the file's")
    study.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run the trainings on the Ray cluster at this address; local: on the cores of this machine",
    )
    study.add_argument("--gpus", type=int, default=0, help="GPUs of one training on the cluster (default: 0)")
    study.add_argument(
        "--table",
        type=Path,
        nargs="+",
        metavar="STUDY.JSON",
        help="print the table of the runs in these files and stop; with --out, files, page and plots are written there",
    )
    add_json(study, "print study.json")


def run(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for an impossible study and for a step that failed."""
    from sentalign.study import figures, spec, study_json, table
    from sentalign.study import run as runs
    from sharding.contract import UserError

    if args.table:
        content = study_json.union([study_json.read(path) for path in args.table])
        if args.out:
            table.write(args.out, content)
    elif not args.study:
        raise UserError("give a study file, for example configs/study/demo.yaml, or --table STUDY.JSON")
    else:
        study = spec.load(args.study, args.seeds, args.rows, args.out)
        jobs: runs.Jobs = runs.one_after_another
        if args.ray:
            from sentalign.study.cluster import on_cluster

            jobs = on_cluster(args.ray, study.ranks, args.gpus)
        # As Ctrl-C: the training saves its state, and the table of what is there is written.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            runs.run(study, jobs, lambda line: print(line, file=sys.stderr, flush=True))
        finally:
            content = figures.collect(study)
            table.write(study.out, content)
    print(json.dumps(content) if args.json else table.markdown(content), end="\n" if args.json else "")
