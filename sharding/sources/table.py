"""CSV, TSV and Parquet tables → columns of strings.

In: a path or URL. Out: {column: values}, every value a stripped string, empty where there is none. What the columns
mean is not known here.
"""

from __future__ import annotations

import csv
import gzip
import io
import posixpath
import zlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sharding import storage
from sharding.contract import UserError

Columns = dict[str, list[str]]


def read_table(location: str, wanted: Sequence[str] = ()) -> Columns:
    """The table's columns (only `wanted` where given); raises UserError for a missing or unreadable table or column."""
    try:
        data = storage.read(location)
    except OSError as error:
        raise UserError(f"{location}: no such table ({error.strerror}); check the path") from None
    try:
        table = _parse(data, location)
    except (pa.ArrowException, UnicodeDecodeError, EOFError, OSError, zlib.error, csv.Error, KeyError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{location}: not a readable table ({why}); give CSV, TSV or Parquet") from None
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        name = posixpath.basename(location)
        raise UserError(f"{name} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    return {name: _strings(table[name]) for name in (wanted or table.column_names)}


def _parse(data: bytes, location: str) -> pa.Table:
    if location.endswith(".parquet"):
        return pa.parquet.read_table(io.BytesIO(data))
    plain = gzip.decompress(data) if location.endswith(".gz") else data
    return _parse_text(plain, "\t" if ".tsv" in posixpath.basename(location) else ",")


def _parse_text(data: bytes, delimiter: str) -> pa.Table:
    header = next(csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), delimiter=delimiter), [])
    if not header:
        raise pa.ArrowInvalid("the table is empty")
    # Ids stay as written: "007" is no number.
    return pa.csv.read_csv(
        io.BytesIO(data),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )


def _strings(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
