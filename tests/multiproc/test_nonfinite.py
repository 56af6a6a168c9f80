"""Infinities in one rank's picture or gradient are named and never reach the weights; loss scale; averages go on."""

from __future__ import annotations

import os

import pytest
import torch

from sentalign import config as configuration
from sentalign import dist
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, batch
from tests.multiproc.test_options import AXES, RATE, settings, towers

CASE = dict.fromkeys(AXES, 0) | {"offload": "none", "recompute": "none", "norm": "sync"}
NAME = "text.bert.encoder.layer.0.output.dense.weight"
PLACES = [(0, "none"), (1, "none"), (2, "optimizer"), (3, "none"), (3, "all")]


def said(stage, offload="none", norm="sync", **train):
    tree = settings(CASE | {"zero_stage": stage, "offload": offload, "norm": norm}).model_dump()
    return configuration.check(tree | {"train": tree["train"] | train})


class Spoilt:
    """Steps of an engine, of which some meet an infinity on the last rank."""

    def __init__(self, config, before=lambda engine: None):
        from sentalign.engine import build

        self.config = config
        self.engine = build.build(towers(config.model.image.norm), config)
        before(self.engine)

    def step(self, number, picture=False, gradient=False):
        from sentalign.engine.step import train_step

        last = dist.rank() == dist.ranks() - 1
        rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
        hooks = []
        if picture and last:
            hooks.append(self.engine.module.image.register_forward_pre_hook(lambda _, given: (given[0] * torch.inf,)))
        if gradient and last:
            parameter = dict(self.engine.module.named_parameters())[NAME]
            hooks.append(parameter.register_hook(lambda g: g * torch.inf))
        try:
            return train_step(self.engine, batch(number, rows), self.config, number * BATCH, RATE)
        finally:
            for hook in hooks:
                hook.remove()

    def state(self):
        from sentalign.checkpoint import write

        return {name: value.numpy() for name, value in write.whole_state(self.engine).items()}


def start():
    os.environ["DS_ACCELERATOR"] = "cpu"
    from sentalign.engine import build

    build.init_ranks(2)


def stopped():
    """For every stage, the message and whether a weight moved, by a spoilt gradient; then by a spoilt picture."""
    start()
    from sentalign.engine.nonfinite import NotFiniteError

    found = []
    for kind in ("gradient", "picture"):
        for stage, offload in PLACES if kind == "gradient" else PLACES[::3]:
            run = Spoilt(said(stage, offload, norm="group"))
            run.step(0)
            before = run.state()
            with pytest.raises(NotFiniteError) as error:
                run.step(1, **{kind: True})
            after = run.state()
            found.append((kind, str(error.value), all((after[name] == before[name]).all() for name in before)))
    return found


def test_stop_names_step_rank_and_place_and_no_weight_has_moved():
    found = on_ranks(2, stopped)
    assert found[0] == [(kind, text, True) for kind, text, _ in found[1]]
    texts = {kind: {text for k, text, _ in found[0] if k == kind} for kind in ("gradient", "picture")}
    advice = "(lower optimizer.lr or data.augment, or set train.on_nonfinite=skip)"
    assert texts["gradient"] == {
        f"the gradient of the step number 2, after {BATCH} pairs {advice} is no number: rank 1, first in {NAME}"
    }
    (text,) = texts["picture"]
    assert text.startswith(
        f"loss is nan in the step number 2, after {BATCH} pairs {advice}: rank 1 has no number in the "
    )
    assert text.endswith(
        "image tower, first after image.backbone.embedder.embedder.convolution; what it was given is no number already"
    )


def skipped():
    """Weights and statistics with two spoilt steps left out, and without these steps; averages; what was told."""
    start()
    found = []
    for stage, offload in PLACES:
        spoilt, clean = (Spoilt(said(stage, offload, on_nonfinite="skip", ema_pairs=20.0)) for _ in range(2))
        told = [spoilt.step(0), spoilt.step(7, picture=True), spoilt.step(8, gradient=True), spoilt.step(1)]
        clean.step(0)
        clean.step(1)
        averages = [{n: v.numpy() for n, v in run.engine.average.state().items()} for run in (spoilt, clean)]
        found.append((told, spoilt.state(), clean.state(), *averages))
    return found


def test_a_skipped_step_leaves_no_trace_on_any_rank():
    ranks = on_ranks(2, skipped)
    assert [told for told, *_ in ranks[0]] == [told for told, *_ in ranks[1]]
    for told, spoilt, clean, average, clean_average in ranks[0]:
        assert [numbers["skipped"] for numbers in told] == [0, 1, 2, 2]
        assert ["grad_norm" in numbers for numbers in told] == [True, False, False, True]
        assert all(value == value for numbers in told for value in numbers.values())  # the journal takes no NaN
        assert all((spoilt[name] == clean[name]).all() for name in clean)
        assert all((average[name] == clean_average[name]).all() for name in clean_average)


def scaled():
    """Clipped steps in float32, then in float16 (on CPU, past the refusal) with a spoilt step between."""
    start()
    from sentalign.engine import build

    build._refuse = lambda *_: None
    found = []
    # float32 first: DeepSpeed keeps for the whole process that autocast was asked for.
    for precision in ("float32", "float16"):
        for stage in (0, 1, 2, 3):
            tree = said(stage, norm="group", precision=precision).model_dump()
            tree["optimizer"]["gradient_clipping"] = 0.1
            run = Spoilt(configuration.check(tree))
            if precision == "float16":
                run.engine.loss_scaling.value = 2.0**8
                run.engine.loss_scaling.tell(run.engine)
            told = [run.step(0), *([run.step(7, gradient=True)] if precision == "float16" else []), run.step(1)]
            found.append((told, run.state()))
    return found


def test_float16_clips_unscaled_gradients_and_lowers_the_scale_of_a_step_that_overflows():
    ranks = on_ranks(2, scaled)
    begin = {name: value.numpy() for name, value in towers("group").state_dict().items()}
    exact, made = ranks[0][:4], ranks[0][4:]
    for (plain, weights), (told, its_weights) in zip(exact, made, strict=True):
        assert [numbers["loss_scale"] for numbers in told] == [2.0**8, 2.0**7, 2.0**7]
        assert [numbers["skipped"] for numbers in told] == [0, 1, 1]
        assert "grad_norm" not in told[1]
        for one, other in zip(plain, told[::2], strict=True):
            assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.02)
        way = sum(float(((weights[n] - begin[n]) ** 2).sum()) for n in begin) ** 0.5
        off = sum(float(((weights[n] - its_weights[n]) ** 2).sum()) for n in begin) ** 0.5
        assert 0 < off < 0.05 * way


def averaged(folder):
    """Averages of four steps at once, and with a checkpoint after two, of the same stage; and what the file holds."""
    start()
    from sentalign.checkpoint import ema_state, read, write
    from sentalign.checkpoint.write import Progress

    found = []
    for stage in (0, 1, 3):
        config = said(stage, ema_pairs=20.0)
        whole, first, again = (Spoilt(config) for _ in range(3))
        for step in range(4):
            whole.step(step)
        first.step(0)
        first.step(1)
        saves = write.Checkpoints(folder / str(stage), first.engine, 1, lambda pairs: None)
        saves.save(Progress(16, {}))
        saves.finish()
        read.restore(folder / str(stage), again.engine)
        again.step(2)
        again.step(3)
        states = [{n: v.numpy() for n, v in run.engine.average.state().items()} for run in (whole, again)]
        # Another stage takes the same file.
        other = Spoilt(said(3 - stage, ema_pairs=20.0))
        ema_state.load(next((folder / str(stage) / "checkpoints").iterdir()), other.engine)
        first_state = {n: v.numpy() for n, v in first.engine.average.state().items()}
        found.append((*states, first_state, {n: v.numpy() for n, v in other.engine.average.state().items()}))
    return found


def test_the_average_goes_on_from_a_checkpoint(tmp_path):
    for whole, again, first, other in on_ranks(2, averaged, tmp_path)[0]:
        assert len(whole) > 20
        assert all((whole[name] == again[name]).all() for name in whole)
        assert all((first[name] == other[name]).all() for name in first)
        assert not all((first[name] == whole[name]).all() for name in whole)
