"""NaN and inf in one rank's image or gradient are located and never reach the weights; averages are resumed."""

from __future__ import annotations

import os

import pytest
import torch

from sentalign import config as configuration
from sentalign import dist
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, batch
from tests.multiproc.test_options import AXES, LR, settings, towers

CASE = dict.fromkeys(AXES, 0) | {"offload": "none", "recompute": "none", "norm": "sync"}
NAME = "text.bert.encoder.layer.0.output.dense.weight"
PLACES = [(0, "none"), (1, "none"), (2, "optimizer"), (3, "none"), (3, "all")]


def case(stage, offload="none", norm="sync", **train):
    tree = settings(CASE | {"zero_stage": stage, "offload": offload, "norm": norm}).model_dump()
    return configuration.check(tree | {"train": tree["train"] | train})


class Spoilt:
    """Steps of an engine, some of which get an inf on the last rank."""

    def __init__(self, config, before=lambda engine: None):
        from sentalign.engine import build

        self.config = config
        self.engine = build.build(towers(config.model.image.norm), config)
        before(self.engine)

    def step(self, number, image=False, gradient=False):
        from sentalign.engine.step import train_step

        last = dist.rank() == dist.ranks() - 1
        rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
        hooks = []
        if image and last:
            hooks.append(self.engine.module.image.register_forward_pre_hook(lambda _, inputs: (inputs[0] * torch.inf,)))
        if gradient and last:
            parameter = dict(self.engine.module.named_parameters())[NAME]
            hooks.append(parameter.register_hook(lambda g: g * torch.inf))
        try:
            return train_step(self.engine, batch(number, rows), self.config, number * BATCH, LR)
        finally:
            for hook in hooks:
                hook.remove()

    def state(self):
        from sentalign.checkpoint import full_state

        return {name: value.numpy() for name, value in full_state.weights(self.engine).items()}


def start():
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build

    build.init_ranks(2)


def stopped():
    """For every stage, the message and whether the weights are unchanged: by a spoilt gradient, then a spoilt image."""
    start()
    from sentalign.engine.nonfinite import NotFiniteError

    results = []
    for kind in ("gradient", "image"):
        for stage, offload in PLACES if kind == "gradient" else PLACES[::3]:
            run = Spoilt(case(stage, offload, norm="group"))
            run.step(0)
            before = run.state()
            with pytest.raises(NotFiniteError) as error:
                run.step(1, **{kind: True})
            after = run.state()
            results.append((kind, str(error.value), all((after[name] == before[name]).all() for name in before)))
    return results


def test_stop_names_step_rank_and_place_and_no_weight_has_moved():
    results = on_ranks(2, stopped)
    assert results[0] == [(kind, text, True) for kind, text, _ in results[1]]
    texts = {kind: {text for k, text, _ in results[0] if k == kind} for kind in ("gradient", "image")}
    advice = "(lower optimizer.lr or data.augment, or set train.on_nonfinite=skip)"
    assert texts["gradient"] == {
        f"the gradient is NaN or inf in step 2, after {BATCH} pairs {advice}: rank 1, first in {NAME}"
    }
    (text,) = texts["image"]
    assert text == (
        f"the loss is nan in step 2, after {BATCH} pairs {advice}: rank 1, in the image tower, first after "
        "image.backbone.embedder.embedder.convolution; its input is already NaN or inf"
    )


def skipped():
    """Weights, statistics and averages with two spoilt steps skipped, and without these steps; the steps' metrics."""
    start()
    results = []
    for stage, offload in PLACES:
        spoilt, clean = (Spoilt(case(stage, offload, on_nonfinite="skip", ema_pairs=20.0)) for _ in range(2))
        steps = [spoilt.step(0), spoilt.step(7, image=True), spoilt.step(8, gradient=True), spoilt.step(1)]
        clean.step(0)
        clean.step(1)
        averages = [{n: v.numpy() for n, v in run.engine.average.state().items()} for run in (spoilt, clean)]
        results.append((steps, spoilt.state(), clean.state(), *averages))
    return results


def test_a_skipped_step_leaves_no_trace_on_any_rank():
    ranks = on_ranks(2, skipped)
    assert [steps for steps, *_ in ranks[0]] == [steps for steps, *_ in ranks[1]]
    for steps, spoilt, clean, average, clean_average in ranks[0]:
        assert [metrics["skipped"] for metrics in steps] == [0, 1, 2, 2]
        assert ["grad_norm" in metrics for metrics in steps] == [True, False, False, True]
        assert all(value == value for metrics in steps for value in metrics.values())  # JSON has no NaN
        assert all((spoilt[name] == clean[name]).all() for name in clean)
        assert all((average[name] == clean_average[name]).all() for name in clean_average)


def averaged(folder):
    """Averages of four steps at once, and with a checkpoint after two, of the same stage; and what the file holds."""
    start()
    from sentalign.checkpoint import restore
    from tests.checkpoint.test_write import save_once

    results = []
    for stage in (0, 1, 3):
        config = case(stage, ema_pairs=20.0)
        whole, first, again = (Spoilt(config) for _ in range(3))
        for step in range(4):
            whole.step(step)
        first.step(0)
        first.step(1)
        save_once(folder / str(stage), first.engine, 16)
        restore.restore(folder / str(stage), again.engine)
        again.step(2)
        again.step(3)
        states = [{n: v.numpy() for n, v in run.engine.average.state().items()} for run in (whole, again)]
        # Another stage loads the same checkpoint.
        other = Spoilt(case(3 - stage, ema_pairs=20.0))
        restore.restore(folder / str(stage), other.engine)
        first_state = {n: v.numpy() for n, v in first.engine.average.state().items()}
        results.append((*states, first_state, {n: v.numpy() for n, v in other.engine.average.state().items()}))
    return results


@pytest.mark.slow
def test_the_average_goes_on_from_a_checkpoint(tmp_path):
    for whole, again, first, other in on_ranks(2, averaged, tmp_path)[0]:
        assert len(whole) > 20
        assert all((whole[name] == again[name]).all() for name in whole)
        assert all((first[name] == other[name]).all() for name in first)
        assert not all((first[name] == whole[name]).all() for name in whole)
