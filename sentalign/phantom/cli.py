"""The command `sentalign phantom`.

In: command-line arguments. Out: an archive of phantom studies. Studies are drawn in `study` and written in `write`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sharding.command_line import Subcommands, add_command, add_json
from sharding.contract import UserError

if TYPE_CHECKING:
    from sentalign.phantom.study import Settings

EXAMPLES = """\
  sentalign phantom phantoms --studies 2000 --seed 7
  sentalign phantom phantoms --studies 6000 --seed 7 --test-studies 400 --validation-studies 100 --processes 2
  sentalign phantom phantoms --studies 50 --seed 1 --withhold none --json
"""


def add_parser(commands: Subcommands) -> None:
    """Add `phantom` to the commands."""
    parser = add_command(
        commands,
        "phantom",
        run,
        "write synthetic chest studies with known lesions",
        description="Write synthetic chest X-rays (DICOM) with reports in the MIMIC-CXR layout, and the boxes of their "
        "lesions in the MS-CXR format.",
        examples=EXAMPLES,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must be new or empty")
    parser.add_argument("--studies", type=int, required=True, help="number of studies in all")
    parser.add_argument("--seed", type=int, required=True, help="same seed and settings, same bytes")
    parser.add_argument("--size", type=int, default=256, help="long side of the pictures in pixels (default 256)")
    parser.add_argument(
        "--withhold",
        default="cavity",
        metavar="KIND",
        help="kind that only the test split has, or none (default cavity)",
    )
    parser.add_argument("--test-studies", type=int, help="studies of the test split (default 15%%)")
    parser.add_argument("--validation-studies", type=int, help="studies of the validation split (default 5%%)")
    parser.add_argument("--processes", type=int, default=1, help="processes that draw and write (default 1)")
    add_json(parser, "print the account (phantom.json) to stdout")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings. Raises UserError for counts and values out of range."""
    from sentalign.phantom.lesions import KINDS
    from sentalign.phantom.study import Settings

    test = round(0.15 * args.studies) if args.test_studies is None else args.test_studies
    validate = round(0.05 * args.studies) if args.validation_studies is None else args.validation_studies
    if args.studies < 1:
        raise UserError(f"--studies {args.studies}: choose 1 or more")
    if min(test, validate) < 0 or test + validate > args.studies:
        raise UserError(
            f"{test} test and {validate} validation studies do not fit into {args.studies}; raise --studies"
        )
    if not 64 <= args.size <= 4096:
        raise UserError(f"--size {args.size}: choose 64 to 4096 pixels")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: choose 0 or more")
    if args.processes < 1:
        raise UserError(f"--processes {args.processes}: choose 1 or more")
    if args.withhold != "none" and args.withhold not in KINDS:
        raise UserError(f"--withhold {args.withhold}: choose none or one of {', '.join(KINDS)}")
    withheld = None if args.withhold == "none" else args.withhold
    return Settings(args.studies, args.seed, args.size, withheld, test, validate)


def run(args: argparse.Namespace) -> int:
    """Write the archive; prints one line, or the account with --json."""
    from rich.console import Console
    from rich.progress import Progress

    from sentalign.phantom.write import MS_CXR, MS_CXR_VALIDATE, write_archive

    settings = settings_of(args)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("phantoms", total=settings.studies)
        account = write_archive(settings, args.out, args.processes, lambda count: progress.advance(task, count))
    if args.json:
        print(json.dumps(account, indent=2))
    else:
        test, validate = (sum(account["cases"][split].values()) for split in ("test", "validate"))
        print(f"{settings.studies} studies in {args.out}; {test} test phrases with boxes in {MS_CXR}.json")
        print(f"{validate} of the validation split in {MS_CXR_VALIDATE}.json: train with validation.boxes={args.out}")
    return 0
