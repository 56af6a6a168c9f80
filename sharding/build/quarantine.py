"""The list of what was rejected and why, as one Parquet file, free of identity.

In: outcomes without a sample. Out: the file's bytes. The id is a pseudonym that only the private ledger resolves.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet

from sharding.build.tuples import Outcome

QUARANTINE_SCHEMA = pa.schema(
    [("id", pa.string()), ("stage", pa.string()), ("reason", pa.string()), ("message", pa.string())]
)


def row(outcome: Outcome) -> dict[str, str]:
    return {"id": outcome.key, "stage": outcome.stage, "reason": outcome.reason, "message": outcome.message}


def encode(rows: list[dict[str, str]]) -> bytes:
    """The Parquet file, in the order of the build."""
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
