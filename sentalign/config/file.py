"""The configuration as a file: one YAML plus dotted overrides.

In: a YAML file and `key=value` words. Out: a checked `Config`, the resolved YAML that is stored with the run, and which
settings of two configurations differ. Nothing is read from the environment: the stored file alone decides a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from sentalign.config import listing
from sentalign.config.settings import Config
from sentalign.config.yaml_file import error_line, read_mapping, read_override, validated
from sharding.contract import UserError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file, applies `a.b=value` words (values are YAML) and checks the whole. Raises UserError."""
    tree = read_mapping(path, "config", "configs/phantom-cpu.yaml", "at least run and data.shards")
    for word in overrides:
        _override(tree, word)
    return check(tree)


def check(tree: dict[str, Any]) -> Config:
    """A plain mapping as a Config. Raises UserError, one line with the first three mistakes."""
    return validated(Config, tree, "config", _message)


def _message(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return error_line(error)
    if isinstance(error["input"], dict):  # an unknown section: its settings resemble a known one's
        name = next(iter(_flat(error["input"], f"{name}.")), name)
    return ", ".join(filter(None, [f"{name}: there is no such setting", listing.correction(name)]))


def dump(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


# What a run may change between two starts, and why its results stay what they would have been.
CHANGEABLE = {
    "run": "the folder may have been moved",
    "data.workers": "decoding only; the order of samples is fixed before",
    "data.prefetch_mb": "when bytes are read, not which",
    "data.cache": "where bytes are read from",
    "data.cache_gb": "where bytes are read from",
    "data.timeout": "decides only when a run ends",
    "data.on_damage": "decides only whether a damaged shard ends the run",
    "data.damage_budget": "decides only when a run ends",
    "data.length_buckets": "padding, which no term sees",
    "train.micro_batch": "the cached step is exact; batch norm sees micro-batches as it sees ranks",
    "train.zero_stage": "where state is kept; a checkpoint holds it in full",
    "train.offload": "where state is kept",
    "train.recompute": "the same layers again, with the same random numbers",
    "train.compile": "the same layers, up to rounding",
    "train.on_nonfinite": "decides only whether a NaN or inf ends the run",
    "train.checkpoint_every_pairs": "when the state is copied",
    "train.checkpoint_every_minutes": "when the state is copied",
    "train.keep_checkpoints": "what is removed",
    "train.timeout_minutes": "decides only when a run ends",
    "maps.mirrored": "how maps are read off the weights",
    "maps.registered": "how maps are read off the weights",
    "maps.prompts": "how maps are read off the weights",
    "validation.boxes": "measured beside the training; the folder may have been moved",
    "validation.boxes_kind": "measured beside the training",
    "validation.cases": "measured beside the training",
    "validation.map": "measured beside the training",
    "track.uri": "where results are reported to",
    "track.experiment": "where results are reported to",
    "track.parent_run": "where results are reported to",
}


def difference(one: Config, other: Config) -> list[str]:
    """Dotted keys in which two configurations differ, `a.b: 1 -> 2`, without those of CHANGEABLE."""
    first, second = decisive(one), decisive(other)
    keys = sorted(first | second)
    return [f"{k}: {first.get(k)} -> {second.get(k)}" for k in keys if first.get(k) != second.get(k)]


def decisive(config: Config, measured: bool = False) -> dict[str, Any]:
    """The dotted settings without those of CHANGEABLE; `measured`: with those of what a validation measures."""
    flat = _flat(config.model_dump(mode="json"))
    return {k: v for k, v in flat.items() if k not in CHANGEABLE or (measured and k.startswith("validation."))}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _override(tree: dict[str, Any], word: str) -> None:
    key, value = read_override(word, "train.epochs=3")
    *parents, leaf = key.split(".")
    for parent in parents:
        if tree.get(parent) is None:  # `train:` with nothing under it is read as null
            tree[parent] = {}
        tree = tree[parent]
        if not isinstance(tree, dict):
            raise UserError(f"override {key}: {parent} is a value, not a group of settings")
    tree[leaf] = value
