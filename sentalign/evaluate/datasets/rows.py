"""Tables of annotations → rows of text: CSV, TSV (also .gz) or Parquet, with the columns that a reader needs.

In: a file. Out: its rows, one dictionary each. What they mean is up to the reader.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from sharding.contract import UserError

Row = dict[str, str]


def read(file: Path, columns: Sequence[str], add: Callable[[Row], None], optional: Sequence[str] = ()) -> None:
    """Gives every row to `add`: these columns, and those of the optional ones that there are; "" for an empty field.

    Raises UserError where the file or a column is missing, and with the number of a row that `add` refuses with a
    ValueError; line 1 holds the names.
    """
    names, cells = _table(file, columns)
    if missing := [name for name in columns if name not in names]:
        raise UserError(f"{file.name} has no column {missing[0]}; it needs {', '.join(columns)}")
    kept = [name for name in (*columns, *optional) if name in names]
    if repeated := [name for name in kept if list(names).count(name) > 1]:
        raise UserError(f"{file.name} has the column {repeated[0]} twice; leave one of them out")
    for number, row in enumerate(cells, 2):
        if len(row) != len(names):
            cells_of = f"row {number} has {len(row)} cells in place of {len(names)}"
            raise UserError(f"{file.name}: {cells_of}; quote cells that hold the separator")
        try:
            own = dict(zip(names, row, strict=True))
            add({name: own[name] for name in kept})
        except ValueError as error:
            raise UserError(f"{file.name}: line {number} cannot be read ({error}); mend the row") from None


def names(file: Path) -> Sequence[str]:
    """The names of a table's columns. Raises UserError where the file is no table."""
    return _table(file, (), only_names=True)[0]


def _table(file: Path, columns: Sequence[str], only_names: bool = False) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The names of the columns, and the cells of all rows. Raises UserError where the file is no table."""
    try:
        if file.suffix.lower() == ".parquet":
            if only_names:
                return pyarrow.parquet.read_schema(file).names, []
            table = pyarrow.parquet.read_table(file)
            return table.column_names, [[_text(value) for value in row.values()] for row in table.to_pylist()]
        packed = file.suffix.lower() == ".gz"
        delimiter = "\t" if file.name.lower().endswith((".tsv", ".tsv.gz")) else ","
        with (gzip.open if packed else open)(file, "rt", newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            header = next(reader, [])
            return header, [] if only_names else [row for row in reader if row]
    except FileNotFoundError:
        needed = f"; it needs the columns {', '.join(columns)}" if columns else ""
        raise UserError(f"no table {file}{needed}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise UserError(
            f"{file} is no table in UTF-8 ({type(error).__name__}); give a sound CSV, TSV or Parquet file"
        ) from None


def _text(value: Any) -> str:
    """A cell of Parquet; "" for nothing and NaN, which is how pandas writes nothing."""
    if value is None or value != value:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
