"""YAML files of settings → validated settings; every mistake is one line.

In: a file, `key=value` words, a model of settings. Out: mappings and models. What may be set is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sharding.contract import UserError

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
    return tree


def read_override(word: str, example: str) -> tuple[str, Any]:
    """The key and the value of `key=value`, whose value is YAML. Raises UserError."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"override {word!r} is not of the form key=value, for example {example}")
    try:
        return key, yaml.safe_load(text)
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
