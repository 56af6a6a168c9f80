"""Checkpoints resumed: with the same bits by as many ranks, and by other numbers of ranks and other ZeRO stages."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sentalign import config as configuration
from sentalign import dist
from sentalign.model import dual, image, text
from tests.checkpoint.test_write import save_once
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, SETTINGS, batch

STEPS = 2  # between two checkpoints


def towers(kind, seed):
    """Small towers that start from `seed`, with frozen word vectors; `norm`: with batch norm in the image tower.

    Their sizes are not multiples of the numbers of ranks.
    """
    torch.manual_seed(seed)
    vision = {
        "plain": {"model_type": "convnext", "hidden_sizes": [9, 17, 17, 17], "depths": [1, 1, 1, 1]},
        "norm": {"model_type": "resnet", "layer_type": "basic", "embedding_size": 9, "hidden_sizes": [9, 9],
                 "depths": [1, 1]},
    }[kind]  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 33,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    stages = ("stage1", "stage2")
    model = dual.DualEncoder(
        image.build(None, vision | {"num_channels": 1}, *stages, 16), text.build(None, bert, 40, 4)
    )
    model.text.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def start():
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build

    build.init_ranks(2)


def new_engine(kind, seed, optimizer=None, **train):
    """An engine and its config."""
    from sentalign.engine import build

    config = configuration.check(SETTINGS | {"train": train, "optimizer": SETTINGS["optimizer"] | (optimizer or {})})
    return build.build(towers(kind, seed), config), config


def steps(engine, config, pairs, count=STEPS):
    """Some steps from `pairs` on; their losses."""
    from sentalign.engine.step import train_step

    rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
    places = range(pairs, pairs + count * BATCH, BATCH)
    return [train_step(engine, batch(p // BATCH, rows), config, p, 1e-2)["loss"] for p in places]


def weights_of(engine):
    from sentalign.checkpoint import full_state

    return {name: value.numpy() for name, value in full_state.weights(engine).items()}


def state_of(engine):
    """Weights and optimizer state of all ranks' shares."""
    from sentalign.checkpoint import full_state

    shares = [None] * dist.ranks()
    own = {name: value.numpy() for name, value in full_state.optimizer_state(engine).items()}
    if dist.ranks() > 1:
        torch.distributed.all_gather_object(shares, own)
    else:
        shares = [own]
    assert sum(map(len, shares)) == len({name for share in shares for name in share}), "a tensor is in two shares"
    return weights_of(engine) | {name: value for share in shares for name, value in share.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())


SAME = [
    *({"kind": "norm", "zero_stage": stage} for stage in range(4)),
    *({"kind": "norm", "zero_stage": stage, "optimizer": {"kind": "sgd"}} for stage in (0, 1, 3)),
    {"kind": "plain", "zero_stage": 2, "offload": "optimizer", "ema_pairs": 16.0},
    {"kind": "plain", "zero_stage": 3, "offload": "all", "precision": "bfloat16"},
    {"kind": "plain", "zero_stage": 1, "precision": "bfloat16", "optimizer": {"decay_norms": False}},
]


def resumed(folder, cases):
    """Of each case the state of four steps at once, of two, restored, and of two more; and the checkpoint's files."""
    start()
    from sentalign.checkpoint import restore

    results = []
    for number, case in enumerate(cases):
        whole, config = new_engine(seed=0, **case)
        steps(whole, config, 0, 2 * STEPS)
        first, _ = new_engine(seed=0, **case)
        steps(first, config, 0)
        run = folder / str(number)
        save_once(run, first, STEPS * BATCH)
        again, _ = new_engine(seed=1, **case)
        assert restore.restore(run, again).pairs == STEPS * BATCH
        restored, before = state_of(again), state_of(first)
        steps(again, config, STEPS * BATCH)
        results.append((before, restored, state_of(whole), state_of(again)))
    return results


@pytest.mark.parametrize("cases", [SAME[1:2], pytest.param(SAME, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_as_many_ranks_resume_with_the_same_bits(tmp_path, cases):
    for case, result in zip(cases, on_ranks(2, resumed, tmp_path, cases)[0], strict=True):
        before, restored, whole, again = result
        assert equal(before, restored), case
        assert equal(whole, again), case
        assert not equal(before, whole), case
        suffix = "/momentum_buffer" if "optimizer" in case and "kind" in case["optimizer"] else "/exp_avg_sq"
        assert sum(name.endswith(suffix) for name in whole) > 20, case
        assert any(name.endswith("/average") for name in whole) == ("ema_pairs" in case)


def whole(kind, phases):
    """(losses, weights) after each phase of a run of stage 1 that nothing interrupts."""
    start()
    engine, config = new_engine(kind, 0, zero_stage=1)
    return [(steps(engine, config, phase * STEPS * BATCH), weights_of(engine)) for phase in range(phases)]


def phase_of(run, kind, stage, seed):
    """Restores (if there is something), takes some steps and saves: what the test compares."""
    start()
    from sentalign.checkpoint import restore

    engine, config = new_engine(kind, seed, zero_stage=stage)
    before = restore.restore(run, engine)
    pairs = before.pairs if before else 0
    restored, losses = state_of(engine) if before else {}, steps(engine, config, pairs)
    save_once(run, engine, pairs + STEPS * BATCH)
    return pairs, restored, losses, weights_of(engine)


def check(run, kind, changes):
    """Trains by the given (ranks, stage) in turn, and compares with as many steps of two ranks throughout."""
    # Batch norm sees other parts of the batch on other ranks: only what is restored can be compared.
    exact = on_ranks(2, whole, kind, len(changes))[0] if kind == "plain" else None
    for phase, (ranks, stage) in enumerate(changes):
        # Each phase starts from other random weights: whatever is not restored shows.
        pairs, restored, losses, weights = on_ranks(ranks, phase_of, run, kind, stage, phase)[0]
        assert pairs == phase * STEPS * BATCH
        if phase:
            files = sorted((run / f"checkpoints/pairs-{pairs:012d}").rglob("*.safetensors"))
            assert len(files) == 1 + changes[phase - 1][0]
            stored = {name: value.numpy() for file in files for name, value in load_file(file).items()}
            assert any("running_mean" in name for name in stored) == (kind == "norm")
            assert equal(stored, restored), (ranks, stage)
        if exact:
            np.testing.assert_allclose(losses, exact[phase][0], rtol=1e-4)
            for name, value in exact[phase][1].items():
                # A key's bias has no gradient but rounding (softmax is blind to it): Adam's steps of it are chance.
                if "key.bias" not in name:
                    np.testing.assert_allclose(weights[name], value, atol=1e-3, err_msg=f"{ranks} {stage} {name}")


def test_half_as_many_ranks_of_another_stage(tmp_path):
    check(tmp_path, "norm", [(2, 2), (1, 0)])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["plain", "norm"])
def test_other_ranks_and_stages(tmp_path, kind):
    """Each stage is left for another one, stages 0 and 3 in both directions, by 2, 1 and 4 ranks."""
    check(tmp_path, kind, [(2, 0), (1, 1), (2, 3), (4, 2), (2, 0), (2, 3), (4, 1), (1, 2), (2, 0)])
