"""`sentalign evaluate retrieval`: recall of images and reports of a split of shards.

In: shards and a run. Out: retrieval.json in a folder. The other modules are imported when the command runs.
"""

from __future__ import annotations

import argparse

from sentalign.evaluate.arguments import add_bootstrap, check_bootstrap, share_bar, write_result
from sentalign.localize.arguments import add_run_arguments, check_writable, pick_device
from sharding.command_line import Subcommands, add_command
from sharding.contract import UserError

FILE = "retrieval.json"
EXAMPLES = """\
  sentalign evaluate retrieval --data /data/shards --run runs/paper --out results
  sentalign evaluate retrieval --data s3://bucket/shards --split validate --run runs/paper --out results

Every image of the split looks for its report among all, and every report for its image, by the cosine of their global
vectors; reports of an equal text are all right. Written to --out: retrieval.json.
"""


def add_parser(sets: Subcommands) -> None:
    """Adds `retrieval` to the sets of `evaluate`."""
    parser = add_command(
        sets,
        "retrieval",
        retrieval,
        "reports of images and images of reports, from shards",
        description="Zero-shot retrieval: recall at 1, 5 and 10 in both directions, 95% intervals by patient, chance.",
        examples=EXAMPLES,
    )
    parser.add_argument("--data", required=True, metavar="SHARDS", help="folder or URL of the shards")
    parser.add_argument("--split", default="test", help="split of the shards (default: test)")
    parser.add_argument("--batch", type=int, default=64, help="pairs that are encoded at once (default: 64)")
    parser.add_argument("--workers", type=int, help="decoding processes (default: as in training)")
    add_run_arguments(parser, FILE, maps=False)
    add_bootstrap(parser)


def retrieval(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for unusable shards, an empty split or an unusable run."""
    check_bootstrap(args)
    if args.batch < 1 or (args.workers or 0) < 0:
        raise UserError("--batch must be 1 or more and --workers 0 or more")
    from sentalign.evaluate.results import run_record
    from sentalign.evaluate.retrieval import recall
    from sentalign.evaluate.retrieval.encode import encode
    from sentalign.localize.trained_run import TrainedRun

    run = TrainedRun.load(args.run, pick_device(args.device))
    check_writable(args.out, (FILE,))
    with share_bar("encoding") as progress:
        vectors = encode(run, args.data, args.split, args.batch, args.workers, progress)
    result = {"split": args.split} | recall.measure(vectors, run.device, args.replicates, args.seed)
    run_record.write(args.run, f"retrieval {args.split}", result)
    write_result(args.out / FILE, result, args.json, recall.table)
