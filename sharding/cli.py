"""The commands of the sharding tool: build, verify, inspect and resolve.

In: arguments. Out: printed lines or JSON, and an exit code: 0 success, 1 a failed build or an invalid data set, 2 a
user's mistake. Heavy modules are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sharding.build import cli as build
from sharding.command_line import Command, Subcommands, add_command, add_json, execute
from sharding.deid import resolve

SUMMARY = "turn X-rays and reports into shards"


def add_parser(commands: Subcommands) -> None:
    """Adds `shard` with its commands."""
    _add_commands(commands.add_parser("shard", help=SUMMARY, description=SUMMARY))


def main(arguments: list[str] | None = None) -> int:
    """`python -m sharding`; returns the exit code."""
    parser = argparse.ArgumentParser("sharding", description=SUMMARY)
    _add_commands(parser)
    return execute(lambda: parser.parse_args(arguments))


def _add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="shard_command", required=True, metavar="COMMAND")
    build.add_parser(commands)
    checks = "check every checksum, offset, count and split"
    verify = _add_reader(commands, "verify", run_verify, checks, "/data/shards --leaks same-patients.csv")
    leaks = "also write the patients that seem to be one person, for --same-patient"
    verify.add_argument("--leaks", type=Path, metavar="FILE", help=leaks)
    statistics = "print the statistics of a data set"
    inspect = _add_reader(commands, "inspect", run_inspect, statistics, "/data/shards --html shards.html")
    inspect.add_argument("--html", type=Path, metavar="FILE", help="also write a page with thumbnails")
    resolve.add_parser(commands)


def _add_reader(
    commands: Subcommands, name: str, command: Command, summary: str, example: str
) -> argparse.ArgumentParser:
    """A command that reads a data set."""
    parser = add_command(commands, name, command, summary, examples=f"  sentalign shard {name} {example}")
    parser.add_argument("url", metavar="URL", help="folder or s3://, gs://, az:// URL of the data set")
    add_json(parser)
    return parser


def run_verify(values: argparse.Namespace) -> int:
    """`verify`; exit code 1 if there is a fault."""
    from sharding.leaks import same_patient
    from sharding.verify import check

    findings = check(values.url)
    if values.leaks:
        same_patient.write(values.leaks, findings.leaks)
    print(json.dumps(findings.as_dict()) if values.json else "\n".join(findings.lines()))
    return 1 if findings.faults else 0


def run_inspect(values: argparse.Namespace) -> int:
    """`inspect`: the summary as lines or JSON; with --html also a page."""
    from sharding.describe import inspection

    summary = inspection.summary(values.url)
    print(json.dumps(summary) if values.json else "\n".join(inspection.lines(summary)))
    if values.html:
        values.html.write_text(inspection.page(values.url), encoding="utf-8")
    return 0
