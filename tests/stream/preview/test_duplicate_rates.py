"""Duplicate rates against a plain loop over all pairs, and against chance."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.config import Data
from sentalign.stream.preview import duplicate_rates
from sentalign.stream.preview.duplicate_rates import DuplicateKeys
from sentalign.stream.read import duplicate_keys
from sentalign.stream.read.fetch import KEY_COLUMNS
from sentalign.stream.read.open_data import open_mixture
from sharding.sources import open_i
from sharding.sources.files.inventory import Inventory
from sharding.text import sections, sentences


def keys_of(reports, patients):
    """Samples with these sentences and patients; each one a study and a shard of its own."""
    column = pa.array(reports, pa.list_(pa.string()))
    alone = np.arange(len(reports))
    kinds = {"text": duplicate_keys.codes(column), "patient": np.array(patients), "study": alone, "shard": alone}
    return DuplicateKeys(kinds, *duplicate_keys.sentences(column))


def by_loop(reports, patients, batch):
    """The definitions, pair by pair."""
    found = {}
    same = {
        "text": lambda i, j: reports[i] == reports[j] != [],
        "patient": lambda i, j: patients[i] == patients[j] >= 0,
        "study": lambda i, j: False,
        "shard": lambda i, j: False,
        "sentence": lambda i, j: bool(set(reports[i]) & set(reports[j])),
    }
    for kind, test in same.items():
        pairs = [(i, j) for i, j in itertools.combinations(range(len(batch)), 2) if test(batch[i], batch[j])]
        found[kind] = (len({i for pair in pairs for i in pair}) / len(batch), len(pairs))
    shared = [
        any(words in reports[other] for j, other in enumerate(batch) if j != i)
        for i, one in enumerate(batch)
        for words in reports[one]
    ]
    return found | {"sentences": (sum(shared) / max(1, len(shared)), 0)}


@given(drawn=st.data(), width=st.integers(2, 20), batches=st.integers(1, 4))
def test_rates_are_those_of_a_loop_over_all_pairs(drawn, width, batches):
    reports = drawn.draw(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=20, max_size=20))
    patients = drawn.draw(st.lists(st.integers(-1, 9), min_size=20, max_size=20))
    batches_SB = np.array([drawn.draw(st.permutations(range(20)))[:width] for _ in range(batches)])
    found = duplicate_rates.rates(keys_of(reports, patients), batches_SB)
    plain = [by_loop(reports, patients, batch) for batch in batches_SB]
    assert found.keys() == plain[0].keys()
    for kind, rate in found.items():
        shares, pairs = zip(*(one[kind] for one in plain), strict=True)
        assert rate.share == pytest.approx(np.mean(shares))
        assert rate.pairs == pytest.approx(np.mean(pairs))
        assert rate.error == pytest.approx(np.std(shares, ddof=1) / batches**0.5 if batches > 1 else 0)


def test_pairs_of_a_full_shuffle_are_those_of_chance():
    """2,000 samples of 200 patients in batches of 100: 100 * 99 / 2 pairs, each with chance 9 / 1,999."""
    reports = [[str(i)] for i in range(2000)]
    found = duplicate_rates.rates(
        keys_of(reports, np.arange(2000) // 10), np.random.default_rng(0).permutation(2000).reshape(20, 100)
    )
    assert found["patient"].pairs == pytest.approx(4950 * 9 / 1999, rel=0.15)
    assert found["sentence"].share == found["text"].pairs == 0


def test_samples_of_a_mixture_are_counted_through_its_data_sets(make_shards):
    """Both have patients p0, p1, ...: equal names are one patient; shards of two data sets are never one."""
    sources = [{"url": make_shards(11)}, {"url": make_shards(45), "weight": 3}]
    mixture = open_mixture(Data(shards=sources, batch=8), "train", 0)
    found = DuplicateKeys.of(mixture)
    assert [len(found.kinds[kind]) for kind in KEY_COLUMNS] == [56] * 3
    assert found.kinds["patient"][0] == found.kinds["patient"][11]
    assert len(np.unique(found.kinds["shard"])) == 2 + 7
    for step in range(15):
        refs = mixture.samples(step, range(8))
        assert mixture.batch(step).tolist() == [ref.index + 11 * ref.data_set for ref in refs]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("batch", "of_sentences", "reports", "whole"), [(128, 0.42, 0.89, 0.08), (1024, 0.615, 0.965, 0.205)]
)
def test_open_i_reports_collide_as_often_as_was_measured(realdata, batch, of_sentences, reports, whole):
    """docs/method.md: at 128, 41 to 43% of sentences, 89% of reports, 7% whole reports; at 1,024, 61% and 21%."""
    images = {image.study: image for image in open_i.read(Inventory.of(str(realdata / "openi"))).images}
    hashes = [
        [one.hash for part in sections.official(text) for one in sentences.split(text, part.name, part.start, part.end)]
        for text in (image.text or "" for image in images.values())
    ]
    spoken = [found for found in hashes if found]
    assert len(spoken) > 2500
    drawn = np.random.default_rng(0)
    batches_SB = np.stack([drawn.permutation(len(spoken))[:batch] for _ in range(65536 // batch)])
    found = duplicate_rates.rates(keys_of(spoken, [-1] * len(spoken)), batches_SB)
    for kind, share in (("sentences", of_sentences), ("sentence", reports), ("text", whole)):
        assert found[kind].share == pytest.approx(share, abs=0.012)
