"""Every setting by its dotted name, with type, default and meaning, read from the model in settings.py.

In: the pydantic model. Out: plain rows; and for a name that is not a setting, the one that was probably meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sentalign.config.settings import Config

RENAMED = {
    "optimizer.rate": "optimizer.lr",
    "data.most_alike": "data.max_duplicates",
    "data.alike": "data.duplicate_keys",
    "data.read_ahead_mb": "data.prefetch_mb",
}
_SIMPLE = {int: "integer", float: "number", bool: "true | false", str: "text", NoneType: "null", Any: "anything"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True)
class Setting:
    """`default` is JSON, None for a setting that has to be given."""

    name: str
    type: str
    default: str | None
    meaning: str


def settings(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[Setting]:
    """In the order of the sections."""
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from settings(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            default = None if field.is_required() else json.dumps(field.get_default(call_default_factory=True))
            yield Setting(prefix + name, _type_of_field(field), default, field.description or "")


def correction(name: str) -> str:
    """How a name that is not a setting should be changed; empty where no setting resembles it."""
    if name in RENAMED:
        return f"it is now called {RENAMED[name]}"
    nearest = max((setting.name for setting in settings()), key=lambda known: _similarity(name, known))
    return f"did you mean {nearest}?" if _similarity(name, nearest) > 0.6 else ""


def _similarity(name: str, known: str) -> float:
    """Of the dotted names, or of their last parts: the section may be what is wrong."""
    leaf = SequenceMatcher(None, name.rpartition(".")[2], known.rpartition(".")[2]).ratio()
    return max(SequenceMatcher(None, name, known).ratio(), 0.9 * leaf)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _type_of_field(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in _BOUNDS.items() if hasattr(m, name)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, UnionType):
        return " | ".join(map(_type, args))
    if origin is Annotated:
        return _type(args[0])
    if origin in (list, tuple):
        return f"list of ({_type(args[0])})"
    if origin is dict:
        return f"mapping of ({_type(args[0])}) to {_type(args[1])}"
    if _is_section(annotation):
        return "{" + ", ".join(annotation.model_fields) + "}"
    return _SIMPLE[annotation]
