"""The configuration as a file: one YAML plus dotted overrides.

In: a YAML file and `key=value` words. Out: a checked `Config`, and the resolved YAML that is stored with the run.
Nothing is read from the environment, so that the stored file alone says what a run did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sentalign.config.sections import Config
from sharding.contract import UserError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file, applies `a.b=value` words (values are YAML) and checks the whole. Raises UserError."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"no config file {path}; give the path of a YAML file such as configs/phantom-cpu.yaml")
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no settings; it must be a YAML mapping with at least run and data.shards")
    for word in overrides:
        _override(tree, word)
    return check(tree)


def check(tree: dict[str, Any]) -> Config:
    """A plain mapping as a Config; the first few mistakes come back as one line. Raises UserError."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        said = [f"{'.'.join(str(p) for p in e['loc']) or 'config'}: {_complaint(e)}" for e in error.errors()[:3]]
        raise UserError("config: " + "; ".join(said)) from None


def _complaint(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    return " ".join(error["msg"].removeprefix("Value error, ").split())


def dump(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


WITHOUT_EFFECT = (
    *("run", "data.workers", "data.prefetch_mb", "data.cache", "data.cache_gb", "data.timeout"),
    *("train.checkpoint_every_pairs", "train.checkpoint_every_minutes", "train.keep_checkpoints"),
    "train.timeout_minutes",
)


def difference(one: Config, other: Config) -> list[str]:
    """Dotted keys in which two configurations differ, `a.b: 1 -> 2`; what changes no number never counts."""
    first, second = _flat(one.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
    keys = sorted(k for k in first | second if k not in WITHOUT_EFFECT and not k.startswith("track."))
    return [f"{k}: {first.get(k)} -> {second.get(k)}" for k in keys if first.get(k) != second.get(k)]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _override(tree: dict[str, Any], word: str) -> None:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UserError(f"override {word!r} is not of the form key=value, for example train.epochs=3")
    *parents, leaf = key.split(".")
    for parent in parents:
        if tree.get(parent) is None:  # `train:` with nothing under it is read as null
            tree[parent] = {}
        tree = tree[parent]
        if not isinstance(tree, dict):
            raise UserError(f"override {key}: {parent} is a value, not a group of settings")
    try:
        tree[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"override {key}: {value!r} is not a YAML value; quote it") from None
