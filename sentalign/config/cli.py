"""The command `sentalign config`: every setting with its type, default and meaning.

In: nothing, or a configuration with overrides. Out: a list as text or JSON; with a file, its values too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from sentalign.config import file, listing
from sharding.command_line import Subcommands, add_command, add_json

EXAMPLES = """\
  sentalign config                                          every setting
  sentalign config configs/paper.yaml train.epochs=2        and its value; * marks what is not the default
  sentalign config --json"""


def add_parser(commands: Subcommands) -> None:
    """`config [CONFIG] [key=value ...]`"""
    parser = add_command(
        commands,
        "config",
        _config,
        "list every setting with type, default and meaning",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="training configuration (YAML) to show the values of"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    add_json(parser)


def _config(args: argparse.Namespace) -> None:
    rows = [asdict(setting) for setting in listing.settings()]
    if args.config:
        config = file.load(args.config, args.overrides)
        for row in rows:
            row["value"] = json.dumps(_value(config.model_dump(mode="json"), row["name"]))
    if args.json:
        decoded = ("default", "value")
        print(json.dumps([{k: json.loads(v) if k in decoded and v else v for k, v in row.items()} for row in rows]))
    else:
        print("\n".join(map(_text, rows)))


def _value(tree: object, name: str) -> object:
    for key in name.split("."):
        assert isinstance(tree, dict)
        tree = tree[key]
    return tree


def _text(row: dict[str, str]) -> str:
    default = "required" if row["default"] is None else f"default {row['default']}"
    changed = "value" in row and json.loads(row["value"]) != json.loads(row["default"] or "{}")
    value = f" = {row['value']}" if changed else ""
    return f"{'*' if changed else ' '} {row['name']}{value}  ({row['type']}; {default})\n      {row['meaning']}"
