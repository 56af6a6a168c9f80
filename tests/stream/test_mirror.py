"""Mirrored training images against a plain twin: a flip, a table of sentences written by hand, words compared."""

import hashlib
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sentalign.config import Data
from sentalign.loss.targets import ReportIds, same_report, shared_sentences
from sentalign.stream import mirror
from sentalign.stream.dataset import Stream
from sentalign.tokenizer import Tokenizer
from sharding.contract import Sentence
from tests.stream.conftest import tuples, write

BATCH = 8
# Each sentence with that of the mirrored image; None where there is none.
MIRRORED = {
    "Small left effusion.": "Small right effusion.",
    "Small right effusion.": "Small left effusion.",
    "SMALL LEFT EFFUSION": "SMALL RIGHT EFFUSION",
    "Opacity in the RUL, left lung clear.": "Opacity in the LUL, right lung clear.",
    "The heart is large.": "The heart is large.",
    "Right middle lobe pneumonia.": None,
    "Views: PA and left lateral.": None,
    "Views: PA and right lateral.": None,
}
VIEWS = {"Views: PA and left lateral.", "Views: PA and right lateral."}  # tagged non-image
REPORTS = (
    ("Small left effusion.", "The heart is large."),
    ("Small right effusion.", "The heart is large."),
    ("Small left effusion.", "Views: PA and left lateral."),
    ("SMALL LEFT EFFUSION", "Views: PA and right lateral."),
    ("The heart is large.",),
    ("Right middle lobe pneumonia.", "Small right effusion."),
    ("Opacity in the RUL, left lung clear.", "Small left effusion.", "The heart is large."),
    ("Views: PA and left lateral.",),
)


def archive(count=40):
    """Samples with other pixels each, two of a study, whose reports are those above in turn."""
    made = []
    for i, sample in enumerate(tuples(count)):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 31), np.uint8)).save(file, "PNG")
        texts = REPORTS[i // 2 % len(REPORTS)]
        sentences = tuple(Sentence(text, "f", 0, 1, ("non-image",) * (text in VIEWS)) for text in texts)
        made.append(replace(sample, image=file.getvalue(), sentences=sentences))
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sides"), archive())


@pytest.fixture(scope="module")
def words():
    return Tokenizer.train([text for pair in MIRRORED.items() for text in pair if text], 300, cased=True)


def stream(shards, words, rank=0, ranks=1, **changes):
    settings = {"batch": BATCH, "image_size": 32, "max_tokens": 48, "workers": 0, "mirror": 0.5, **changes}
    settings = {"drop_tags": ["non-image"], **settings}
    return Stream(Data(shards=shards, **settings), 7, rank, ranks, words, "train")


def take(one, count):
    return [batch for batch, _ in itertools.islice(one.batches(one.start()), count)]


def rows(batches):
    """(batch, row, key, epoch) of every row."""
    return [(b, i, *name) for b in batches for i, name in enumerate(zip(b.keys, b.epochs, strict=True))]


def report_of(key):
    return REPORTS[int(key[-4:]) // 2 % len(REPORTS)]


def trained_on(texts):
    return [text for text in texts if text not in VIEWS] or list(texts)


def is_mirrored(key, epoch, share):
    name = json.dumps(["mirror", 7, epoch, key]).encode()
    draw = int.from_bytes(hashlib.sha256(b"0:" + name).digest()[:8], "little") / 2**64
    return draw < share and all(MIRRORED[text] for text in trained_on(report_of(key)))


def text_of(key, epoch, share):
    """The report of a row; what is not swapped stays."""
    texts = report_of(key)
    return [MIRRORED[text] or text for text in texts] if is_mirrored(key, epoch, share) else list(texts)


def plain(text):
    return text.lower().replace(".", "").replace(",", "").replace(":", "")


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_every_row_of_two_epochs_is_the_plain_twins(shards, words, share):
    """Pictures are the unmirrored stream's or their flips, tokens those of the sentences swapped by the table."""
    pairs = zip(
        *(rows(take(stream(shards, words, mirror=m, sentence_subset=False), 10)) for m in (0, share)), strict=True
    )
    found = set()
    for (straight, i, key, epoch), (batch, j, *same) in pairs:
        assert (i, key, epoch) == (j, *same), "the order is the same"
        picture_HH = straight.images_BHH[i].numpy()
        flipped_HH = np.array([[row[-1 - x] for x in range(32)] for row in picture_HH])
        expected_HH = flipped_HH if is_mirrored(key, epoch, share) else picture_HH
        assert np.array_equal(batch.images_BHH[j].numpy(), expected_HH)
        assert not np.array_equal(picture_HH, flipped_HH)
        tokens = words.encode(trained_on(text_of(key, epoch, share)), 48).tokens
        assert batch.tokens_BT[j][batch.attention_BT[j]].tolist() == tokens
        found.add(is_mirrored(key, epoch, share))
    assert found == {0: {False}, 0.5: {False, True}, 1: {False, True}}[share]


def test_no_share_is_the_stream_without_the_setting(shards, words):
    data = Data(shards=shards, batch=BATCH, image_size=32, max_tokens=48, workers=0, drop_tags=["non-image"])
    silent = Stream(data, 7, 0, 1, words, "train")
    for one, other in zip(take(silent, 7), take(stream(shards, words, mirror=0), 7), strict=True):
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(other, name)) if torch.is_tensor(value) else value == getattr(other, name)


def test_a_subset_is_that_of_the_unmirrored_row(shards, words):
    """The random part of the report does not depend on the mirror: units are at the same places."""
    pairs = zip(*(rows(take(stream(shards, words, mirror=m), 5)) for m in (0, 1)), strict=True)
    for (straight, i, key, epoch), (batch, j, *_) in pairs:
        by_hash = dict(zip(straight.sentence_hash_BS[i].tolist(), batch.sentence_hash_BS[j].tolist(), strict=False))
        expected = [by_hash[unit] if unit else 0 for unit in straight.unit_hash_BK[i].tolist()]
        assert batch.unit_hash_BK[j].tolist() == expected
        assert torch.equal(straight.tags_BK[i], batch.tags_BK[j])
        assert is_mirrored(key, epoch, 1) or torch.equal(straight.tokens_BT[i], batch.tokens_BT[j])


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (4, 1), (1, 2)])
def test_ranks_and_workers_change_nothing(shards, words, ranks, workers):
    whole = take(stream(shards, words), 6)
    parts = [take(stream(shards, words, rank, ranks, workers=workers), 6) for rank in range(ranks)]
    for one, *others in zip(whole, *parts, strict=True):
        for name in ("images_BHH", "report_B", "study_B", "unit_hash_BK", "word_counts_BK"):
            assert torch.equal(getattr(one, name), torch.cat([getattr(other, name) for other in others]))


def compared(batch):
    """Checks all pairs of rows; the kinds of pairs: of one study, first mirrored, second mirrored, positive."""
    present = (batch.word_counts_BK > 0).float()
    ids = ReportIds(batch.study_B, batch.report_B, batch.sentence_hash_BS, batch.unit_hash_BK, present)
    same_BB, shared_BBK, kinds = same_report(ids, ids), shared_sentences(ids, ids), set()
    for (_, i, key_i, epoch), (_, j, key_j, _) in itertools.product(rows([batch]), repeat=2):
        text_i, text_j = (list(map(plain, text_of(key, epoch, 0.5))) for key in (key_i, key_j))
        study_i, study_j = ((int(key[-4:]) // 2, is_mirrored(key, epoch, 0.5)) for key in (key_i, key_j))
        assert same_BB[i, j] == (text_i == text_j or study_i == study_j)
        units = [unit for unit in batch.unit_hash_BK[j].tolist() if unit]
        hashes = {int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True) for text in text_i}
        assert shared_BBK[i, j].sum() == sum(unit in hashes for unit in units)
        kinds.add((study_i[0] == study_j[0], study_i[1], study_j[1], bool(same_BB[i, j])))
    return kinds


def test_duplicates_are_those_of_the_words_as_they_are_trained_on(shards, words):
    """Reports are compared word by word, studies by their name and whether the row is mirrored."""
    kinds = set()
    for batch in take(stream(shards, words, batch=40), 4):
        kinds |= compared(batch)
    assert (False, True, False, True) in kinds, "a mirrored report that another patient has word for word"
    assert {(True, True, False, False), (True, True, True, True), (True, True, False, True)} <= kinds, "one study"


def test_validation_is_never_mirrored(shards, words):
    for batch, other in zip(*(stream(shards, words, mirror=m).validation_batches() for m in (0, 1)), strict=True):
        assert torch.equal(batch.images_BHH, other.images_BHH)
        assert torch.equal(batch.tokens_BT, other.tokens_BT)


def test_another_seed_epoch_or_sample_draws_again():
    names = [(seed, epoch, key) for seed in range(10) for epoch in range(10) for key in "abcdefghij"]
    drawn = [mirror.is_drawn(0.3, *name) for name in names]
    assert 250 < sum(drawn) < 350
    by_name = dict(zip(names, drawn, strict=True))
    for other in ((1, 0, 0), (0, 1, 0)):
        moved = [by_name.get((s + other[0], e + other[1], k), by_name[s, e, k]) for s, e, k in names]
        assert moved != drawn


def test_the_account_says_how_many_reports_are_never_mirrored(shards, words, monkeypatch):
    """Reports 5 and, as all of its sentences are of dropped tags, 7: four or six of each eight in 20 studies."""
    refused = sum(not all(MIRRORED[t] for t in trained_on(report_of(f"{i:04d}"))) for i in range(40))
    assert (
        stream(shards, words)
        .account()
        .endswith(f"; of 40 reports, {refused} have a side that cannot be swapped: never mirrored")
    )
    assert "mirrored" not in stream(shards, words, mirror=0).account()
    monkeypatch.setattr(mirror, "LOOKED_AT", 20)  # every second one: one image of each study
    assert f"of 20 reports looked at, {refused // 2} have" in stream(shards, words).account()


def test_a_damaged_shard_does_not_end_the_account(words, tmp_path):
    folder = Path(write(tmp_path, archive(), per_shard=20))
    (folder / "shard-000001.tar").unlink()
    assert "; of 20 reports, " in stream(str(folder), words).account()
