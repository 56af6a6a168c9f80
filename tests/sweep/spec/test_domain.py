"""Conditions of a space: which can hold, against a plain search through all points."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep.spec.domain import Domain, active, condition_of

NAMES = "abcd"
VALUES = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Domain]:
    """Four settings of few values, each with conditions on earlier ones, also on values that they do not have."""
    space = {}
    for place, name in enumerate(NAMES):
        others = st.sampled_from(NAMES[:place]) if place else st.nothing()
        when = draw(st.dictionaries(others, st.integers(0, 2) | VALUES, max_size=2 if place else 0))
        space[name] = Domain(choice=draw(VALUES), when=when)
    return space


@given(spaces())
def test_a_condition_holds_in_some_point_or_is_refused(space: dict[str, Domain]) -> None:
    combinations = product(*(domain.values or [] for domain in space.values()))
    points = [active(space, dict(zip(NAMES, values, strict=True))) for values in combinations]
    for name in NAMES:
        if any(name in point for point in points):
            condition = condition_of(space, name)
            assert name in active(space, condition | {name: (space[name].values or [])[0]})
        else:
            with pytest.raises(ValueError, match="in no point"):
                condition_of(space, name)


@pytest.mark.parametrize(
    ("domain", "value", "can_be"),
    [
        ({"randint": [1, 4]}, 3, True),
        ({"randint": [1, 4]}, 4, False),
        ({"qrandint": [2, 6, 2]}, 6, True),
        ({"quniform": [0.1, 0.3, 0.1]}, 0.2, True),
        ({"uniform": [0.1, 0.3]}, 0.2, False),
        ({"grid": ["x", None]}, None, True),
    ],
)
def test_conditions_on_intervals(domain: dict[str, Any], value: object, can_be: bool) -> None:
    space = {"a": Domain(**domain), "b": Domain(choice=[1], when={"a": value})}
    if can_be:
        assert condition_of(space, "b") == {"a": value}
    else:
        with pytest.raises(ValueError, match=r"space.b.when never holds: a is \S+ in no point"):
            condition_of(space, "b")
