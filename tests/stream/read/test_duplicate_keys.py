"""Codes of manifest columns: equal where the values are equal, and only there."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sentalign.stream.read import duplicate_keys

WORDS = st.one_of(st.none(), st.text("ab", max_size=2))
LISTS = st.one_of(st.none(), st.lists(st.text("ab", max_size=2), max_size=3))


def test_groups_have_codes_of_their_column_and_empty_values_have_none():
    groups_NG = duplicate_keys.duplicate_groups([pa.array(["a", "b", "a", None]), pa.array([["x"], [], ["x"], ["y"]])])
    assert groups_NG.tolist() == [[0, 2], [1, -1], [0, 2], [-1, 4]]


def numbered(column):
    """The plain form: a dictionary of the values."""
    known = {}
    return [known.setdefault(tuple(value), len(known)) if value else -1 for value in column]


@given(words=st.lists(WORDS, max_size=30), lists=st.lists(LISTS, max_size=30))
def test_codes_are_those_of_a_dictionary_of_the_values(words, lists):
    for column, kind in ((words, pa.string()), (lists, pa.list_(pa.string()))):
        found = duplicate_keys.codes(pa.array(column, kind)).tolist()
        assert [i < 0 for i in found] == [not value for value in column]
        # The codes may differ, which of them are equal may not.
        pairs = {pair for pair in zip(found, numbered(column), strict=True) if pair[0] >= 0}
        assert len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})


@given(lists=st.lists(LISTS, max_size=30), skipped=st.integers(0, 5))
def test_sentences_of_a_sample_are_next_to_each_other(lists, skipped):
    """Also of a slice, whose buffers begin elsewhere."""
    codes_M, begins_N = duplicate_keys.sentences(pa.array(lists, pa.list_(pa.string()))[skipped:])
    kept = lists[skipped:]
    flat = [word for words in kept for word in words or ()]
    assert np.diff(begins_N).tolist() == [len(words or ()) for words in kept]
    assert len(codes_M) == len(flat)
    for i, one in enumerate(flat):
        assert [code == codes_M[i] for code in codes_M] == [other == one for other in flat]
