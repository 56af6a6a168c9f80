"""Tables of annotations → rows of text: CSV, TSV (also .gz) or Parquet, with the columns that a reader needs.

In: a file. Out: its rows, one dictionary each. What they mean is up to the reader.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from sharding.contract import UserError

Row = dict[str, str]


def read(file: Path, columns: Sequence[str], add: Callable[[Row], None], optional: Sequence[str] = ()) -> None:
    """Gives every row to `add`: these columns, and those of the optional ones that there are; "" for an empty field.

    Raises UserError where the file or a column is missing, and with the number of a row that `add` refuses with a
    ValueError; line 1 holds the names.
    """
    names, rows = _table(file, columns)
    missing = [name for name in columns if name not in names]
    if missing:
        raise UserError(f"{file.name} has no column {missing[0]}; it needs {', '.join(columns)}")
    kept = [name for name in (*columns, *optional) if name in names]
    for number, row in enumerate(rows, 2):
        try:
            add({name: row[name] or "" for name in kept})
        except ValueError as error:
            raise UserError(f"{file.name}: line {number} cannot be read ({error}); mend the row") from None


def names(file: Path) -> Sequence[str]:
    """The names of a table's columns. Raises UserError where the file is no table."""
    return _table(file, (), only_names=True)[0]


def _table(file: Path, columns: Sequence[str], only_names: bool = False) -> tuple[Sequence[str], list[Row]]:
    """The names of the columns, and all rows. Raises UserError where the file is no table."""
    try:
        if file.suffix.lower() == ".parquet":
            if only_names:
                return pyarrow.parquet.read_schema(file).names, []
            table = pyarrow.parquet.read_table(file)
            texts = [{k: "" if v is None else str(v) for k, v in row.items()} for row in table.to_pylist()]
            return table.column_names, texts
        packed = file.suffix.lower() == ".gz"
        delimiter = "\t" if file.name.lower().endswith((".tsv", ".tsv.gz")) else ","
        with (gzip.open if packed else open)(file, "rt", newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter, restval="")
            return reader.fieldnames or [], [] if only_names else list(reader)
    except FileNotFoundError:
        needed = f"; it needs the columns {', '.join(columns)}" if columns else ""
        raise UserError(f"no table {file}{needed}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise UserError(
            f"{file} is no table in UTF-8 ({type(error).__name__}); give a CSV, TSV or Parquet file"
        ) from None
