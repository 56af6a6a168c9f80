"""Loads a tower's weights from a hub name or a local folder, or makes its config for random ones.

In: the config of a tower. Out: a transformers model. No training and no run folder here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from transformers import PretrainedConfig

T = TypeVar("T")

# Of backbone classes only (Swin, ConvNeXt), of pretraining only, and counters: may be absent.
NEVER_SHIPPED = ("hidden_states_norms", "mask_token", "num_batches_tracked")


class WeightsError(ValueError):
    """Weights cannot be loaded; the message is one line that says how to set a local folder."""


def fetch(load: Callable[[], T], weights: str, key: str) -> T:
    """Runs a `from_pretrained` call; turns its failure to find or read files into a `WeightsError`."""
    try:
        return load()
    except Exception as error:  # torn or forbidden pickles raise any exception
        kind = "folder" if Path(weights).exists() else "hub name"
        raise WeightsError(
            f"cannot load {kind} {weights!r} ({type(error).__name__}); download the model on a machine with a network, "
            f"and set {key} to its local folder (config.json with model.safetensors or pytorch_model.bin)"
        ) from error


def load(model_class: Any, weights: str, key: str, **settings: Any) -> Any:
    """A pretrained model in float32. Raises WeightsError, also where the files lack parameters of the model.

    A pickled pytorch_model.bin, the only file that some clinical BERTs have, is loaded without running code. Without
    `dtype` transformers would use the type of the files, which may be half precision.
    """
    model, info = fetch(
        lambda: model_class.from_pretrained(weights, dtype=torch.float32, output_loading_info=True, **settings),
        weights,
        key,
    )
    # transformers initialises them at random and only warns.
    absent = sorted(name for name in info["missing_keys"] if not any(part in name for part in NEVER_SHIPPED))
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
    except Exception as error:  # field validation raises huggingface_hub's errors, bare Exceptions
        raise WeightsError(f"backbone settings are no {kind} config: {' '.join(str(error).split())[:200]}") from error
    known = type(config)()
    unknown = [name for name in rest if not hasattr(known, name)]
    if unknown:  # transformers accepts any name: a misspelt one would have no effect
        raise WeightsError(f"backbone settings: a {kind} has no {unknown[0]!r}; see its config class in transformers")
    return config


def vocabulary(weights: str) -> list[str]:
    """The word pieces of pretrained weights, by id, from any tokenizer file beside them. Raises WeightsError."""
    tokenizer = fetch(lambda: transformers.AutoTokenizer.from_pretrained(weights), weights, "model.text.weights")
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)
