"""The arguments that `localize`, `evaluate` and `serve` share: --run, --device and --map, --out and --json.

In: a parser. Out: its arguments, the device, the folder of --out. torch is imported on use, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sharding.command_line import add_json, add_run
from sharding.contract import UserError


def add_run_arguments(parser: argparse.ArgumentParser, json_file: str, maps: bool = True) -> None:
    """Adds all of them, --map only with `maps`; `json_file` is the name of the file whose content --json prints."""
    add_model_arguments(parser, maps)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results; created if missing"
    )
    add_json(parser, f"print the content of {json_file}")


def add_model_arguments(parser: argparse.ArgumentParser, maps: bool = True) -> None:
    """--run and --device, and with `maps` --map."""
    add_run(parser)
    parser.add_argument("--device", help="where the model runs: cuda, cuda:1, cpu (default: a GPU if there is one)")
    if maps:
        parser.add_argument(
            "--map",
            choices=("plain", "mirrored", "registered", "both"),
            help="how maps are made, instead of by the run's maps.mirrored and maps.registered (docs/method.md)",
        )


def pick_device(device: str | None) -> str:
    """The device of --device, by default the GPU that torch sees, otherwise the CPU."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def make_folder(out: Path) -> None:
    """Creates --out. Raises UserError where that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); give another --out") from None


def check_writable(out: Path, files: Sequence[str]) -> None:
    """Creates --out, and raises UserError where these files could not be written there, before any work is done."""
    make_folder(out)
    if folders := [name for name in files if (out / name).is_dir()]:
        raise UserError(f"{out / folders[0]} is a folder; give another --out")
    try:
        with tempfile.NamedTemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); give another --out") from None
