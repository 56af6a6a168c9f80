"""YAML files of settings → validated settings; every mistake is one line.

In: a file, `key=value` words, a model of settings. Out: mappings and models. What may be set is not here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sharding.contract import UserError

SQLITE = "sqlite:///"

Model = TypeVar("Model", bound=BaseModel)


def read_mapping(path: str | Path, kind: str, example: str, content: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError, which names the `kind` of file, an `example` and its `content`."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"no {kind} file {path}; give the path of a YAML file such as {example}")
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no settings; it must be a YAML mapping with {content}")
    expanded: dict[str, Any] = expand_home(tree)
    return expanded


def expand_home(value: Any) -> Any:
    """The value with `~/` at the beginning of its texts as the home folder, as a shell does before a word."""
    if isinstance(value, dict):
        return {key: expand_home(part) for key, part in value.items()}
    if isinstance(value, list):
        return [expand_home(part) for part in value]
    if isinstance(value, str):
        scheme = SQLITE if value.startswith(f"{SQLITE}~") else ""
        path = value.removeprefix(scheme)
        return scheme + os.path.expanduser(path) if path == "~" or path.startswith("~/") else value
    return value


def read_override(word: str, example: str) -> tuple[str, Any]:
    """The key and the value of `key=value`, whose value is YAML. Raises UserError."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"override {word!r} is not of the form key=value, for example {example}")
    try:
        # For YAML ~ alone is null.
        return key, expand_home(yaml.safe_load(text))
    except yaml.YAMLError:
        raise UserError(f"override {key}: {text!r} is not a YAML value; quote it") from None


def validated(
    model: type[Model], tree: dict[str, Any], kind: str, describe: Callable[[ErrorDetails], str] | None = None
) -> Model:
    """A plain mapping as a model. Raises UserError, one line with the first three mistakes, each as `describe` says."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[:3]
        lines = [(describe or error_line)(e) for e in first]
        raise UserError(f"{kind}: {'; '.join(lines)}") from None


def error_line(error: ErrorDetails) -> str:
    """The setting and what is wrong with it, on one line; what holds of the whole names its settings itself."""
    name, message = ".".join(map(str, error["loc"])), " ".join(error["msg"].removeprefix("Value error, ").split())
    return f"{name}: {message}" if name else message
