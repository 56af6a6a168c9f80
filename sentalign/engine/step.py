"""One training step and one validation pass: batch in, terms out.

In: the engine and a rank's batch. Out: loss terms as floats, equal on every rank. Saving and logging are elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sentalign import dist
from sentalign.config import Config
from sentalign.engine import update
from sentalign.loss import objective, reference
from sentalign.loss.reference import Terms
from sentalign.model import norm
from sentalign.model.dual import Features
from sentalign.stream.augment import augment, normalize
from sentalign.stream.batch import Batch


def terms_of(engine: Any, batch: Batch, images_B1HH: Tensor, config: Config) -> dict[str, Tensor]:
    """The four terms and their weighted sum `loss`, over the batch of all ranks."""
    words = (batch.tokens_BT, batch.attention_BT, batch.unit_BT, batch.words_BK, batch.order_B, batch.widths)
    out = engine(images_B1HH, *words)
    # The losses run in float32 whatever the towers' precision: logits of 10·cos and sums of exponentials.
    features = Features(*(part.float() if part.is_floating_point() else part for part in out))
    said = config.loss
    kind = Terms(said.attention, said.aggregate, t1=said.t1, t2=said.t2, t3=said.t3, tau=said.tau)
    with torch.autocast(images_B1HH.device.type, enabled=False):
        terms = objective.four_terms(*features, kind)
    return terms | {"loss": reference.total(terms, said.weight_global, said.weight_local)}


def train_step(engine: Any, batch: Batch, config: Config, pairs: int, rate: float) -> dict[str, float]:
    """Forward, backward and one optimizer step. Raises NotFiniteError before a bad step reaches the weights."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    batch = batch.to(engine.device)
    images_B1HH = normalize(batch.images_BHH)
    images_B1HH, _ = augment(images_B1HH, batch.keys, config.data.augment, config.seed, batch.epochs)

    def forward() -> dict[str, Tensor]:
        # Dropout is a function of (seed, pairs, rank), so a resumed run draws the same without stored random state.
        torch.manual_seed(_seed(config.seed, pairs, dist.rank()))
        return terms_of(engine, batch, images_B1HH, config)

    kept = update.remember(engine.module, config)
    terms = forward()
    values = _floats(terms)
    if not update.is_finite(values):
        return update.bad_loss(engine, config, pairs, values["loss"], forward, kept)
    engine.backward(terms["loss"])
    taken = update.take(engine, config, pairs, lambda: engine.backward(forward()["loss"]), kept)
    _share_running_statistics(engine.module)
    return values | taken


@torch.no_grad()
def validate(engine: Any, batches: Iterable[Batch], config: Config) -> dict[str, float]:
    """Mean terms over the validation batches: whole reports, no augmentation, running statistics."""
    engine.eval()
    sums: dict[str, float] = {}
    count = 0
    for count, given in enumerate(batches, start=1):  # noqa: B007
        batch = given.to(engine.device)
        terms = _floats(terms_of(engine, batch, normalize(batch.images_BHH), config))
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
    engine.train()
    return {name: value / count for name, value in sums.items()}


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    # One copy to the host for all terms; each `.item()` would wait for the device.
    names, values = list(terms), torch.stack([t.detach() for t in terms.values()]).tolist()
    return dict(zip(names, values, strict=True))


def _share_running_statistics(module: torch.nn.Module) -> None:
    """Batch norm's running statistics become their mean over ranks, so that every rank holds the saved state."""
    dist.mean_in_place(norm.differing(module))


def _seed(*name: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:7], "little")
