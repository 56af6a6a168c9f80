"""Checkpoints of one number of ranks continued by another, at every ZeRO stage, with batch norm and frozen weights."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sentalign import config as configuration
from sentalign import dist
from sentalign.model import dual, image, text
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, SETTINGS, batch

STEPS = 2  # between one change of the ranks and the next


def towers(kind, seed):
    """Small towers that start from `seed`, with frozen word vectors; `norm`: with batch norm in the image tower."""
    torch.manual_seed(seed)
    vision = {
        "plain": {"model_type": "convnext", "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]},
        "norm": {"model_type": "resnet", "layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 8],
                 "depths": [1, 1]},
    }[kind]  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    stages = ("stage1", "stage2")
    model = dual.DualEncoder(
        image.build(None, vision | {"num_channels": 1}, *stages, 16), text.build(None, bert, 40, 4)
    )
    model.text.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def steps(engine, settings, pairs):
    """Some steps from `pairs` on; their losses."""
    from sentalign.engine.step import train_step

    rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
    places = range(pairs, pairs + STEPS * BATCH, BATCH)
    return [train_step(engine, batch(p // BATCH, rows), settings, p, 1e-2)["loss"] for p in places]


def started(cases, seed):
    """An engine for each case, with its settings."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build

    build.init_ranks(2)
    for stage, kind in cases:
        settings = configuration.check(SETTINGS | {"train": {"zero_stage": stage}})
        yield build.build(towers(kind, seed), settings), settings


def weights_of(engine):
    from sentalign.checkpoint import write

    return {name: value.numpy() for name, value in write.whole_state(engine).items()}


def whole(cases, phases):
    """For each case (losses, weights) after each phase of a run that nothing interrupts."""
    return [
        [(steps(engine, settings, phase * STEPS * BATCH), weights_of(engine)) for phase in range(phases)]
        for engine, settings in started(cases, 0)
    ]


def continued(folder, cases, seed):
    """Restores (where there is something), takes some steps and saves: for each case what was met on the way."""
    from sentalign.checkpoint import read, write

    found = []
    for (stage, kind), (engine, settings) in zip(cases, started(cases, seed), strict=True):
        run, told = folder / f"{kind}-{stage}", []
        before = read.restore(run, engine) or write.Progress(0, {})
        restored, losses = weights_of(engine), steps(engine, settings, before.pairs)
        saves = write.Checkpoints(run, engine, 9, told.append)
        saves.save(write.Progress(before.pairs + STEPS * BATCH, {"position": before.pairs}))
        saves.finish()
        found.append((before.pairs, restored, losses, weights_of(engine), told))
    return found


def check(tmp_path, cases, changes):
    """Trains by the given numbers of ranks in turn, and compares with as many steps by two ranks throughout."""
    # Batch norm sees other parts of the batch on other ranks: there only what is restored can be compared.
    exact = [case for case in cases if case[1] == "plain"]
    exact = dict(zip(exact, on_ranks(2, whole, exact, len(changes))[0], strict=True)) if exact else {}
    for phase, ranks in enumerate(changes):
        # Each phase starts from other random weights: whatever is not restored shows.
        for case, said in zip(cases, on_ranks(ranks, continued, tmp_path, cases, phase)[0], strict=True):
            pairs, restored, losses, weights, told = said
            assert pairs == phase * STEPS * BATCH
            assert told == [(phase + 1) * STEPS * BATCH]
            if phase:
                stored = load_file(tmp_path / f"{case[1]}-{case[0]}/checkpoints/pairs-{pairs:012d}/model.safetensors")
                assert restored.keys() == stored.keys()
                assert any("running_mean" in name for name in stored) == (case[1] == "norm")
                for name, value in stored.items():
                    assert np.array_equal(restored[name], value.numpy()), (case, ranks, name)
            if case in exact:
                exact_losses, exact_weights = exact[case][phase]
                np.testing.assert_allclose(losses, exact_losses, rtol=1e-4)
                for name, value in exact_weights.items():
                    # A key's bias has no gradient but rounding (softmax is blind to it): Adam's steps of it are chance.
                    if "key.bias" not in name:
                        np.testing.assert_allclose(weights[name], value, atol=1e-3, err_msg=f"{case} {ranks} {name}")
    assert not list(tmp_path.rglob("*.universal")), "nothing of a conversion stays"


def test_half_as_many_ranks(tmp_path):
    check(tmp_path, [(2, "norm")], [2, 1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_stage_by_two_one_four_and_two_ranks(tmp_path):
    check(tmp_path, [*((stage, "plain") for stage in range(4)), (1, "norm"), (3, "norm")], [2, 1, 4, 2])
