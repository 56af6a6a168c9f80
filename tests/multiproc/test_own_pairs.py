"""Terms of own pairs and soft twins on 1, 2 and 4 ranks, at every ZeRO stage; test_cached.py has a case of each."""

from __future__ import annotations

from itertools import product

import pytest

from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_cached import Case, compare, engines, worst

LOSSES = ("swapped", "swapped-paper", "soft", "soft-paper")
CASES = [Case(stage, micro, loss) for stage, micro, loss in product(range(4), (0, 1, 4), LOSSES)]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_gradients_and_weights_equal_loops_over_the_whole_batch(ranks):
    compare(CASES[:: 1 if ranks == 2 else 5], ranks)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["swapped", "soft"])
def test_half_precision_has_the_same_gradients_at_every_stage(loss):
    cases = [Case(stage, 2, loss, precision="bfloat16") for stage in range(4)]
    (exact, *_), *others = on_ranks(2, engines, cases)[0]
    for case, (gradients, *_) in zip(cases[1:], others, strict=True):
        difference, name = worst(gradients, {n: g for n, g in exact.items() if g is not None})
        assert difference <= 1e-5, (case, name, difference)
