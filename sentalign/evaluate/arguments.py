"""The arguments that the commands of an evaluation share: --replicates, --seed and --workers.

In: a parser. Out: its arguments, checked.
"""

from __future__ import annotations

import argparse

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
