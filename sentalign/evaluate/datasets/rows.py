"""Tables of annotations → rows of text: CSV, TSV or Parquet, also in gzip, with the columns that a reader needs.

In: a file. Out: its rows, one dictionary each, as `sharding.tables` reads them: stripped, and empty where a program has
written a word for a missing value. What they mean is up to the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sharding.contract import UserError
from sharding.tables.table import read_header, read_table

Row = dict[str, str]


def read(file: Path, columns: Sequence[str], add: Callable[[Row], None], optional: Sequence[str] = ()) -> None:
    """Gives every row to `add`: these columns, and those of the optional ones that there are; "" for an empty field.

    Raises UserError where the file or a column is missing, and with the number of a row that `add` refuses with a
    ValueError; line 1 holds the names.
    """
    if not file.is_file():
        raise UserError(f"no table {file}; it needs the columns {', '.join(columns)}")
    table = read_table(str(file), columns, optional)
    for number, cells in enumerate(zip(*table.values(), strict=True), 2):
        try:
            add(dict(zip(table, cells, strict=True)))
        except ValueError as error:
            raise UserError(f"{file.name}: line {number} cannot be read ({error}); correct the line") from None


def names(file: Path) -> Sequence[str]:
    """The names of a table's columns. Raises UserError where the file is no table."""
    if not file.is_file():
        raise UserError(f"no table {file}; check the path")
    return read_header(str(file))
