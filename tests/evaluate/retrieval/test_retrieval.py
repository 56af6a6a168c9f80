"""Retrieval: ranks against loops, chance against all orders, vectors of whole splits, and the command."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from sentalign.evaluate.retrieval import recall
from sentalign.evaluate.retrieval.encode import Vectors, encode
from sentalign.evaluate.retrieval.ranks import ranks
from sentalign.localize.trained_run import TrainedRun
from sharding.contract import UserError
from sharding.pixels import letterbox
from tests.evaluate.conftest import evaluate
from tests.stream.conftest import SENTENCES, tuples, write


def slow_ranks(queries_ND, candidates_ND, texts_N):
    found = []
    for query_D, text in zip(queries_ND.astype(float), texts_N, strict=False):
        scores = [float(sum(query_D * candidate_D)) for candidate_D in candidates_ND.astype(float)]
        best = max(score for score, other in zip(scores, texts_N, strict=True) if other == text)
        found.append(sum(score >= best for score, other in zip(scores, texts_N, strict=True) if other != text))
    return found


@pytest.mark.parametrize("queries", [40, 25])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_ranks_equal_a_loop(block, queries):
    rng = np.random.default_rng(0)
    # Small integers: sums are exact, and scores tie.
    queries_ND, candidates_ND = rng.integers(-3, 4, (2, 40, 6)).astype(np.float32)
    texts_N = rng.integers(0, 15, 40)
    found_N = ranks(queries_ND[:queries], candidates_ND, texts_N, block=block)
    assert found_N.tolist() == slow_ranks(queries_ND[:queries], candidates_ND, texts_N)


def test_what_says_nothing_finds_nothing():
    texts_N = np.array([0, 1, 1, 2])
    equal_ND, nan_ND = np.ones((4, 3), np.float32), np.full((4, 3), np.nan, np.float32)
    assert ranks(equal_ND, equal_ND, texts_N).tolist() == [3, 2, 2, 3]
    assert ranks(nan_ND, equal_ND, texts_N).tolist() == [3, 2, 2, 3]


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_chance_equals_the_share_of_all_orders(k):
    texts_N = np.array([0, 1, 1, 2, 1])
    expected = []
    for text in texts_N:
        orders = list(itertools.permutations(texts_N))
        # Found: before the first right candidate stand fewer than k wrong ones.
        expected.append(np.mean([order.index(text) < k for order in orders]))
    assert recall.chance(texts_N, k) == pytest.approx(expected)


def test_measured_by_hand():
    images_ND, reports_ND = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    # Image 0 is nearest to report 2, then to its own; reports 1 and 3 are one text.
    images_ND[0] = [0.6, 0, 0.8, 0]
    measured = recall.measure(Vectors(images_ND, reports_ND, np.array([0, 1, 2, 1]), ["a", "b", "a", "c"]), "cpu", 20)
    assert (measured["pairs"], measured["texts"], measured["patients"]) == (4, 3, 3)
    assert measured["image_to_text"]["recall_at_1"] == 0.75
    assert measured["image_to_text"]["recall_at_5"] == 1
    # Report 2 finds its image before image 0, which is no wrong answer's equal: .8 < 1.
    assert measured["text_to_image"]["recall_at_1"] == 1
    assert measured["image_to_text"]["median_rank"] == 1
    low, high = measured["image_to_text"]["recall_at_1_ci"]
    assert 0 <= low < 0.75 < high <= 1
    assert measured["image_to_text"]["recall_at_1_chance"] == pytest.approx((0.25 + 0.5 + 0.25 + 0.5) / 4)


@pytest.fixture
def split_shards(tmp_path):
    return write(tmp_path / "shards", tuples(10, "test", silent=(4,)))


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (4, 0), (4, 2), (64, 0)])
def test_vectors_of_a_whole_split(run_folder, split_shards, batch, workers):
    run = TrainedRun.load(run_folder)
    vectors = encode(run, split_shards, "test", batch, workers)
    kept = [n for n in range(10) if n != 4]
    assert vectors.patients == [f"p{n // 4}" for n in kept]
    # Sample n has the first 1 + n % 5 sentences.
    lengths = [1 + n % 5 for n in kept]
    same = vectors.texts_N[:, None] == vectors.texts_N
    assert (same == (np.array(lengths)[:, None] == lengths)).all()
    for row, (n, length) in enumerate(zip(kept, lengths, strict=True)):
        grey_HH, _ = letterbox(np.full((40, 30), n, np.uint8), run.settings.data.image_size)
        image_11HH = torch.from_numpy(grey_HH)[None, None].float() / 127.5 - 1
        encoded = run.tokenizer.encode(SENTENCES[:length], run.settings.data.max_tokens)
        tokens = torch.tensor([encoded.tokens])
        counts = torch.tensor([[encoded.total_words, *encoded.word_counts]], dtype=torch.float32)
        texts = tokens, torch.ones_like(tokens, dtype=torch.bool), torch.tensor([encoded.sentence_ids]), counts
        expected = run.model.encode_images(image_11HH)[1][0], run.model.encode_texts(*texts)[1][0]
        for found_D, vector_D in zip((vectors.images_ND[row], vectors.reports_ND[row]), expected, strict=True):
            assert found_D == pytest.approx((vector_D / vector_D.norm()).numpy(), abs=1e-5)


def test_the_command(run_folder, split_shards, tmp_path, capsys):
    words = ("--data", split_shards, "--run", run_folder, "--out", tmp_path / "out", "--replicates", 20)
    evaluate("retrieval", *words, "--json")
    measured = json.loads(capsys.readouterr().out)
    assert measured == json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert (measured["split"], measured["pairs"], measured["texts"]) == ("test", 9, 5)
    evaluate("retrieval", *words)
    assert "text to image" in capsys.readouterr().out
    with pytest.raises(UserError, match="no sample with text in split 'validate'"):
        evaluate("retrieval", *words, "--split", "validate")
    with pytest.raises(UserError, match="--batch must be 1 or more"):
        evaluate("retrieval", *words, "--batch", 0)


def test_memory_is_that_of_a_block_however_many_there_are():
    """94 blocks of 256 queries; when each left a small result in the memory of the freed block, they took 760 MB."""
    code = """
import resource
import numpy as np
from sentalign.evaluate.retrieval.ranks import ranks
queries_ND = np.random.default_rng(0).standard_normal((24_000, 8), dtype=np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ranks(queries_ND, queries_ND[::-1].copy(), np.arange(24_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown < 450 * 1024  # kB
