"""Random points of a search space, drawn by Ray Tune: a pure function of seed and space; more trials change none.

In: a `Sweep`. Out: points, the base's own first, none twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from sentalign.sweep.spec.domain import Domain, Parameters, active
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.spec.sweep_file import configuration, first_points
from sharding.contract import UserError

MOST_MISSES = 1000  # draws in a row that bring nothing new: the space is exhausted


def random_points(sweep: Sweep) -> list[Parameters]:
    """As many as the sweep has trials, or fewer where the space has no more."""
    return list(islice(_distinct(sweep), sweep.trials))


def _distinct(sweep: Sweep) -> Iterator[Parameters]:
    seen: set[str] = set()
    for point in first_points(sweep):
        if (name := point_name(point)) not in seen:
            seen.add(name)
            yield point
    misses = 0
    for values in _draws(sweep):
        point = active(sweep.space, values)
        if (name := point_name(point)) in seen or not is_valid(sweep, point):
            misses += 1
            if misses == MOST_MISSES:
                return
            continue
        seen.add(name)
        misses = 0
        yield point


def _draws(sweep: Sweep) -> Iterator[Parameters]:
    """Tune's variants, as BasicVariantGenerator makes them; a pure grid once."""
    from ray.tune.search.variant_generator import generate_variants

    generator = np.random.RandomState(sweep.seed)
    spec = {"config": {setting: tune_domain(domain) for setting, domain in sweep.space.items()}}
    once = all(domain.grid for domain in sweep.space.values())
    while True:
        for _, variant in generate_variants(spec, random_state=generator):
            yield {setting: _plain(value) for setting, value in variant["config"].items()}
        if once:
            return


def tune_domain(domain: Domain) -> Any:
    """The search space of Ray Tune."""
    from ray import tune

    if domain.values is not None:
        return tune.grid_search(domain.values) if domain.grid else tune.choice(domain.values)
    return getattr(tune, domain.distribution)(*domain.arguments)


def explored(sweep: Sweep, config: dict[str, Any]) -> dict[str, Any]:
    """What PBT has changed, back inside the space and in whole steps."""
    parameters = config["point"]["parameters"]
    for setting, domain in sweep.space.items():
        if domain.values is None:
            parameters[setting] = clamped(domain, parameters[setting])
    return config


def clamped(domain: Domain, value: Any) -> Any:
    """The nearest value of an interval."""
    low, high = domain.extremes
    step = domain.arguments[2] if len(domain.arguments) > 2 else None
    if step:
        value = round(value / step) * step  # may be beyond a bound by rounding: 3 * .1 > .3
    return type(low)(min(max(value, low), high))


def is_valid(sweep: Sweep, point: Parameters) -> bool:
    """Whether the training takes a point: two settings may exclude each other."""
    try:
        configuration(sweep, point, sweep.out)
    except UserError:
        return False
    return True


def point_name(point: Parameters) -> str:
    """Equal for equal points."""
    return json.dumps(point, sort_keys=True)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value
