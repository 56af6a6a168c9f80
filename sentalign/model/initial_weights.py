"""The weights of an earlier run in a new model: training goes on from them with other data or settings.

In: a model as the configuration describes it, and a run or export folder. Out: the model with the folder's weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentalign.model import dual
from sentalign.model.dual import DualEncoder
from sentalign.model.pretrained import WeightsError

# Of a backbone's configuration: where it came from, and how it is computed. What it computes is all else.
BESIDE_THE_FUNCTION = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
SCALARS = "loss_scalars"


def take(model: DualEncoder, folder: Path) -> None:
    """Gives `model` the weights in `folder`. Raises WeightsError where there are none, or its towers are others.

    Dropout may differ, and the norm where it has the same weights (`batch`, `frozen`, `sync`). Learned temperatures
    and biases of the loss keep the values of the configuration.
    """
    stored = dual.load(folder)
    mine, theirs = _function(model), _function(stored)
    differing = [f"{name} {theirs.get(name)} not {value}" for name, value in mine.items() if theirs.get(name) != value]
    weights = {name: value for name, value in stored.state_dict().items() if name != SCALARS}
    if not differing and model.state_dict().keys() - {SCALARS} != weights.keys():
        differing = [f"norm {stored.image.norms} not {model.image.norms}"]
    if differing:
        raise WeightsError(
            f"model.start: {folder} has other towers ({'; '.join(differing[:3])}); "
            f"take the model settings of its config.yaml, or leave model.start out"
        )
    model.load_state_dict(weights, strict=False)


def _function(model: DualEncoder) -> dict[str, Any]:
    """What the towers compute, but for their weights: one entry a setting."""
    described: dict[str, Any] = {}
    for name, value in model.describe().items():
        settings = value if isinstance(value, dict) else {}
        kept = {key: v for key, v in settings.items() if key not in BESIDE_THE_FUNCTION and "drop" not in key}
        described |= {f"{name}.{key}": v for key, v in kept.items()} if settings else {name: value}
    return {name: value for name, value in described.items() if name not in (SCALARS, "norm")}
