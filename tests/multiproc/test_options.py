"""Engine options combined: weights after SGD steps equal those of plain PyTorch in one process on the whole batch.

The cases cover every valid pair of values of ZeRO stage, clipping, offload, recompute, norm, momentum and averaging.
"""

from __future__ import annotations

import itertools
import os
from typing import get_args

import numpy as np
import pytest
import torch

from sentalign import config as configuration
from sentalign.config.model_settings import ImageTowerConfig
from sentalign.config.settings import Train
from sentalign.loss import reference
from sentalign.model import dual, image, text
from tests.multiproc.ranks import on_ranks, rows_of_rank
from tests.multiproc.test_engine import BATCH, batch, reference_terms

STEPS, LR = 5, 0.002
AXES = {
    "zero_stage": (0, 1, 2, 3),
    "offload": ("none", "optimizer", "all"),
    "recompute": ("none", "text", "image", "both"),
    "norm": ("frozen", "sync", "group"),
    "gradient_clipping": (0.0, 0.3),
    "momentum": (0.0, 0.9),
    "ema_pairs": (0.0, 24.0),
}


def valid(case):
    return case["zero_stage"] >= {"none": 0, "optimizer": 1, "all": 3}[case["offload"]]


def pairs(case):
    return set(itertools.combinations(sorted(case.items()), 2))


def covering():
    """Few valid cases that contain every valid pair of values: greedily, most new pairs first."""
    every = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    every = [case for case in every if valid(case)]
    missing = set().union(*map(pairs, every))
    chosen = []
    while missing:
        chosen.append(max(every, key=lambda case: len(pairs(case) & missing)))
        missing -= pairs(chosen[-1])
    return chosen


CASES = covering()


def settings(case):
    tree = {
        "run": "none",
        "seed": 5,
        "data": {"shards": "none", "batch": BATCH, "image_size": 32},
        "model": {"width": 16, "image": {"norm": case["norm"]}, "text": {"backbone": {"hidden_size": 16}}},
        "optimizer": {"kind": "sgd", "lr": LR, "weight_decay": 0.01, "schedule": "constant"},
        "train": {},
    }
    for key in ("gradient_clipping", "momentum"):
        tree["optimizer"][key] = case[key]
    for key in ("zero_stage", "offload", "recompute", "ema_pairs"):
        tree["train"][key] = case[key]
    return configuration.check(tree)


def towers(norms):
    """Small towers without dropout, with running statistics of some other pictures; the same on every call."""
    torch.manual_seed(0)
    vision = {"layer_type": "basic", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 12],
              "depths": [1, 1]}  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
    tower = image.build(None, vision, "stage1", "stage2", 16, norms=norms)
    for layer in tower.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return dual.DualEncoder(tower, text.build(None, bert, 40, 4))


def plain(case):
    """One process, the whole batch, the reference loss, torch's own batch norm: weights and their average."""
    model = towers("group" if case["norm"] == "group" else "batch").train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d) and case["norm"] == "frozen":
            layer.eval()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=case["momentum"], weight_decay=0.01)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(STEPS):
        optimizer.zero_grad()
        reference.total(reference_terms(model, batch(step, slice(None)))).backward()
        if case["gradient_clipping"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), case["gradient_clipping"])
        optimizer.step()
        for name, p in model.named_parameters():
            average[name] = 2 ** (-BATCH / 24) * average[name] + (1 - 2 ** (-BATCH / 24)) * p.detach()
    return model.state_dict(), average if case["ema_pairs"] else {}


def trained(cases):
    """Weights, average, weights while the average is in the engine, and weights after, for every case."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.checkpoint import full_state
    from sentalign.engine import build, ema
    from sentalign.engine.step import train_step

    build.init_ranks(2)
    results = []
    for case in cases:
        config = settings(case)
        engine = build.build(towers(case["norm"]), config)
        for step in range(STEPS):
            train_step(engine, batch(step, rows_of_rank(BATCH)), config, step * BATCH, LR)
        states = [full_state.weights(engine), engine.average.state() if engine.average else {}]
        with ema.swapped(engine):
            states.append(full_state.weights(engine))
        states.append(full_state.weights(engine))
        results.append([{name: value.numpy() for name, value in state.items()} for state in states])
    return results


def assert_close(state, expected, change, case):
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        worst = np.abs(state[name] - value.numpy()).max()
        assert worst <= 1e-5 * max(np.abs(value.numpy()).max(), 1e-3 * change), (case, name, worst)


@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        pytest.param(2, CASES[::3], id="2-some"),
        pytest.param(2, CASES, id="2", marks=pytest.mark.slow),
        pytest.param(1, CASES, id="1", marks=pytest.mark.slow),
    ],
)
def test_any_two_options_together_make_the_steps_of_plain_pytorch(ranks, cases):
    for case, (state, average, swapped, restored) in zip(cases, on_ranks(ranks, trained, cases)[0], strict=True):
        expected, expected_average = plain(case)
        start = towers("group" if case["norm"] == "group" else "batch").state_dict()
        floats = [name for name in expected if expected[name].is_floating_point()]
        change = max(float((expected[name] - start[name]).abs().max()) for name in floats)
        assert change > 1e-3
        assert_close(state, expected, change, case)
        assert_close(average, expected_average, change, case)
        assert all(np.array_equal(swapped[name], average.get(name, state[name])) for name in state), case
        assert all(np.array_equal(restored[name], state[name]) for name in state), case


def test_every_value_that_a_setting_takes_is_in_a_case():
    """A new value of an option needs its comparison with plain PyTorch here."""
    settings_of = {"zero_stage": Train, "offload": Train, "recompute": Train, "norm": ImageTowerConfig}
    for option, section in settings_of.items():
        values = set(get_args(section.model_fields[option].annotation))
        untested = {"batch"} if option == "norm" else set()  # batch norm by rank is not a function of the whole batch
        assert {case[option] for case in CASES} == values - untested
