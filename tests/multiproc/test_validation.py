"""The validation pass on ranks, at every ZeRO stage and with micro-batches, against loops over the whole batch."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from sentalign import config as configuration
from sentalign.loss import reference
from sentalign.model import text
from sentalign.stream.augment import normalize
from tests.multiproc.ranks import on_ranks, rows_of_rank
from tests.multiproc.test_engine import BATCH, SETTINGS, batch, reference_terms, towers
from tests.stream.plain_words import words_batch

# By the hash of a unit; hash 4 names no side.
SENTENCES = {1: "Left nodule.", 2: "Right apical effusion.", 3: "A small left cavity.", 4: "Large heart."}
STEPS = 8
CANDIDATES = 4
# ZeRO stage, micro-batch, attention, units of the loss; by the number of ranks.
CASES = {
    1: [(0, 0, "paper", "sentence"), (0, 0, "cosine", "sentence")],
    2: [
        (0, 0, "paper", "sentence"),
        (1, 2, "cosine", "sentence"),
        (3, 2, "paper", "sentence"),
        (1, 2, "paper", "word"),
    ],
}


def plain_batch(step, rows=slice(None)):
    """A batch of `test_engine` with sentences."""
    whole = batch(step, rows)
    sentences = [[SENTENCES[h] for h in hashes if h] for hashes in whole.unit_hash_BK[:, 1:].tolist()]
    tags_BK = torch.where(whole.tags_BK == 3, whole.tags_BK, 0)  # a quarter of the sentences are no findings
    return replace(whole, sentences=sentences, tags_BK=tags_BK)


def other_sides(whole):
    """The batch with other tokens where a sentence names a side, and which sentences do."""
    sided_BK = (whole.unit_hash_BK > 0) & (whole.unit_hash_BK < 4)
    sided_BT = sided_BK.gather(1, (1 + whole.unit_id_BT).clamp(min=0)) & (whole.unit_id_BT >= 0)
    tokens_BT = torch.where(sided_BT, 5 + whole.tokens_BT * 7 % 35, whole.tokens_BT)
    return replace(whole, tokens_BT=tokens_BT), sided_BK


def validation_batch(step, rows=slice(None)):
    """The batch with the swapped texts of some of its rows behind its own."""
    whole = plain_batch(step, rows)
    other, sided_BK = other_sides(whole)
    negative_BK = sided_BK & (whole.tags_BK == 0)
    of_F = negative_BK.any(dim=1).nonzero()[:, 0]
    names = ("tokens_BT", "attention_BT", "unit_id_BT", "word_start_BT", "word_counts_BK")
    texts = {name: torch.cat([getattr(whole, name), getattr(other, name)[of_F]]) for name in names}
    order_B = torch.arange(len(whole.keys) + len(of_F))
    return replace(whole, **texts, order_B=order_B, swapped_F=of_F, negative_BK=negative_BK)


def settings(stage, micro_batch, attention, units):
    loss = {"attention": attention, "units": units, "aggregate": "sentence" if attention == "cosine" else "lse"}
    return configuration.check(SETTINGS | {"train": {"zero_stage": stage, "micro_batch": micro_batch}, "loss": loss})


def validated(cases):
    """The metrics of each case on this rank."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build
    from sentalign.engine.step import validate
    from sentalign.loss import retrieval

    retrieval.CANDIDATES = CANDIDATES  # of a process of its own
    build.init_ranks(2)
    found = []
    for case in cases:
        config = settings(*case)
        batches = [validation_batch(step, rows_of_rank(BATCH)) for step in range(STEPS)]
        found.append(validate(build.build(towers(), config), batches, config))
    return found


@torch.no_grad()
def scores(model, rows, attention):
    """cos(c_ijk, t_jk) of all images and reports, by the reference."""
    words_BK = rows.word_counts_BK
    present = words_BK > 0
    inputs = text.buckets(rows.tokens_BT, rows.attention_BT, rows.unit_id_BT, words_BK, present)
    features = model(normalize(rows.images_BHH), inputs)
    units = features.units_MD.new_zeros(*present.shape, 16).masked_scatter(present[:, :, None], features.units_MD)
    return reference.unit_scores(features.regions_BRD, units, present, reference.LossConfig(attention=attention))


def by_loops(attention):
    """The label-free metrics of all batches, sentence by sentence."""
    model, asked, margins = towers().eval(), [], []
    images, texts = [], []  # of every finding, whether it is above all candidates, the mean over all draws
    for step in range(STEPS):
        rows = plain_batch(step)
        true, swapped = scores(model, rows, attention), scores(model, other_sides(rows)[0], attention)
        for j in range(BATCH):
            reports = [set(hashes) - {0} for hashes in rows.sentence_hash_BS.tolist()]
            for k, sentence in enumerate(rows.sentences[j], 1):
                if rows.tags_BK[j, k]:
                    continue
                rivals = [i for i in range(BATCH) if int(rows.unit_hash_BK[j, k]) not in reports[i]]
                own = true[j, j, k]
                draws = list(combinations([bool(own > true[i, j, k]) for i in rivals], CANDIDATES - 1))
                images += [sum(map(all, draws)) / len(draws)] if draws else []
                others = [
                    bool(own > true[j, i, n])
                    for i in range(BATCH)
                    for n in range(1, 1 + len(rows.sentences[i]))
                    if i != j and not rows.tags_BK[i, n] and int(rows.unit_hash_BK[i, n]) not in reports[j]
                ]
                draws = list(combinations(others, CANDIDATES - 1))
                texts += [sum(map(all, draws)) / len(draws)] if draws else []
                asked.append((sentence, all(true[i, j, k] < true[j, j, k] for i in rivals)))
                if "eft" in sentence or "ight" in sentence:
                    margins.append(float(true[j, j, k] - swapped[j, j, k]))
    metrics = {"recall": sum(found for _, found in asked) / len(asked)}
    for word in ("left", "nodule", "right", "apical", "effusion", "small", "cavity", "large", "heart"):
        hits = [found for sentence, found in asked if word in sentence.lower()]
        if len(hits) >= 5:
            metrics[f"word_recall/{word}"] = sum(hits) / len(hits)
    metrics["recall_lowest"] = min(value for name, value in metrics.items() if name.startswith("word"))
    metrics["text_to_image_recall"], metrics["image_to_text_recall"] = (sum(x) / len(x) for x in (images, texts))
    metrics["retrieval_recall"] = (metrics["text_to_image_recall"] + metrics["image_to_text_recall"]) / 2
    metrics["side_margin"] = sum(margins) / len(margins)
    metrics["side_preferred"] = sum(m > 0 for m in margins) / len(margins)
    return metrics


@torch.no_grad()
def terms_of(case):
    """The four terms of each batch by the reference, and their means."""
    from sentalign.engine import loss_scalars
    from sentalign.engine.inputs import prepare

    config, found = settings(*case), []
    for step in range(STEPS):
        rows = plain_batch(step)
        rows = words_batch(rows, 10) if config.loss.units == "word" else rows
        ids = prepare(rows, normalize(rows.images_BHH), config, lambda *_: None).reports.own
        found.append(reference_terms(towers().eval(), rows, loss_scalars.loss_config(config.loss, None), ids))
    return {name: float(sum(terms[name] for terms in found)) / STEPS for name in found[0]}


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_terms_and_label_free_metrics_are_those_of_loops_over_the_whole_batch(ranks):
    assert all(0 < len(validation_batch(step).swapped_F) < BATCH for step in range(STEPS))
    expected = {attention: by_loops(attention) for attention in ("paper", "cosine")}
    assert all(0 < one[name] < 1 for one in expected.values() for name in ("recall", "side_preferred"))
    for found in on_ranks(ranks, validated, CASES[ranks]):
        for case, metrics in zip(CASES[ranks], found, strict=True):
            exact = expected[case[2]] | terms_of(case)
            assert metrics.keys() - exact.keys() == {"loss"}
            assert {name: metrics[name] for name in exact} == pytest.approx(exact, abs=1e-5)
