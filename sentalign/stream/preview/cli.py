"""`sentalign plan CONFIG [key=value ...]`: a preview of an epoch, before a run.

In: a training configuration. Out: tables, or JSON. The numbers are computed in `epoch_preview`; neither needs torch, so
that the command takes seconds on any machine that can read the manifests.
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

Only the manifests are read. A rate is the share of a batch's samples that have at least one other sample of the same
study, patient, report (text), sentence or shard in their batch; the number of such pairs follows it."""
WIDTH = 100
KINDS = ("study", "patient", "text", "sentence", "shard")


def add_parser(commands: Subcommands) -> None:
    """Adds `plan`."""
    parser = add_command(
        commands,
        "plan",
        run,
        "preview an epoch, before a run",
        description="Length of an epoch, what it leaves out and reads, and how often duplicates are in one batch, "
        "compared with a full shuffle.",
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
    from sentalign.stream.preview.epoch_preview import preview

    config = configuration.load(args.config, args.overrides)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("sampling batches", total=1.0)
        report = preview(config, sizes, args.epochs, args.ranks, lambda share: bar.update(task, completed=share))
    if args.json:
        json.dump(report, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        show(report, Console(width=WIDTH, highlight=False, soft_wrap=False))


def batch_sizes(text: str) -> list[int]:
    """The sizes of a comma-separated list, once each, in order. Raises UserError for what is no size of a batch."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) >= 2 for word in words):
        raise UserError(f"--batches {text}: give whole numbers from 2 on, for example 64,128")
    return sorted({int(word) for word in words})


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the report."""
    limit, keys = report["max_duplicates"], ", ".join(report["duplicate_keys"])
    limited = f", at most {limit} of the same {keys} in a batch" if limit else ""
    title = f"An epoch of split {report['split']}, in blocks of {report['block']}{limited}, seed {report['seed']}:"
    lines = [f"{report['epoch']['batches']:,} batches of {report['batch']}, {report['epoch']['pairs']:,} pairs"]
    lines += [line for data_set in report["data_sets"] for line in _data_set(data_set, report)]
    lines += _reads(report["reads"])
    for line in (title, *(f"  {line}" for line in lines)):
        console.print(line, markup=False)
    console.print(_table(report["collisions"]))
    for line in _notes(report):
        console.print(line, markup=False)


def _data_set(data_set: dict[str, Any], report: dict[str, Any]) -> list[str]:
    dropped = ", ".join(f"{count:,} {why}" for why, count in data_set["dropped"].items() if count) or "nothing"
    lanes = f" in {data_set['lanes']} of {report['batch']} lanes, {data_set['passes']:.4g} times"
    samples = f"{data_set['used']:,} of {data_set['samples']:,} samples{lanes * (len(report['data_sets']) > 1)}"
    return [f"{data_set['url']}: {samples}", f"  left out: {dropped}"]


def _reads(reads: dict[str, Any]) -> list[str]:
    worker = f"a worker ({_many(reads['ranks'], 'rank')}, {_many(reads['workers'], 'worker')} in all)"
    sizes = _range([_size(size) for size in reads["bytes_of_a_worker"]])
    if reads["local"]:
        return [f"reads {_size(reads['bytes'])} from disk, each sample by itself", f"{worker} {sizes}"]
    requests = _range([f"{count:,}" for count in reads["requests_of_a_worker"]])
    return [
        f"reads {_size(reads['bytes'])} in {reads['requests']:,} requests, "
        f"{reads['amplification']:.3f} bytes for a byte of a sample",
        f"{worker} {sizes} in {requests} requests",
        f"a restart fetches at most {_size(reads['bytes_again_after_a_restart'])} again",
        *([f"with data.cache {_size(reads['whole_shards'])} in whole shards, once"] if reads["whole_shards"] else []),
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
        title="Share of samples with another one of the same ... in their batch, and such pairs in a batch",
    )
    for name in ("batch", "order", *KINDS, "sentences"):
        table.add_column(name, justify="left" if name == "order" else "right", no_wrap=True)
    for size in collisions:
        for i, (order, rates) in enumerate(size["orders"].items()):
            cells = [f"{_percent(rates[kind]['share'])} {_count(rates[kind]['pairs']):>5}" for kind in KINDS]
            cells += [_percent(rates["sentences"]["share"])]
            table.add_row("" if i else f"{size['batch']:,}", order, *cells, end_section=i + 1 == len(size["orders"]))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _count(number: float) -> str:
    """At most five characters."""
    if number < 9999.5:
        return f"{number:.2f}" if number < 9.995 else f"{number:,.0f}"
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:.0f}M"


def _notes(report: dict[str, Any]) -> list[str]:
    sizes, limit = report["collisions"], report["max_duplicates"]
    sampled = ", ".join(f"{size['sampled']:,} of {size['batches']:,}" for size in sizes)
    error = max(rate["error"] for size in sizes for rates in size["orders"].values() for rate in rates.values())
    notes = [
        "sentence: samples that share one; sentences: the share of them that another sample has too.",
        f"Batches sampled: {sampled}.",
        f"Standard error of a share: at most {100 * error:.2g} percentage points.",
    ]
    for size in sizes:
        if "too_many" in size:
            unmet, beyond = size["too_many"]["unmet"], size["too_many"]["unboundable"]
            larger = f" and {beyond:,} of groups larger than {limit} a batch" if beyond else ""
            notes.append(f"Batch {size['batch']:,}: limit kept except for {unmet:,} samples{larger}.")
    return notes
