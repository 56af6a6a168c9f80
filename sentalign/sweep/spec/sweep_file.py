"""A sweep file plus `key=value` words → a checked `Sweep`, and the training configurations of its trials.

In: a YAML file (configs/sweep.yaml) and words. Out: `Sweep`, `Config`. Ray is not imported here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentalign import config
from sentalign.sweep.spec.domain import DISTRIBUTIONS, Parameters, active, condition_of
from sentalign.sweep.spec.settings import Scheduler, Sweep
from sharding.contract import UserError

EXAMPLE = "trials=4, space.loss.tau.uniform=[0.05,0.3] or train.epochs=1"


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep file. Words are settings of the sweep (`trials=4`, `scheduler.max_pairs=800`), of its space
    (`space.loss.tau.uniform=[0.05,0.3]`), or of the training.

    Every bound of the space is validated as part of the training configuration, so that a misspelt or impossible
    setting is an error before anything starts. Raises UserError.
    """
    tree = config.read_mapping(path, "sweep", "configs/sweep.yaml", "base, out and space")
    if "asha" in tree:
        raise UserError("sweep: asha: it is now called scheduler, with kind: asha")
    for override in overrides:
        _apply(tree, override)
    sweep = config.validated(Sweep, tree, "sweep")
    base = (Path(path).parent / sweep.base).resolve()
    sweep = sweep.model_copy(update={"base": base, "out": sweep.out.resolve()})
    for setting, domain in sweep.space.items():
        for value in domain.extremes:
            configuration(sweep, {**condition_of(sweep.space, setting), setting: value}, sweep.out)
    first_points(sweep)
    return sweep


def trial_overrides(sweep: Sweep, parameters: Parameters, run: Path) -> list[str]:
    """The `key=value` overrides of one training; JSON values are YAML values."""
    settings = {**sweep.overrides, **parameters, "run": str(run)}
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def configuration(sweep: Sweep, parameters: Parameters, run: Path) -> config.Config:
    """The resolved training configuration of one trial. Raises UserError."""
    return config.load(sweep.base, trial_overrides(sweep, parameters, run))


def first_points(sweep: Sweep) -> list[Parameters]:
    """The base's own values, then the points of the user, completed by the base's values. Raises UserError."""
    tree = configuration(sweep, {}, sweep.out).model_dump(mode="json")
    own = {setting: value_of(tree, setting) for setting in sweep.space}
    points = [active(sweep.space, own | point) for point in [{}, *sweep.points]]
    for point in points:
        configuration(sweep, point, sweep.out)
    return points


def value_of(tree: dict[str, Any], setting: str) -> Any:
    """The value of a dotted setting; None for one that has no default, such as a setting of a backbone."""
    value: Any = tree
    for part in setting.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _apply(tree: dict[str, Any], override: str) -> None:
    """`trials=4` and `scheduler.max_pairs=8` belong to the sweep; any other key is a setting of all trials."""
    key, value = config.read_override(override, EXAMPLE)
    section, _, leaf = key.partition(".")
    if key in Sweep.model_fields:
        tree[key] = value
    elif section == "space" and leaf:
        _apply_to_space(tree, leaf, value)
    elif section == "scheduler" and leaf in Scheduler.model_fields:
        tree["scheduler"] = {**_mapping(tree, "scheduler"), leaf: value}
    elif section in ("metrics", "constraints") and leaf:
        tree[section] = {**_mapping(tree, section), leaf: value}
    else:
        tree["overrides"] = {**_mapping(tree, "overrides"), key: value}


def _apply_to_space(tree: dict[str, Any], name: str, value: Any) -> None:
    """`loss.tau.uniform=[0.1,0.2]` replaces the distribution of loss.tau, `loss.tau=null` takes it out."""
    space = tree["space"] = dict(_mapping(tree, "space"))
    setting, _, part = name.rpartition(".")
    if part == "when":
        space[setting] = {**_mapping(space, setting), part: value}
    elif part in DISTRIBUTIONS:
        when = _mapping(space, setting).get("when")
        space[setting] = {part: value} | ({"when": when} if when else {})
    elif value is None:
        space.pop(name, None)
    else:
        space[name] = value


def _mapping(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """A section that a part is added to; empty where it is missing. Raises UserError."""
    section = tree.get(name)
    if section is not None and not isinstance(section, dict):
        raise UserError(f"sweep: {name} is a value, not a group of settings")
    return section or {}
