"""CSV, TSV and Parquet tables → columns of strings.

In: a path. Out: {column: values}, every value a stripped string, empty where there is none. What the columns mean is
not known here.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sharding.contract import UserError

Columns = dict[str, list[str]]


def read_table(path: Path, wanted: Sequence[str] = ()) -> Columns:
    """The table's columns (only `wanted` where given); raises UserError for a missing or unreadable table or column."""
    if not path.is_file():
        raise UserError(f"{path}: no such table; check the path")
    try:
        table = pa.parquet.read_table(path) if path.suffix == ".parquet" else _read_text_table(path)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError, csv.Error) as error:
        raise UserError(
            f"{path}: not a readable table ({str(error).splitlines()[0][:160]}); give CSV, TSV or Parquet"
        ) from None
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise UserError(f"{path.name} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    return {name: _strings(table[name]) for name in (wanted or table.column_names)}


def _read_text_table(path: Path) -> pa.Table:
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file, delimiter=delimiter), [])
    if not header:
        raise pa.ArrowInvalid("the table is empty")
    # Ids stay as written: "007" is no number.
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )


def _strings(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
