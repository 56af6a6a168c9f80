"""`sentalign shard resolve`: pseudonyms and quarantine ids → the sources behind them. Every use is logged.

In: ids, the private folder of the build. Out: (id, kind, source) rows. The log, `resolved.jsonl`, stays in the private
folder: time, user and id of each look-up, written before anything is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sharding.command_line import Subcommands, add_command, add_json
from sharding.contract import UserError
from sharding.deid.ledger import Ledger

LOG_NAME = "resolved.jsonl"
EXAMPLES = "  sentalign shard resolve 3f0c9a51d2b4e6708899aabb --private /secure/mimic"


def add_parser(commands: Subcommands) -> None:
    """Adds `resolve`."""
    summary = "print the source and the file behind pseudonyms, keys and quarantine ids"
    parser = add_command(commands, "resolve", run, summary, examples=EXAMPLES)
    parser.add_argument("ids", nargs="+", metavar="ID", help="pseudonym, key of a sample, or id in quarantine.parquet")
    parser.add_argument(
        "--private", type=Path, required=True, metavar="DIR", help="private folder of the build; logs each look-up"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Prints one line, or one JSON object, per row."""
    rows = resolve(args.private, args.ids)
    print(json.dumps(rows) if args.json else "\n".join("\t".join(row.values()) for row in rows))


def resolve(private: Path, ids: Sequence[str]) -> list[dict[str, str]]:
    """The rows of all ids; raises UserError if one is unknown, or the ledger or the log cannot be used."""
    ledger = Ledger(private)
    if not ledger.path.is_file():
        raise UserError(f"{private} has no ledger; give the private folder of the build with --private DIR")
    try:
        sources = {name: ledger.resolve(name) for name in ids}
        _log(private, {name: bool(rows) for name, rows in sources.items()})
    except sqlite3.Error as error:
        raise UserError(f"the ledger {ledger.path} cannot be read ({error}); restore it from a copy") from None
    except OSError as error:
        raise UserError(f"the log in {private} cannot be written ({error.strerror}); nothing was resolved") from None
    unknown = [name for name, rows in sources.items() if not rows]
    if unknown:
        raise UserError(f"not in the ledger of {private}: {' '.join(unknown)}; check the id and the folder")
    return [{"id": name, "kind": kind, "source": source} for name, rows in sources.items() for kind, source in rows]


def _log(private: Path, known: dict[str, bool]) -> None:
    time = datetime.now(UTC).isoformat(timespec="seconds")
    entries = [{"time": time, "uid": os.getuid(), "id": name, "known": found} for name, found in known.items()]
    log = os.open(private / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(log, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
        file.flush()
        os.fsync(log)
