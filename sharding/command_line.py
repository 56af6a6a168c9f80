"""What all commands share: a parser with examples, common arguments, exit codes.

In: the name of a command and the function behind it. Out: an argparse parser, an exit code. No command is defined here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Subcommands = Any  # argparse names the type of what add_subparsers returns with an underscore
Command = Callable[[argparse.Namespace], int | None]


def add_command(
    commands: Subcommands, name: str, command: Command, summary: str, *, description: str = "", examples: str = ""
) -> argparse.ArgumentParser:
    """A sub-command: `command` gets its arguments and returns an exit code, None for 0."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def add_config(parser: argparse.ArgumentParser, kind: str = "training configuration (YAML)") -> None:
    """CONFIG [key=value ...]"""
    parser.add_argument("config", metavar="CONFIG", help=kind)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")


def add_run(parser: argparse.ArgumentParser, kind: str = "folder of a trained run") -> None:
    """--run RUN"""
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help=kind)


def add_json(parser: argparse.ArgumentParser, summary: str = "print the result as JSON") -> None:
    """--json"""
    parser.add_argument("--json", action="store_true", help=summary)


def execute(parse: Callable[[], argparse.Namespace]) -> int:
    """Parses and runs one command; its exit code: 2 a mistake of the user's in one line, 130 Ctrl-C."""
    from sharding.contract import UserError

    try:
        args = parse()
        return int(args.command(args) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output (head, less) has closed it; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
