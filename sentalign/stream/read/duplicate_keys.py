"""What samples have in common: columns of the manifest → numbers that are equal where the values are.

In: Arrow columns. Out: numpy arrays of numbers. Arrow does the comparing: 200,000 reports are numbered in tenths of a
second. What is done with the numbers is in `limit_duplicates` and `duplicate_rates`.
"""

# N samples, G columns of groups, M sentences of all samples in a row
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentalign.stream.order.plan import Indices


def groups_of(columns: Sequence[pa.Array]) -> Indices:
    """Numbers for equal values, no number in two columns: (N, G); null, an empty text or list becomes -1.

    A column holds strings, or lists of strings, which are equal in all their strings and their order.
    """
    numbered, first = [], 0
    for column in columns:
        codes_N = numbers(column)
        numbered.append(np.where(codes_N < 0, -1, codes_N + first))
        first += int(codes_N.max(initial=-1)) + 1
    return np.stack(numbered, axis=1)


def numbers(column: pa.Array) -> Indices:
    """(N,): a number from 0 for each value, -1 for null, an empty text or list."""
    if pa.types.is_list(column.type):
        column = _as_bytes(column)
    encoded = column.dictionary_encode()
    codes_N = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.equal(pc.binary_length(encoded.dictionary), 0).to_numpy(zero_copy_only=False)
    return np.where((codes_N < 0) | np.append(empty, True)[codes_N], -1, codes_N)


def sentences(column: pa.Array) -> tuple[Indices, Indices]:
    """The sentences of lists of hashes as numbers, M in a row, and (N + 1,) where each sample's begin; null is none."""
    lengths_N = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    codes_M = column.flatten().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return codes_M.astype(np.int64), np.append(0, np.cumsum(lengths_N)).astype(np.int64)


def _as_bytes(column: pa.Array) -> pa.Array:
    """Lists of strings as one binary value each, the numbers of their strings: equal where the lists are equal."""
    codes_M, begins_N = sentences(column)
    buffers = [None, pa.py_buffer(begins_N * codes_M.itemsize), pa.py_buffer(codes_M)]
    return pa.Array.from_buffers(pa.large_binary(), len(column), buffers)
