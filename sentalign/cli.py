"""The command `sentalign`: one parser, every command's own module behind it.

In: the words of the command line. Out: an exit code: 0 done, 1 done and not good, 2 the user's mistake in one line.
Heavy modules are imported by the command that needs them: `--help` is quick, and a sharding host needs no torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import sentalign.config.cli
import sentalign.evaluate.cli
import sentalign.health.cli
import sentalign.localize.cli
import sentalign.phantom.cli
import sentalign.serve.cli
import sentalign.stream.preview.cli
import sentalign.study.cli
import sentalign.sweep.cli
import sentalign.track.cli
import sharding.cli
from sharding.command_line import Command, add_command, add_config, add_run, execute
from sharding.contract import UserError

if TYPE_CHECKING:
    from sentalign.config import Config

RANK_MODULE = "sentalign.train"  # what every rank runs
TRAIN_EXAMPLES = """\
  sentalign train configs/phantom-cpu.yaml --ranks 2
  sentalign train configs/paper.yaml data.shards=s3://bucket/shards run=runs/paper
  deepspeed --hostfile hosts launchers/train.py configs/paper.yaml      (many nodes)

The same command goes on where a killed run stopped."""
EXPORT_EXAMPLES = "  sentalign export --run runs/phantom --out model"


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return execute(lambda: _parse(words))


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The words; `key=value` may stand behind options too, which argparse alone refuses in sub-commands."""
    parser = _parser()
    args, rest = parser.parse_known_args(words)
    if rest and not (hasattr(args, "overrides") and all("=" in w and not w.startswith("-") for w in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides += rest
    if getattr(args, "set", None):
        args.command = partial(_evaluate, evaluate=args.command)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "sentalign",
        description="Shows where in a chest X-ray a sentence is true, learned from images and reports alone.",
    )
    parser.add_argument("--version", action="version", version=f"sentalign {version('sentalign')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sentalign.phantom.cli.add_parser(commands)
    sharding.cli.add_parser(commands)
    sentalign.stream.preview.cli.add_parser(commands)
    sentalign.config.cli.add_parser(commands)
    _add_train(commands)
    sentalign.sweep.cli.add_parser(commands, RANK_MODULE, _check_boxes)
    sentalign.study.cli.add_parser(commands)
    sentalign.track.cli.add_parser(commands)
    sentalign.evaluate.cli.add_parser(commands)
    sentalign.localize.cli.add_parser(commands)
    sentalign.serve.cli.add_parser(commands)
    _add_export(commands)
    sentalign.health.cli.add_parser(commands)
    return parser


def _check_boxes(config: Config) -> None:
    """Opens the validation part of a training. Raises its UserError."""
    from sentalign.evaluate import validation_boxes

    validation_boxes.read(config)


def _evaluate(args: argparse.Namespace, evaluate: Command) -> int | None:
    """`sentalign evaluate`, whose result MLflow gets if it has the run."""
    code = evaluate(args)
    sentalign.track.cli.send_results(args.run)
    return code


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = add_command(
        commands,
        "train",
        _train,
        "train on this host",
        description="Starts DeepSpeed's launcher on this host.",
        examples=TRAIN_EXAMPLES,
    )
    add_config(train)
    train.add_argument("--ranks", type=int, help="processes; default: one a GPU, or 1")
    train.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")


def _train(args: argparse.Namespace) -> None:
    from sentalign import config as configuration

    config = configuration.load(args.config, args.overrides)
    if args.dry_run:
        print(configuration.dump(config), end="")
        return
    import torch

    from sentalign.launch import local_ranks, supervisor
    from sentalign.stream.read.manifest_index import count_with_text

    gpus = local_ranks.visible_gpus(os.environ, torch.cuda.device_count())
    ranks = args.ranks or len(gpus) or 1
    # Fails here, before the launcher starts ranks that would all fail the same way.
    configuration.rank_share(config.data.batch, ranks)
    count_with_text(config.data.urls, config.data.train_split)
    command = local_ranks.command(RANK_MODULE, [args.config, *args.overrides], ranks, gpus)
    sys.stdout.flush()
    # The supervisor replaces this process, so that signals and the exit code are its own.
    command = supervisor.command(command)
    os.execve(command[0], command, local_ranks.environment(os.environ, ranks, gpus))


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = add_command(
        commands,
        "export",
        _export,
        "copy a trained model out of its run",
        description="Copies weights, towers, tokenizer and settings: all that localize and evaluate need.",
        examples=EXPORT_EXAMPLES,
    )
    add_run(export)
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder")


def _export(args: argparse.Namespace) -> None:
    from sentalign.model import export
    from sentalign.model.pretrained import WeightsError

    try:
        print(export.export(args.run, args.out))
    except WeightsError as error:
        raise UserError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
