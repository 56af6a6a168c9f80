"""What a step reads of a batch: images, texts in length buckets, and the ids of the reports of all ranks.

In: a rank's batch on its device. Out: `StepInputs`, the same for the plain step, the cached step and validation.
"""

# b images or reports of one rank, K units with padding

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sentalign.config import Config
from sentalign.loss import objective, reference, targets
from sentalign.loss.objective import GlobalReports
from sentalign.loss.targets import ReportIds
from sentalign.model import text
from sentalign.model.text import TextBucket
from sentalign.stream.batch import TAGS, Batch
from sentalign.stream.views import ViewMaker

SeedRng = Callable[..., None]  # seeds the generators for one part of a step, named by its arguments


@dataclass(frozen=True)
class StepInputs:
    """One rank's share of a batch, as towers and losses read it."""

    images_b1HH: Tensor
    buckets: list[TextBucket]
    reports: GlobalReports
    config: Config
    seed_rng: SeedRng
    views: ViewMaker | None = None  # of the images, for training with `loss.weight_rescale` or `loss.weight_window`

    def in_float32(self) -> torch.autocast:
        """The losses run in float32 whatever the towers' precision: logits of 10·cos and sums of exponentials."""
        return torch.autocast(self.images_b1HH.device.type, enabled=False)

    def with_loss(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms and their weighted sum `loss`."""
        weights = self.config.loss.weight_global, self.config.loss.weight_local
        loss = reference.total(terms, *weights)
        for kind, weight in self.config.loss.views.items() if self.views else ():
            loss = loss + weight * terms[kind]
        return terms | {"loss": loss}


def prepare(
    batch: Batch, images_b1HH: Tensor, config: Config, seed_rng: SeedRng, views: ViewMaker | None = None
) -> StepInputs:
    """Gathers the report ids of all ranks; every rank must call it."""
    present_bK = batch.word_counts_BK > 0
    tag_weights = {1 << TAGS.index(tag): weight for tag, weight in config.loss.tag_weights.items()}
    weight_bK = targets.unit_weights(batch.tags_BK, present_bK, tag_weights)
    ids = ReportIds(batch.study_B, batch.report_B, batch.sentence_hash_BS, batch.unit_hash_BK, weight_bK)
    words = (batch.tokens_BT, batch.attention_BT, batch.sentence_id_BT, batch.word_counts_BK)
    buckets = text.buckets(*words, present_bK, batch.order_B, batch.widths)
    return StepInputs(images_b1HH, buckets, objective.gather_report_ids(present_bK, ids), config, seed_rng, views)
