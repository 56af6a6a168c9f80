"""What the commands of an evaluation share: --replicates, --seed and --workers, a bar, and the file of a result.

In: a parser, or a result. Out: its arguments, checked; a file and what is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sharding.contract import UserError


def add_bootstrap(parser: argparse.ArgumentParser) -> None:
    """Adds them."""
    parser.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (default: 0)")


def check_bootstrap(args: argparse.Namespace) -> None:
    """Raises UserError where one is out of range."""
    if args.replicates < 1 or args.seed < 0:
        raise UserError("--replicates must be 1 or more and --seed 0 or more")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds --workers."""
    parser.add_argument("--workers", type=int, default=2, help="processes that decode; 0: none (default: 2)")


def check_workers(args: argparse.Namespace) -> None:
    """Raises UserError where it is out of range."""
    if args.workers < 0:
        raise UserError("--workers must be 0 or more")


@contextlib.contextmanager
def share_bar(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; the function that it gives takes the share that is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def write_result(file: Path, result: dict[str, Any], as_json: bool, table: Callable[[dict[str, Any]], Any]) -> None:
    """Writes a result as JSON, and prints it, or its table. Raises UserError where the file cannot be written."""
    from rich.console import Console

    text = json.dumps(result, indent=1, allow_nan=False)
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {file} ({error.strerror}); give another --out") from None
    if as_json:
        print(text)
    else:
        Console().print(table(result))
