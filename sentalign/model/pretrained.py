"""Where a tower's weights come from: a hub name, a local folder, or random numbers.

In: the configuration of a tower. Out: a transformers model. No training and no run folder here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import transformers
from transformers import PretrainedConfig

T = TypeVar("T")


class WeightsError(ValueError):
    """Weights cannot be had; the message is one line that says how to point to a folder."""


def fetch(what: Callable[[], T], weights: str, key: str) -> T:
    """Runs a `from_pretrained` call; turns its failure to find or read files into a `WeightsError`."""
    try:
        return what()
    except (OSError, ValueError) as error:  # huggingface_hub's own errors are subclasses of these
        kind = "folder" if Path(weights).exists() else "hub name"
        raise WeightsError(
            f"cannot load {kind} {weights!r} ({type(error).__name__}); download the model where there is a network and "
            f"set {key} to its local folder (config.json with model.safetensors or pytorch_model.bin)"
        ) from error


def backbone_config(settings: dict[str, Any], default_type: str) -> PretrainedConfig:
    """A transformers configuration from plain settings, `model_type` naming its class. Raises WeightsError."""
    rest = dict(settings)
    kind = rest.pop("model_type", default_type)
    try:
        return transformers.AutoConfig.for_model(kind, **rest)
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"backbone settings are not a {kind} configuration: {' '.join(str(error).split())[:200]}"
        ) from error


def vocabulary(weights: str) -> list[str]:
    """The word pieces of pretrained weights, by number, from any tokenizer file they ship. Raises WeightsError."""
    found = fetch(lambda: transformers.AutoTokenizer.from_pretrained(weights), weights, "model.text.weights")
    numbers = found.get_vocab()
    return sorted(numbers, key=numbers.__getitem__)
