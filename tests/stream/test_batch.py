"""Batches: a row by hand, padding, subsets and squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentalign.stream.batch import TAGS, Padding, collate, random_subset, without_tags
from sentalign.stream.read.fetch import DecodedSample
from sentalign.tokenizer import Row, Tokenizer
from sharding.contract import text_hash
from sharding.pixels import letterbox

GREY = np.zeros((8, 8), np.uint8)


def sample(key, *sentences):
    none = (frozenset(),) * len(sentences)
    return DecodedSample(key, GREY, sentences, none, tuple(text_hash(s) for s in sentences), f"p-{key}", f"s-{key}")


def by_hand():
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "No", "ed", "##ema", "Clear", "."], cased=True)
    samples = [sample("a", "No edema", "Clear."), sample("b", "Clear")]
    rows = [tokenizer.encode(s.sentences, 16) for s in samples]
    chosen = [list(range(len(s.sentences))) for s in samples]
    return samples, collate(samples, rows, chosen, [3] * len(samples), Padding(16, 4, tokenizer.pad_id))


def test_rows_by_hand():
    _, batch = by_hand()
    assert batch.tokens_BT.tolist() == [[2, 5, 6, 7, 8, 9, 3, 0], [2, 8, 3, 0, 0, 0, 0, 0]]
    assert batch.unit_id_BT.tolist() == [[-1, 0, 0, 0, 1, 1, -1, -1], [-1, 0, -1, -1, -1, -1, -1, -1]]
    assert batch.attention_BT.sum(1).tolist() == [7, 3]
    assert batch.word_start_BT.nonzero().tolist() == [[0, 1], [0, 2], [0, 4], [0, 5], [1, 1]]  # not ##ema
    # "No edema" is two words in three pieces, "Clear." a word and a full stop; [CLS] and [SEP] count in column 0.
    assert batch.word_counts_BK.tolist() == [[6, 2, 2, 0], [3, 1, 0, 0]]
    assert batch.epochs == [3] * len(batch.keys)


def test_names_stay_with_their_rows():
    _, batch = by_hand()
    assert batch.keys == ["a", "b"]


def test_equal_things_have_equal_numbers_and_nothing_else_has():
    """Sentences compare by their normal form: "Clear." and "Clear" say the same."""
    samples, batch = by_hand()
    (no_edema, clear), (clear_again, nothing) = batch.sentence_hash_BS.tolist()
    assert clear == clear_again != no_edema
    assert nothing == 0
    assert batch.unit_hash_BK.tolist() == [[0, no_edema, clear, 0], [0, clear, 0, 0]]
    assert len(set(batch.study_B.tolist() + batch.report_B.tolist())) == 4
    twins = [samples[0], replace(samples[1], study="s-a"), replace(samples[0], study="other"), sample("c")]
    rows = [Row([1], [-1], [], [False])] * 4
    again = collate(twins, rows, [[]] * 4, [0] * 4, Padding(16, 1, 0))
    assert again.study_B[0] == again.study_B[1] != again.study_B[2]
    assert again.report_B[0] == again.report_B[2] == batch.report_B[0] != again.report_B[1]
    assert again.report_B[3] == 0


def test_units_carry_the_tags_of_the_sentences_that_were_chosen():
    report = replace(
        sample("a", "x", "y", "z"), tags=(frozenset({"normal"}), frozenset(), frozenset({"negated", "uncertain"}))
    )
    batch = collate([report], [Row([1], [-1], [1, 1, 0], [False])], [[2, 0, 1]], [0], Padding(8, 4, 0))
    bits = {tag: 1 << n for n, tag in enumerate(TAGS)}
    assert batch.tags_BK.tolist() == [[0, bits["negated"] | bits["uncertain"], bits["normal"], 0]]
    assert batch.unit_hash_BK[0, 3] == 0, "a sentence that was cut off is not there"


def test_types_are_those_of_the_contract_and_survive_a_move():
    _, batch = by_hand()
    kinds = (
        torch.uint8,
        torch.int64,
        torch.bool,
        torch.int64,
        torch.bool,
        torch.float32,
        *[torch.int64] * 5,
        torch.uint8,
    )
    tensors = [value for value in vars(batch.to("cpu")).values() if isinstance(value, torch.Tensor)]
    assert tuple(tensor.dtype for tensor in tensors) == kinds
    assert batch.to("meta").word_counts_BK.device.type == "meta"
    assert batch.to("cpu").keys == batch.keys


@pytest.mark.parametrize(("longest", "limit", "width"), [(9, 97, 16), (16, 97, 16), (97, 97, 97)])
def test_width_is_a_multiple_of_eight_within_the_limit(longest, limit, width):
    row = Row([1] * longest, [-1] * longest, [1], [False] * longest)
    batch = collate([sample("a", "x")], [row], [[0]], [0], Padding(limit, 2, 0))
    assert batch.tokens_BT.shape == (1, width)


@given(lengths=st.lists(st.integers(3, 50), min_size=1, max_size=20), buckets=st.integers(1, 6))
def test_length_buckets_hold_every_row_and_no_more_padding_than_they_need(lengths, buckets):
    rows = [Row([1] * length, [-1] * length, [1], [False] * length) for length in lengths]
    samples = [sample(str(i), "x") for i in range(len(rows))]
    batch = collate(samples, rows, [[0]] * len(rows), [0] * len(rows), Padding(50, 2, 0, buckets))
    pieces = batch.order_B.tensor_split(len(batch.widths))
    assert len(pieces) == min(buckets, len(rows))
    assert sorted(batch.order_B.tolist()) == list(range(len(rows)))
    assert batch.keys == [str(i) for i in range(len(rows))], "rows keep their places"
    for piece, width in zip(pieces, batch.widths, strict=True):
        longest = max(lengths[i] for i in piece.tolist())
        assert width == min(-(-longest // 8) * 8, 50)
    assert list(batch.widths) == sorted(batch.widths)
    assert batch.tokens_BT.shape[1] == batch.widths[-1]


@given(count=st.integers(1, 12), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_subset_is_some_of_the_sentences_in_some_order(count, seed, epoch):
    sentences = list(range(count))
    chosen = random_subset(sentences, seed, epoch, "k")
    assert 1 <= len(chosen) == len(set(chosen)) <= count
    assert set(chosen) <= set(sentences)
    assert chosen == random_subset(sentences, seed, epoch, "k")


def test_subset_takes_each_number_and_each_order():
    """1..n equally often (docs/method.md): 15 ordered choices of 3 sentences, 1/9 a single, 1/18 each other."""
    found = {}
    for epoch in range(3600):
        chosen = tuple(random_subset(range(3), 0, epoch, "k"))
        found[chosen] = found.get(chosen, 0) + 1
    assert len(found) == 3 + 6 + 6
    expected = {choice: 400 if len(choice) == 1 else 200 for choice in found}
    assert all(abs(found[c] - expected[c]) < 5 * expected[c] ** 0.5 for c in found)


def test_subset_depends_on_seed_epoch_and_key():
    sentences = list(range(30))
    names = ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"))
    assert len({tuple(random_subset(sentences, *name)) for name in names}) == 4


@given(rows=st.integers(1, 60), columns=st.integers(1, 60), size=st.integers(32, 48), inner=st.integers(0, 32))
def test_letterbox_centres_the_picture_on_zeros_and_its_geometry_leads_back(rows, columns, size, inner):
    image_HH, geometry = letterbox(np.full((rows, columns), 200, np.uint8), size, inner)
    assert image_HH.shape == (size, size) == (geometry.height, geometry.width)
    corners = geometry.to_output(np.array([[0, 0], [columns, rows]]))
    left, top, right, bottom = np.round(corners).astype(int).ravel()
    assert (image_HH[top:bottom, left:right] == 200).all()
    assert (image_HH == 200).sum() == (bottom - top) * (right - left)
    assert max(bottom - top, right - left) == (inner or size)
    assert abs((size - bottom) - top) <= 2
    np.testing.assert_allclose(geometry.to_original(corners), [[0, 0], [columns, rows]], atol=1e-9)


def test_dropped_tags_leave_at_least_the_whole_report():
    normal, negated = frozenset({"normal"}), frozenset({"negated", "comparison"})
    report = replace(sample("a", "Clear lungs.", "No nodule.", "A nodule."), tags=(normal, negated, frozenset()))
    assert without_tags(report.tags, frozenset({"normal", "negated"})) == [2]
    assert without_tags(report.tags, frozenset({"comparison"})) == [0, 2]
    assert without_tags(report.tags, frozenset()) == [0, 1, 2]
    empty = replace(report, tags=(normal,) * 3)
    assert without_tags(empty.tags, frozenset({"normal"})) == [0, 1, 2]
