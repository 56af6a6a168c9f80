"""The cached contrastive step on ranks, at every ZeRO stage, against plain PyTorch with one graph over everything."""

from __future__ import annotations

import os
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
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_engine import BATCH, SETTINGS, batch

STEPS = 5
RATE = 0.01  # with gradients up to 50: far larger steps are not stable, and grow rounding errors too
LOSSES = {
    "paper": {},
    "learned": {"learn": ["t1", "t2", "t3"], "t1": 3.0, "t3": 5.0},
    "sentence": {"attention": "cosine", "aggregate": "sentence", "tau": 0.2, "learn": ["tau", "t3"]},
    "sigmoid": {"objective": "sigmoid", "learn": ["t3", "bias_global", "bias_local"], "targets": "multi"},
    "multi": {"targets": "multi", "sentence_twins": "drop", "tag_weights": {"negated": 0.0, "uncertain": 0.5}},
    "mask": {"targets": "mask", "attention": "cosine", "tag_weights": {"negated": 0.25}, "learn": ["t2", "tau"]},
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


def towers(case):
    """Small towers without batch norm, the same on every call."""
    torch.manual_seed(0)
    vision = {"model_type": "convnext", "num_channels": 1, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1],
              "drop_path_rate": case.dropout}  # fmt: skip
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "hidden_dropout_prob": case.dropout, "attention_probs_dropout_prob": case.dropout}  # fmt: skip
    from sentalign.engine import loss_scalars

    built = (image.build(None, vision, "stage1", "stage2", 16), text.build(None, bert, 40, 4))
    return dual.DualEncoder(*built, loss_scalars.start(settings(case).loss))


def settings(case):
    train = {"zero_stage": case.stage, "micro_batch": case.micro, "offload": case.offload}
    train |= {"precision": case.precision, "compile": case.compiled}
    tree: dict[str, Any] = SETTINGS | {"train": train, "loss": LOSSES[case.loss]}
    tree["optimizer"] = {"kind": "sgd", "lr": RATE, "weight_decay": 0.0, "gradient_clipping": case.clipping}
    return configuration.check(tree)


def rows_of_rank():
    return slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())


def twin(case):
    """Gradients of the first step and weights after some, by one graph on the whole batch in this process.

    With dropout the graph is made of the same pieces, on the ranks' rows, by the same random states as the engine's.
    """
    from sentalign.engine import cached, loss_scalars
    from sentalign.engine.step import _seed, marks_of

    model, said = towers(case), settings(case)
    model = model if case.dropout else model.double()  # so that all rounding is the engine's
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    first = {}
    for step in range(STEPS):
        given = batch(step, rows_of_rank() if case.dropout else slice(None))
        pictures = normalize(given.images_BHH).to(next(model.parameters()).dtype)
        seeds = (said.seed, step * BATCH, dist.rank())
        if case.dropout:
            parts = []
            for number, part in enumerate(cached._micro_batches(len(pictures), case.micro)):
                torch.manual_seed(_seed(*seeds, "images", number))
                parts.append(model.images(pictures[part]))
            v, g = (torch.cat(x) for x in zip(*parts, strict=True))

            def seeded(*piece, seeds=seeds):
                torch.manual_seed(_seed(*seeds, *piece))

            t, q = cached._texts(model, given, seeded)
        else:
            v, g, t, _, q, _ = model(
                pictures, given.tokens_BT, given.attention_BT, given.sentence_id_BT, given.word_counts_BK
            )
        kind = loss_scalars.terms(said.loss, model.learned())
        optimizer.zero_grad()
        marks, present = marks_of(given, said), given.word_counts_BK > 0
        if case.dropout:
            terms = objective.four_terms(v, g, t, present, q, kind, objective.gather_report_ids(present, marks))
        else:
            terms = reference.four_terms(v, g, t, present, q, kind, marks)
        reference.total(terms).sum().backward()
        wanted = [p for p in model.parameters() if p.grad is not None]
        if case.dropout:
            dist.mean_in_place([p.grad for p in wanted])
        first = first or {n: p.grad.clone().numpy() for n, p in model.named_parameters() if p.grad is not None}
        if case.clipping:
            torch.nn.utils.clip_grad_norm_(model.parameters(), case.clipping)
        optimizer.step()
    return first, {name: value.detach().numpy() for name, value in model.state_dict().items()}


def engines(cases):
    """What the engine makes of each case: gradients of the first step, weights after the last, the four terms."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    from sentalign.checkpoint import write
    from sentalign.engine import build
    from sentalign.engine.step import train_step

    build.init_ranks(2)
    found = []
    for case in cases:
        model, said, gradients = towers(case), settings(case), {}
        engine = build.build(model, said)
        step_it = engine.step

        def seen(engine=engine, gradients=gradients, step_it=step_it):
            if not gradients:
                for name, parameter in engine.module.named_parameters():
                    full = deepspeed.utils.safe_get_full_grad(parameter)
                    gradients[name] = None if full is None else full.numpy().copy()
            step_it()

        engine.step = seen
        for step in range(STEPS):
            values = train_step(engine, batch(step, rows_of_rank()), said, step * BATCH, RATE)
        weights = {name: value.numpy() for name, value in write.whole_state(engine).items()}
        found.append((gradients, weights, values, twin(case) if case.dropout else None))
    return found


def worst(made, exact):
    """The largest difference against the larger of the tensor's own size and a thousandth of the largest."""
    sizes = {name: np.abs(value).max() for name, value in exact.items()}
    largest = max(sizes.values())
    return max((np.abs(made[n] - exact[n]).max() / max(sizes[n], 1e-3 * largest), n) for n in exact)


def compare(cases, ranks):
    """Checks gradients and weights of all cases, each against one graph over the whole batch."""
    exact = {case._replace(stage=0, micro=0, offload="none", compiled=False): None for case in cases}
    for case in exact:
        exact[case] = None if case.dropout else twin(case)
    for case, (gradients, weights, _, of_ranks) in zip(cases, on_ranks(ranks, engines, cases)[0], strict=True):
        first, after = of_ranks or exact[case._replace(stage=0, micro=0, offload="none", compiled=False)]
        moved = {n for n, g in gradients.items() if g is not None and np.abs(g).max() > 0}
        assert moved >= {n for n, g in first.items() if np.abs(g).max() > 0}, ("no gradient", case)
        if not case.clipping:
            difference, name = worst(gradients, first)
            assert difference <= 1e-5, ("gradient", case, name, difference)
        difference, name = worst(weights, after)
        assert difference <= 1e-5, ("weights", case, name, difference)


# All stages by all numbers of micro-batches, then each option in turn.
PLAIN = [Case(stage, micro) for stage, micro in product(range(4), (0, 1, 2, 4))]
OPTIONS = [Case(stage, 2, loss) for stage, loss in zip((0, 1, 2, 3, 0, 3), LOSSES, strict=True)]
OPTIONS += [
    Case(1, 0, "multi"),
    Case(2, 0, "mask"),
    Case(3, 1, "learned"),
    Case(1, 2, "sigmoid"),
    Case(2, 1, "sentence"),
    Case(2, 2, clipping=0.5),
]
OPTIONS += [Case(stage, 1, "learned", dropout=0.2) for stage in (0, 2, 3)]
OPTIONS += [Case(2, 2, offload="optimizer"), Case(3, 2, offload="all"), Case(1, 4, clipping=0.5, offload="optimizer")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_gradients_and_weights_equal_one_graph_over_the_whole_batch(ranks):
    cases = [*PLAIN, *OPTIONS] if ranks == 2 else [*PLAIN[ranks::3], *OPTIONS[ranks::2]]
    compare(cases, ranks)


@pytest.mark.slow
def test_a_compiled_image_tower_has_the_same_gradients():
    compare([Case(stage, micro, compiled=True) for stage, micro in ((0, 0), (1, 4), (2, 2))], 2)


@pytest.mark.timeout(300)
def test_gradients_of_half_precision_are_summed_in_float32_at_every_stage():
    """Stage 0 has no buckets that could be of another type: the others must bring what it brings."""
    cases = [Case(stage, 2, precision="bfloat16") for stage in range(4)]
    (exact, *_), *others = on_ranks(2, engines, cases)[0]
    for case, (gradients, *_) in zip(cases[1:], others, strict=True):
        difference, name = worst(gradients, {n: g for n, g in exact.items() if g is not None})
        assert difference <= 1e-5, (case, name, difference)
