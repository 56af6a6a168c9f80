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
from sentalign.engine import cached, loss_scalars, update
from sentalign.engine.cached import Kept
from sentalign.loss import objective, reference, targets
from sentalign.loss.objective import GlobalReports
from sentalign.loss.targets import ReportIds
from sentalign.model import norm
from sentalign.model.dual import Features
from sentalign.stream.augment import augment, normalize
from sentalign.stream.batch import TAGS, Batch


def terms_of(
    engine: Any, batch: Batch, images_B1HH: Tensor, reports: GlobalReports, config: Config
) -> dict[str, Tensor]:
    """The four terms and their weighted sum `loss`, over the batch of all ranks."""
    words = (
        batch.tokens_BT,
        batch.attention_BT,
        batch.sentence_id_BT,
        batch.word_counts_BK,
        batch.order_B,
        batch.widths,
    )
    out = engine(images_B1HH, *words)
    # The losses run in float32 whatever the towers' precision: logits of 10·cos and sums of exponentials.
    made = Features(*(part.float() if part.is_floating_point() else part for part in out))
    with torch.autocast(images_B1HH.device.type, enabled=False):
        terms = objective.four_terms(*made[:5], loss_scalars.terms(config.loss, made.loss_scalars_N), reports)
    return terms | {"loss": reference.total(terms, config.loss.weight_global, config.loss.weight_local)}


def train_step(engine: Any, batch: Batch, config: Config, pairs: int, lr: float) -> dict[str, float]:
    """Forward, backward and one optimizer step. Raises NotFiniteError before a bad step reaches the weights."""
    for group in engine.optimizer.param_groups:
        group["lr"] = lr
    batch = batch.to(engine.device)
    images_B1HH = normalize(batch.images_BHH)
    images_B1HH = augment(images_B1HH, batch.keys, config.data.augment, config.seed, batch.epochs)
    reports = objective.gather_report_ids(batch.word_counts_BK > 0, marks_of(batch, config))

    # Dropout is a function of (seed, pairs, rank, piece): a resumed run, and a second pass, draw it alike.
    def seeded(*piece: str | int) -> None:
        torch.manual_seed(_seed(config.seed, pairs, dist.rank(), *piece))

    def forward() -> tuple[Kept | None, dict[str, Tensor]]:
        if config.train.micro_batch:
            return cached.forward(engine, batch, images_B1HH, reports, config, seeded)
        seeded()
        return None, terms_of(engine, batch, images_B1HH, reports, config)

    def backward(kept: Kept | None, terms: dict[str, Tensor]) -> None:
        if kept is None:
            engine.backward(terms["loss"].sum())
        else:
            cached.backward(engine, batch, images_B1HH, reports, config, seeded, kept, terms["loss"])

    buffers = update.copy_buffers(engine.module, config)
    kept, terms = forward()
    values = _floats(terms)
    if not update.is_finite(values):
        return update.reject_loss(engine, config, pairs, values["loss"], forward, buffers)
    backward(kept, terms)
    applied = update.apply_gradients(engine, config, pairs, lambda: backward(*forward()), buffers)
    _share_running_statistics(engine.module)
    return values | applied


@torch.no_grad()
def validate(engine: Any, batches: Iterable[Batch], config: Config) -> dict[str, float]:
    """Mean terms over the validation batches: whole reports, no augmentation, running statistics."""
    engine.eval()
    sums: dict[str, float] = {}
    count = 0
    for count, given in enumerate(batches, start=1):  # noqa: B007
        batch = given.to(engine.device)
        reports = objective.gather_report_ids(batch.word_counts_BK > 0, marks_of(batch, config))
        kept = cached.scores(engine, batch, normalize(batch.images_BHH), reports, config, lambda *_: None)
        terms = _floats(cached.terms_of(kept, reports, config))
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
    engine.train()
    return {name: value / count for name, value in sums.items()}


def marks_of(batch: Batch, config: Config) -> ReportIds:
    """What the losses know of the reports."""
    weights = {1 << TAGS.index(tag): weight for tag, weight in config.loss.tag_weights.items()}
    weight_BK = targets.weights(batch.tags_BK, batch.word_counts_BK > 0, weights)
    return ReportIds(batch.study_B, batch.report_B, batch.sentence_hash_BS, batch.unit_hash_BK, weight_BK)


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    # One copy to the host for all terms; each `.item()` would wait for the device.
    names, values = list(terms), torch.cat([t.detach().flatten() for t in terms.values()]).tolist()
    return dict(zip(names, values, strict=True))


def _share_running_statistics(module: torch.nn.Module) -> None:
    """Batch norm's running statistics become their mean over ranks, so that every rank holds the saved state."""
    dist.mean_in_place(norm.unsynced_buffers(module))


def _seed(*name: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:7], "little")
