"""Duplicates: columns of the manifest → integer codes that are equal where the values are.

In: Arrow columns. Out: numpy arrays of codes. Arrow compares: 200,000 reports take tenths of a second. The codes are
used by `limit_duplicates` and `duplicate_rates`.
"""

# N samples, G columns of groups, M sentences of all samples end to end
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentalign.stream.order.plan import Indices


def duplicate_groups(columns: Sequence[pa.Array]) -> Indices:
    """Codes of equal values, no code in two columns: (N, G); null, an empty text or an empty list is -1.

    A column holds strings, or lists of strings, which are equal if all strings and their order are.
    """
    groups, first = [], 0
    for column in columns:
        codes_N = codes(column)
        groups.append(np.where(codes_N < 0, -1, codes_N + first))
        first += int(codes_N.max(initial=-1)) + 1
    return np.stack(groups, axis=1)


def codes(column: pa.Array) -> Indices:
    """(N,): a code from 0 for each value, -1 for null, an empty text or list."""
    if pa.types.is_list(column.type):
        column = _as_bytes(column)
    encoded = column.dictionary_encode()
    codes_N = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.equal(pc.binary_length(encoded.dictionary), 0).to_numpy(zero_copy_only=False)
    return np.where((codes_N < 0) | np.append(empty, True)[codes_N], -1, codes_N)


def sentences(column: pa.Array) -> tuple[Indices, Indices]:
    """Codes of the sentences of all lists end to end, (M,), and where those of each sample begin, (N + 1,)."""
    lengths_N = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    codes_M = column.flatten().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return codes_M.astype(np.int64), np.append(0, np.cumsum(lengths_N)).astype(np.int64)


def _as_bytes(column: pa.Array) -> pa.Array:
    """Lists of strings as one binary value each, the codes of their strings: equal where the lists are equal."""
    codes_M, begins_N = sentences(column)
    buffers = [None, pa.py_buffer(begins_N * codes_M.itemsize), pa.py_buffer(codes_M)]
    return pa.Array.from_buffers(pa.large_binary(), len(column), buffers)
