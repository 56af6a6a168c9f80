"""`sentalign plan CONFIG [key=value ...]`: what an epoch will look like, before a run.

In: a training configuration. Out: tables, or JSON. The numbers are made in `epoch_preview`; nothing here or there needs
torch, so that the answer comes in seconds on any machine that sees the manifests.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from sharding.command_line import Subcommands, add_command, add_config, add_json
from sharding.contract import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

EXAMPLES = """\
  sentalign plan configs/paper.yaml data.shards=s3://bucket/shards
  sentalign plan configs/paper.yaml data.block=64 --batches 128,1024,4096
  sentalign plan configs/paper.yaml data.max_duplicates=1 --ranks 8 --json

Only the manifests are read. A rate is the share of a batch's samples that meet at least one other of the same
study, patient, report (text), sentence or shard in their batch; behind it stands the number of such pairs."""
WIDTH = 100
KINDS = ("study", "patient", "text", "sentence", "shard")


def add_parser(commands: Subcommands) -> None:
    """Adds `plan`."""
    parser = add_command(
        commands,
        "plan",
        run,
        "say what an epoch will look like, before a run",
        description="Length of an epoch, what it leaves out and reads, and how often samples that are alike meet in a "
        "batch, beside a full shuffle.",
        examples=EXAMPLES,
    )
    add_config(parser)
    parser.add_argument(
        "--batches", default="", metavar="N,...", help="batch sizes to compare (default: the run's own, 64 to 1024)"
    )
    parser.add_argument("--epochs", type=int, default=1, help="epochs over which the rates are taken (default 1)")
    parser.add_argument("--ranks", type=int, default=1, help="ranks that share the reading (default 1)")
    add_json(parser, "print the numbers as JSON")


def run(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for settings with which no run could start."""
    if args.epochs < 1 or args.ranks < 1:
        raise UserError("--epochs and --ranks must be 1 or more")
    sizes = batch_sizes(args.batches)
    from rich.console import Console
    from rich.progress import Progress

    from sentalign import config as configuration
    from sentalign.stream.preview.epoch_preview import outlook

    config = configuration.load(args.config, args.overrides)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("looking ahead", total=1.0)
        found = outlook(config, sizes, args.epochs, args.ranks, lambda share: bar.update(task, completed=share))
    if args.json:
        json.dump(found, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        show(found, Console(width=WIDTH, highlight=False, soft_wrap=False))


def batch_sizes(said: str) -> list[int]:
    """The sizes of a comma-separated list, once each, in order. Raises UserError for what is no size of a batch."""
    words = [word.strip() for word in said.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) >= 2 for word in words):
        raise UserError(f"--batches {said}: give whole numbers from 2 on, for example 64,128")
    return sorted({int(word) for word in words})


def show(found: dict[str, Any], console: Console) -> None:
    """Prints the report."""
    bound = (
        f", at most {found['max_duplicates']} alike ({', '.join(found['alike'])})" if found["max_duplicates"] else ""
    )
    console.print(
        f"An epoch of split {found['split']}, in blocks of {found['block']}{bound}, seed {found['seed']}:", markup=False
    )
    console.print(f"  {found['epoch']['batches']:,} batches of {found['batch']}, {found['epoch']['pairs']:,} pairs")
    for one in found["data_sets"]:
        for line in _data_set(one, found):
            console.print(f"  {line}", markup=False)
    for line in _reads(found["reads"]):
        console.print(f"  {line}", markup=False)
    console.print(_table(found["collisions"]))
    for line in _notes(found):
        console.print(line, markup=False)


def _data_set(one: dict[str, Any], found: dict[str, Any]) -> list[str]:
    dropped = ", ".join(f"{count:,} {why}" for why, count in one["dropped"].items() if count) or "nothing"
    lanes = f" in {one['lanes']} of {found['batch']} lanes, {one['passes']:.4g} times" * (len(found["data_sets"]) > 1)
    return [f"{one['url']}: {one['used']:,} of {one['samples']:,} samples{lanes}", f"  left out: {dropped}"]


def _reads(found: dict[str, Any]) -> list[str]:
    worker = f"a worker ({_many(found['ranks'], 'rank')}, {_many(found['workers'], 'worker')} in all)"
    sizes = _range([_size(size) for size in found["bytes_of_a_worker"]])
    if found["local"]:
        return [f"reads {_size(found['bytes'])} from disk, each sample by itself", f"{worker} {sizes}"]
    requests = _range([f"{count:,}" for count in found["requests_of_a_worker"]])
    return [
        f"reads {_size(found['bytes'])} in {found['requests']:,} requests, "
        f"{found['amplification']:.3f} bytes for a byte of a sample",
        f"{worker} {sizes} in {requests} requests",
        f"a restart fetches at most {_size(found['bytes_again_after_a_restart'])} again",
        *([f"with data.cache {_size(found['whole_shards'])} in whole shards, once"] if found["whole_shards"] else []),
    ]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _range(both: list[str]) -> str:
    return both[0] if both[0] == both[1] else f"{both[0]} to {both[1]}"


def _size(count: float) -> str:
    power = min(4, max(0, len(str(int(count))) - 1) // 3)
    return f"{count / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def _table(collisions: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title="Share of samples that meet a partner of the same ..., and such pairs in a batch",
    )
    for name in ("batch", "order", *KINDS, "sentences"):
        table.add_column(name, justify="left" if name == "order" else "right", no_wrap=True)
    for one in collisions:
        for i, (order, found) in enumerate(one["orders"].items()):
            cells = [f"{_percent(found[kind]['share'])} {_count(found[kind]['pairs']):>5}" for kind in KINDS]
            last = i + 1 == len(one["orders"])
            table.add_row(
                "" if i else f"{one['batch']:,}", order, *cells, _percent(found["said"]["share"]), end_section=last
            )
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _count(number: float) -> str:
    """At most five characters."""
    if number < 9999.5:
        return f"{number:.2f}" if number < 9.995 else f"{number:,.0f}"
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:.0f}M"


def _notes(found: dict[str, Any]) -> list[str]:
    collisions = found["collisions"]
    looked = ", ".join(f"{one['looked_at']:,} of {one['batches']:,}" for one in collisions)
    error = max(rate["error"] for one in collisions for order in one["orders"].values() for rate in order.values())
    said = [
        "sentence: samples that share one; sentences: their share that stands in another sample too.",
        f"Batches looked at: {looked}.",
        f"Standard error of a share: at most {100 * error:.2g} percentage points.",
    ]
    for one in collisions:
        if "too_many" in one:
            unmet, beyond = one["too_many"]["unmet"], one["too_many"]["unboundable"]
            said.append(f"Batch {one['batch']:,}: bound met but for {unmet:,} samples{_beyond(beyond, found)}.")
    return said


def _beyond(count: int, found: dict[str, Any]) -> str:
    return f" and {count:,} of groups larger than {found['max_duplicates']} a batch" if count else ""
