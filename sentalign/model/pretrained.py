"""Where a tower's weights come from: a hub name, a local folder, or random numbers.

In: the configuration of a tower. Out: a transformers model. No training and no run folder here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from transformers import PretrainedConfig

T = TypeVar("T")

# What only backbone classes have (Swin, ConvNeXt), what only pretraining uses, and counters: fine when absent.
NEVER_SHIPPED = ("hidden_states_norms", "mask_token", "num_batches_tracked")


class WeightsError(ValueError):
    """Weights cannot be had; the message is one line that says how to point to a folder."""


def fetch(what: Callable[[], T], weights: str, key: str) -> T:
    """Runs a `from_pretrained` call; turns its failure to find or read files into a `WeightsError`."""
    try:
        return what()
    except Exception as error:  # torn or forbidden pickles raise whatever their bytes lead to
        kind = "folder" if Path(weights).exists() else "hub name"
        raise WeightsError(
            f"cannot load {kind} {weights!r} ({type(error).__name__}); download the model where there is a network and "
            f"set {key} to its local folder (config.json with model.safetensors or pytorch_model.bin)"
        ) from error


def load(model_class: Any, weights: str, key: str, **settings: Any) -> Any:
    """A pretrained model in float32. Raises WeightsError, also where the files lack parameters of the model.

    Only with weights: a pickled pytorch_model.bin, all that some clinical BERTs ship, cannot run code. float32 is
    asked for, since transformers otherwise takes the type of the files, which may be half.
    """
    model, found = fetch(
        lambda: model_class.from_pretrained(weights, dtype=torch.float32, output_loading_info=True, **settings),
        weights,
        key,
    )
    # transformers fills them with random numbers and only warns.
    absent = sorted(name for name in found["missing_keys"] if not any(part in name for part in NEVER_SHIPPED))
    if absent:
        raise WeightsError(
            f"{weights!r} has no values for {len(absent)} parameters of a {model_class.__name__} ({absent[0]} ...); "
            f"set {key} to weights of that model"
        )
    return model


def backbone_config(settings: dict[str, Any], default_type: str) -> PretrainedConfig:
    """A transformers configuration from plain settings, `model_type` naming its class. Raises WeightsError."""
    rest = dict(settings)
    kind = rest.pop("model_type", default_type)
    try:
        config = transformers.AutoConfig.for_model(kind, **rest)
    except Exception as error:  # the checks of its fields raise huggingface_hub's errors, bare Exceptions
        raise WeightsError(
            f"backbone settings are not a {kind} configuration: {' '.join(str(error).split())[:200]}"
        ) from error
    known = type(config)()
    unknown = [name for name in rest if not hasattr(known, name)]
    if unknown:  # transformers takes any name, so that a typing mistake would pass silently
        raise WeightsError(f"backbone settings: a {kind} has no {unknown[0]!r}; see its configuration in transformers")
    return config


def vocabulary(weights: str) -> list[str]:
    """The word pieces of pretrained weights, by number, from any tokenizer file they ship. Raises WeightsError."""
    found = fetch(lambda: transformers.AutoTokenizer.from_pretrained(weights), weights, "model.text.weights")
    numbers = found.get_vocab()
    return sorted(numbers, key=numbers.__getitem__)
