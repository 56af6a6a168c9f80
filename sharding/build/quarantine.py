"""The list of rejected inputs and their reasons, as one Parquet file, free of identity.

In: results without a sample. Out: the file's bytes. The id is a pseudonym that only the private ledger resolves.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet

from sharding.build.samples import SampleResult

QUARANTINE_SCHEMA = pa.schema(
    [("id", pa.string()), ("stage", pa.string()), ("reason", pa.string()), ("message", pa.string())]
)


def row(result: SampleResult) -> dict[str, str]:
    return {"id": result.key, "stage": result.stage, "reason": result.reason, "message": result.message}


def encode(rows: list[dict[str, str]]) -> bytes:
    """The Parquet file, rows in the order of the build."""
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
