"""The list of patients that are one person, as a file: leaks → CSV → patients that `build --same-patient` merges.

In: leaks, or the file (which may be edited: without its row, two patients stay apart). Out: the file, or the name that
each patient takes. It holds pseudonyms only, which depend on the salt: the list serves one private folder.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from sharding.contract import UserError
from sharding.deid.pseudonyms import KEY_LENGTHS
from sharding.leaks import Leak, LeakKind, connected_names

NAMES = ("patient", "other_patient")
PSEUDONYM = re.compile(f"[0-9a-f]{{{KEY_LENGTHS['patient']}}}")
MAX_BYTES = 100_000_000


def write(path: Path, leaks: Iterable[Leak]) -> int:
    """Writes a row for each leak between two patients, and returns how many; raises UserError if it cannot write."""
    rows = [asdict(leak) for leak in leaks if leak.kind != LeakKind.SPLITS]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Leak)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from None
    return len(rows)


def read(path: Path) -> dict[str, str]:
    """The name that each patient of the file takes: the first of its group, itself included.

    The file is a CSV with the columns `patient` and `other_patient`; further columns are ignored. Raises UserError
    with the line, never its content: a wrong file may hold identities.
    """
    pairs = [_pair(path, line, row) for line, row in _rows(path)]
    return {name: group[0] for group in connected_names(pairs) for name in group}


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: too large for a list of patients; give the file that `verify` wrote")
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        if not set(NAMES) <= set(reader.fieldnames or ()):
            raise UserError(f"{path}: has no columns {' and '.join(NAMES)}; give the file that `verify` wrote")
        return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (UnicodeDecodeError, csv.Error):
        raise UserError(f"{path}: not a CSV in UTF-8; give the file that `verify` wrote") from None


def _pair(path: Path, line: int, row: dict[str, str]) -> tuple[str, str]:
    one, other = ((row[name] or "").strip() for name in NAMES)
    if not PSEUDONYM.fullmatch(one) or not PSEUDONYM.fullmatch(other):
        raise UserError(f"{path}: line {line} has no two pseudonyms of patients; take rows from `verify` alone")
    return one, other
