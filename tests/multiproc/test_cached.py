"""The cached contrastive step on ranks, at every ZeRO stage, against plain PyTorch with one graph over everything."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from sentalign import config as configuration
from sentalign import dist
from sentalign.loss import objective, reference
from sentalign.model import dual, image, text
from sentalign.stream.augment import normalize
from sentalign.stream.order import plan
from tests.multiproc.own_pair_losses import attraction_loss, swapped_loss
from tests.multiproc.ranks import on_ranks, rows_of_rank
from tests.multiproc.test_engine import BATCH, SETTINGS, batch, reference_terms
from tests.stream.plain_words import words_batch

STEPS = 5
LR = 0.01  # with gradients up to 50: far larger steps are not stable, and grow rounding errors too
LOSSES = {
    "paper": {},
    "learned": {"learn": ["t1", "t2", "t3"], "t1": 3.0, "t3": 5.0},
    "sentence": {"attention": "cosine", "aggregate": "sentence", "tau": 0.2, "learn": ["tau", "tau_contrast", "t3"]},
    "sigmoid": {"objective": "sigmoid", "learn": ["t3", "bias_global", "bias_local"], "targets": "multi"},
    "multi": {"targets": "multi", "sentence_twins": "drop", "tag_weights": {"negated": 0.0, "uncertain": 0.5}},
    "mask": {"targets": "mask", "attention": "cosine", "tag_weights": {"negated": 0.25}, "learn": ["t2", "tau"]},
}

CONTRASTS = list(LOSSES)
VIEWS = {"weight_rescale": 5.0, "weight_window": 3.0, "window": 1.0, "view_share": 0.5}
LOSSES |= {
    "views": {"attention": "cosine", "aggregate": "sentence", "learn": ["tau"], "tag_weights": {"negated": 0.5}}
    | VIEWS,
    "views-paper": {"targets": "multi", "learn": ["t1"], "t1": 5.0} | VIEWS,
    "swapped": {
        "attention": "cosine",
        "aggregate": "sentence",
        "tau": 0.3,
        "learn": ["tau"],
        "weight_swapped": 4.0,
        "tag_weights": {"negated": 0.5},
    },
    "swapped-paper": {"targets": "multi", "learn": ["t1", "t2", "t3"], "weight_swapped": 2.0},
    "soft": {
        "attention": "cosine",
        "aggregate": "sentence",
        "tau": 0.2,
        "learn": ["tau"],
        "sentence_twins": "soft",
        "weight_attraction": 3.0,
        "tag_weights": {"negated": 0.0, "uncertain": 0.5},
    },
    "soft-paper": {
        "targets": "multi",
        "sentence_twins": "soft",
        "learn": ["t1", "t2"],
        "weight_attraction": 5.0,
        "attraction_share": 0.1,
        "weight_swapped": 2.0,
    },
    "words": {
        "units": "word",
        "attention": "cosine",
        "learn": ["t2", "t3"],
        "sentence_twins": "soft",
        "tag_weights": {"negated": 0.0, "uncertain": 0.5},
    },
    "words-paper": {"units": "word", "sentence_twins": "drop", "targets": "multi", "learn": ["t1", "t2"]},
}


class Case(NamedTuple):
    stage: int
    micro: int  # pairs of a rank at once, 0: one graph
    loss: str = "paper"
    dropout: float = 0.0
    clipping: float = 0.0
    offload: str = "none"
    precision: str = "float32"
    compiled: bool = False
    fused: tuple[str, ...] = ()
    context: str = "report"
    upside_down: float = 0.0


def towers(case):
    """Small towers without batch norm, the same on every call."""
    torch.manual_seed(0)
    vision = {"model_type": "convnext", "num_channels": 1, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1],
              "drop_path_rate": case.dropout}  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": case.dropout, "attention_probs_dropout_prob": case.dropout}  # fmt: skip
    from sentalign.engine import loss_scalars

    built = (image.build(None, vision, "stage1", "stage2", 16, fused_stages=case.fused), text.build(None, bert, 40, 4))
    return dual.DualEncoder(*built, loss_scalars.initial_values(settings(case).loss))


def settings(case):
    train = {"zero_stage": case.stage, "micro_batch": case.micro, "offload": case.offload}
    train |= {"precision": case.precision, "compile": case.compiled}
    tree: dict[str, Any] = SETTINGS | {"train": train, "loss": LOSSES[case.loss]}
    tree["data"] = SETTINGS["data"] | {"context": case.context, "upside_down": case.upside_down}
    tree["optimizer"] = {"kind": "sgd", "lr": LR, "weight_decay": 0.0, "gradient_clipping": case.clipping}
    return configuration.check(tree)


def plain(case, more_loss=None):
    """Gradients of the first step and weights after some, by one graph on the whole batch in this process.

    `more_loss(model, config, step, ids)` is added to the four terms.

    With dropout the graph is made of the same parts, on the ranks' rows, by the same random states as the engine's.
    """
    from sentalign.engine import loss_scalars

    model, config = towers(case), settings(case)
    model = model if case.dropout else model.double()  # so that all rounding is the engine's
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    first = {}
    for step in range(STEPS):
        optimizer.zero_grad()
        if case.dropout:
            terms = terms_by_parts(model, config, step)
        else:
            whole = batch(step, slice(None), alone=case.context == "sentence")
            whole = whole if config.loss.units == "sentence" else words_batch(whole, 10)
            whole = replace(whole, images_BHH=some_upside_down(whole, config))
            inputs = prepared(whole, config)
            loss_config = loss_scalars.loss_config(config.loss, model.loss_scalars)
            terms = reference_terms(model, whole, loss_config, inputs.reports.own)
        loss = reference.total(terms).sum()
        if config.loss.weight_swapped:
            loss = loss + swapped_loss(model, config, step, inputs.reports.own)
        if config.loss.weight_attraction:
            loss = loss + attraction_loss(model, config, step, inputs.reports.own)
        if more_loss:
            loss = loss + more_loss(model, config, step, inputs.reports.own)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if case.dropout:
            dist.mean_in_place(gradients)
        first = first or {n: p.grad.clone().numpy() for n, p in model.named_parameters() if p.grad is not None}
        if case.clipping:
            torch.nn.utils.clip_grad_norm_(model.parameters(), case.clipping)
        optimizer.step()
    return first, {name: value.detach().numpy() for name, value in model.state_dict().items()}


def some_upside_down(whole, config):
    """The images as they are stored, those drawn upside down, one by one."""
    images = []
    for image_HH, key, epoch in zip(whole.images_BHH, whole.keys, whole.epochs, strict=True):
        drawn = plan.short_draws(1, "upside down", config.seed, epoch, key)[0] / 2**64
        images.append(torch.stack(list(image_HH)[::-1]) if drawn < config.data.upside_down else image_HH)
    return torch.stack(images)


def prepared(step_batch, config, seed_rng=None):
    from sentalign.engine.inputs import prepare

    return prepare(step_batch, normalize(step_batch.images_BHH), config, seed_rng)


def terms_by_parts(model, config, step):
    """The fast path's terms of one graph over this rank's micro-batches and buckets, each with the engine's seed."""
    from sentalign.engine import loss_scalars
    from sentalign.engine.step import _seed

    inputs = prepared(batch(step, rows_of_rank(BATCH)), config)
    parts = {"images": torch.arange(len(inputs.images_bCHH)).split(config.train.micro_batch), "texts": inputs.buckets}
    features = {}
    for kind, pieces in parts.items():
        features[kind] = []
        for number, piece in enumerate(pieces):
            torch.manual_seed(_seed(config.seed, step * BATCH, dist.rank(), kind, number))
            features[kind].append(model(inputs.images_bCHH[piece]) if kind == "images" else model(None, [piece]))
    vectors = [torch.cat([getattr(f, name) for f in features["images"]]) for name in ("regions_BRD", "image_BD")]
    vectors += [sum(getattr(f, name) for f in features["texts"]) for name in ("units_MD", "report_BD")]
    loss_config = loss_scalars.loss_config(config.loss, features["images"][0].loss_scalars_N)
    return objective.four_terms(*vectors, loss_config, inputs.reports)


def engines(cases):
    """For each case, the engine's gradients of the first step, weights after the last, and `plain` with dropout."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    from sentalign.checkpoint import full_state
    from sentalign.engine import build
    from sentalign.engine.step import train_step

    build.init_ranks(2)
    results = []
    for case in cases:
        config, gradients = settings(case), {}
        engine = build.build(towers(case), config)
        optimizer_step = engine.step

        def record_and_step(engine=engine, gradients=gradients, optimizer_step=optimizer_step):
            if not gradients:
                for name, parameter in engine.module.named_parameters():
                    full = deepspeed.utils.safe_get_full_grad(parameter)
                    gradients[name] = None if full is None else full.numpy().copy()
            optimizer_step()

        engine.step = record_and_step
        for step in range(STEPS):
            added = {"swapped": config.loss.weight_swapped > 0, "alone": case.context == "sentence"}
            train_step(engine, batch(step, rows_of_rank(BATCH), **added), config, step * BATCH, LR)
        weights = {name: value.numpy() for name, value in full_state.weights(engine).items()}
        results.append((gradients, weights, plain(case) if case.dropout else None))
    return results


def worst(values, exact):
    """The largest difference against the larger of the tensor's own size and a thousandth of the largest."""
    sizes = {name: np.abs(value).max() for name, value in exact.items()}
    largest = max(sizes.values())
    return max((np.abs(values[n] - exact[n]).max() / max(sizes[n], 1e-3 * largest), n) for n in exact)


def compare(cases, ranks, more_loss=None):
    """Checks gradients and weights of all cases, each against one graph over the whole batch."""
    exact = {case._replace(stage=0, micro=0, offload="none", compiled=False): None for case in cases}
    for case in exact:
        exact[case] = None if case.dropout else plain(case, more_loss)
    for case, (gradients, weights, of_ranks) in zip(cases, on_ranks(ranks, engines, cases)[0], strict=True):
        first, after = of_ranks or exact[case._replace(stage=0, micro=0, offload="none", compiled=False)]
        nonzero = {n for n, g in gradients.items() if g is not None and np.abs(g).max() > 0}
        assert nonzero >= {n for n, g in first.items() if np.abs(g).max() > 0}, ("no gradient", case)
        if not case.clipping:
            difference, name = worst(gradients, first)
            assert difference <= 1e-5, ("gradient", case, name, difference)
        difference, name = worst(weights, after)
        assert difference <= 1e-5, ("weights", case, name, difference)


# All stages by all numbers of micro-batches, then each option in turn.
PLAIN = [Case(stage, micro) for stage, micro in product(range(4), (0, 1, 2, 4))]
OPTIONS = [Case(stage, 2, loss) for stage, loss in zip((0, 1, 2, 3, 0, 3), CONTRASTS, strict=True)]
OPTIONS += [
    Case(1, 0, "multi"),
    Case(2, 0, "mask"),
    Case(3, 1, "learned"),
    Case(1, 2, "sigmoid"),
    Case(2, 1, "sentence"),
    Case(2, 2, clipping=0.5),
    Case(0, 0, "swapped"),
    Case(1, 2, "swapped-paper"),
    Case(2, 1, "swapped"),
    Case(3, 0, "swapped-paper"),
    Case(3, 2, "sentence", fused=("stage2", "stage3")),
    Case(2, 0, "soft"),
    Case(3, 2, "soft-paper"),
    Case(0, 4, "soft-paper"),
    Case(1, 2, "soft"),
    Case(3, 2, "words"),
    Case(0, 0, "words-paper"),
    Case(1, 1, "words-paper"),
    Case(2, 0, "words"),
    Case(0, 2, "multi", context="sentence"),
    Case(3, 0, "sentence", context="sentence"),
    Case(1, 1, "soft-paper", context="sentence"),
    Case(2, 0, "swapped", context="sentence"),
    Case(1, 2, "sentence", context="sentence", upside_down=0.5),
    Case(2, 0, "sentence", context="sentence", upside_down=0.5),
]
OPTIONS += [Case(stage, 1, "learned", dropout=0.2) for stage in (0, 2, 3)]
OPTIONS += [Case(2, 2, offload="optimizer"), Case(3, 2, offload="all"), Case(1, 4, clipping=0.5, offload="optimizer")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        pytest.param(
            2, [*PLAIN[::5], *OPTIONS[::2]], id="2"
        ),  # every stage and every size of the pieces, not each pair
        pytest.param(2, [*PLAIN, *OPTIONS], id="2-all", marks=pytest.mark.slow),
        pytest.param(1, [*PLAIN[1::3], *OPTIONS[1::2]], id="1", marks=pytest.mark.slow),
        pytest.param(4, [*PLAIN[1::3], *OPTIONS[::2]], id="4", marks=pytest.mark.slow),
    ],
)
def test_gradients_and_weights_equal_one_graph_over_the_whole_batch(ranks, cases):
    compare(cases, ranks)


@pytest.mark.slow
def test_fused_stages_have_the_same_gradients_at_every_stage():
    compare([Case(stage, micro, "sentence", fused=("stage2",)) for stage, micro in ((0, 2), (1, 0), (2, 2), (3, 0))], 2)


@pytest.mark.slow
def test_a_compiled_image_tower_has_the_same_gradients():
    compare([Case(stage, micro, compiled=True) for stage, micro in ((0, 0), (1, 4), (2, 2))], 2)


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_gradients_of_half_precision_are_summed_in_float32_at_every_stage():
    """Stage 0 has no buckets that could be of another type: the others must bring what it brings."""
    cases = [Case(stage, 2, precision="bfloat16") for stage in range(4)]
    (exact, *_), *others = on_ranks(2, engines, cases)[0]
    for case, (gradients, *_) in zip(cases[1:], others, strict=True):
        difference, name = worst(gradients, {n: g for n, g in exact.items() if g is not None})
        assert difference <= 1e-5, (case, name, difference)
