"""CSV, TSV and Parquet tables → columns of strings.

In: a path or URL. Out: {column: values}, every value a stripped string, empty for a missing one. What the columns mean
is not known here. No message quotes a value of the table.
"""

from __future__ import annotations

import csv
import io
import math
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from sharding.contract import UserError
from sharding.tables import column_names
from sharding.text import encoding

Columns = dict[str, list[str]]

PARQUET = b"PAR1"
KINDS = "give CSV, TSV or Parquet"
MAX_ROWS = 10_000_000  # more is no table of images, and a few bytes of Parquet can claim any number
# A report may be longer than the 131,072 letters that csv allows in a cell, and no cell is longer than the file, which
# is in memory already. The limit is one for the whole process, and nothing here relies on a smaller one.
csv.field_size_limit(2**31 - 1)
# A missing value as pandas, R, SQL, Python and spreadsheets write it.
MISSING = frozenset(("nan", "-nan", "none", "null", "na", "n/a", "<na>", "#n/a", "nat", "\\n", "nil"))
JSON, BEFORE_JSON = (b"{", b"["), b"\xef\xbb\xbf \t\r\n"


def read_table(location: str, wanted: Sequence[str] = (), optional: Sequence[str] = ()) -> Columns:
    """The `wanted` columns and those of the `optional` ones that exist; all columns if none is named.

    Raises UserError for a missing or unreadable table, a row of another length, and a missing wanted column.
    """
    data, name = _content(location), posixpath.basename(location)
    if data.startswith(PARQUET):
        return _of_parquet(data, name, wanted, optional)
    return _of_text(data, location, wanted, optional)


def read_header(location: str) -> list[str]:
    """The names of all columns; raises UserError for a missing or unreadable table."""
    data = _content(location)
    if not data.startswith(PARQUET):
        reader = _reader(data, location)
        try:
            return _header(reader, location)
        except csv.Error:
            raise _open_quote(posixpath.basename(location), reader.line_num) from None
    try:
        return list(pa.parquet.read_schema(pa.BufferReader(data)).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(posixpath.basename(location), error) from None


def _content(location: str) -> bytes:
    """The file without gzip; raises UserError if it is missing or of a kind that is no table."""
    data, name = encoding.read(location), posixpath.basename(location)
    if data.startswith(PARQUET):
        return data
    if data.lstrip(BEFORE_JSON)[:1] in JSON:
        raise UserError(f"{name} is JSON, not a table; {KINDS} with one row per image")
    if data.startswith(encoding.ZIP) or name.lower().endswith(".parquet"):
        raise UserError(f"{location}: not a readable table (damaged, or a zip or Excel file); {KINDS}")
    return data


def _reader(data: bytes, location: str) -> Any:
    delimiter = "\t" if ".tsv" in posixpath.basename(location).lower() else ","
    file = io.TextIOWrapper(io.BytesIO(data), encoding.codec(data, location), newline="")
    return csv.reader(file, delimiter=delimiter, strict=True)


def _header(reader: Any, location: str) -> list[str]:
    header = [cell.strip() for cell in next(reader, [])]
    if not any(header):
        raise UserError(f"{location}: the table is empty; {KINDS}")
    return header


def _unreadable(name: str, error: BaseException) -> UserError:
    return UserError(f"{name}: not a readable table ({type(error).__name__}); {KINDS}")


def _of_text(data: bytes, location: str, wanted: Sequence[str], optional: Sequence[str]) -> Columns:
    name, reader = posixpath.basename(location), _reader(data, location)
    try:
        header = _header(reader, location)
        places = _places(header, wanted, optional, name)
        columns: Columns = {column: [] for column in places}
        for row in _rows(reader, len(header), name):
            for column, place in places.items():
                columns[column].append(_cell(row[place]))
    except csv.Error:
        raise _open_quote(name, reader.line_num) from None
    return columns


def _open_quote(name: str, line: int) -> UserError:
    return UserError(
        f"{name}: a quote in or before line {line} is not closed, or text follows a closed one; "
        "correct it, or write the CSV again"
    )


def _rows(reader: Any, width: int, name: str) -> Iterator[list[str]]:
    """Rows of `width` cells; a row of another length could pair a text with another patient's image."""
    for number, row in enumerate(reader):
        if number == MAX_ROWS:
            raise UserError(f"{name}: more than {MAX_ROWS} rows; {KINDS} with one row per image")
        if len(row) == width or (len(row) > width and not any(row[width:])):
            yield row
        elif any(cell.strip() for cell in row):
            raise UserError(
                f"{name}: line {reader.line_num} has {len(row)} cells and the header {width}; correct the line: "
                "in CSV, put a text with commas in quotes"
            )


def _places(header: Sequence[str], wanted: Sequence[str], optional: Sequence[str], name: str) -> dict[str, int]:
    """The index of each wanted column; raises UserError for one that is missing or occurs twice."""
    missing = [column for column in wanted if column not in header]
    if missing:
        one_cell = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
        hint = "; separate its cells with commas" if one_cell else ""
        raise UserError(f"{name} has no column {', '.join(missing)}; it has {column_names.shown(header)}{hint}")
    taken = [*wanted, *(column for column in optional if column in header)] or header
    repeated = [column for column in taken if header.count(column) > 1]
    if repeated and wanted:
        raise UserError(f"{name} has several columns {repeated[0]}; rename all but one")
    return {column: header.index(column) for column in taken}


def _of_parquet(data: bytes, name: str, wanted: Sequence[str], optional: Sequence[str]) -> Columns:
    try:
        schema = pa.parquet.read_schema(pa.BufferReader(data))
        places = _places(schema.names, wanted, optional, name)
        for column, place in places.items():
            if pa.types.is_nested(schema.types[place]):
                raise UserError(f"{name}: column {column} holds lists or records; give one value per row")
        # As dictionaries: a long text that many rows repeat is held once.
        strings = [column for column, place in places.items() if _is_text(schema.types[place])]
        file = pa.parquet.ParquetFile(pa.BufferReader(data), read_dictionary=strings)
        if file.metadata.num_rows > MAX_ROWS:
            raise UserError(f"{name}: more than {MAX_ROWS} rows; {KINDS} with one row per image")
        table = file.read(columns=list(places))
        table.validate(full=True)  # a damaged file may point past its dictionary
        return {column: _strings(table[column]) for column in places}
    except UserError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise _unreadable(name, error) from None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _strings(column: pa.ChunkedArray) -> list[str]:
    values: list[str] = []
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            words = [_string(value) for value in chunk.dictionary.to_pylist()]
            values += ["" if place is None else words[place] for place in chunk.indices.to_pylist()]
        else:
            values += map(_string, chunk.to_pylist())
    return values


def _string(value: Any) -> str:
    """The value as one would type it: pandas turns the id 7 into 7.0 if another row has no id."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _cell(value.decode() if isinstance(value, bytes) else str(value))


def _cell(value: str) -> str:
    """The value without the space around it; empty for the words that programs write for a missing value."""
    stripped = value.strip()
    return "" if stripped.lower() in MISSING else stripped
