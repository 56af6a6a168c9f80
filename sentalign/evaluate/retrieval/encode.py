"""A split of shards → one vector of every image and of every report.

In: a run folder, shards and a split. Out: `Vectors`, in the order of the manifest. Pictures are decoded and released
batch by batch; only the vectors stay. Nothing is ranked here.
"""

# N image-report pairs, B pairs of a batch, D width

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sentalign.localize.trained_run import TrainedRun
from sentalign.stream import augment
from sentalign.stream.batch import Batch
from sentalign.stream.dataset import Stream

Unit = NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of the images and of the reports (N, D); `texts` (N,) has equal numbers for equal texts.

    A text is what the run reads of a report: without `data.drop_tags` and what is beyond `data.max_tokens`.
    """

    images_ND: Unit
    reports_ND: Unit
    texts_N: NDArray[np.int64]
    patients: list[str]


def encode(
    run: TrainedRun,
    shards: str,
    split: str,
    batch: int = 64,
    workers: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Vectors:
    """All pairs with text of a split, read by the run's own settings of the data; `progress` gets the share done.

    `workers` decode (None: as the run had). Raises UserError where there are no such shards or no such pairs.
    """
    ours = {"shards": shards, "batch": batch, "length_buckets": 1, "mirror": 0.0, "max_duplicates": 0}
    ours |= {"on_damage": "fail", "cache": None}  # a substitute would be another patient's
    ours |= {} if workers is None else {"workers": workers}
    stream = Stream(run.settings.data.model_copy(update=ours), run.settings.seed, 0, 1, run.tokenizer, split)
    patients = [p for shards_ in stream.mixture.data_sets for p in shards_.column("patient").to_pylist()]
    images: list[Unit] = []
    reports: list[Unit] = []
    numbers: dict[bytes, int] = {}
    texts: list[int] = []
    for rows in stream.validation_batches(incomplete=True):
        image_BD, report_BD = _encoded(run, rows)
        images.append(image_BD.numpy())
        reports.append(report_BD.numpy())
        texts += [numbers.setdefault(row.tobytes(), len(numbers)) for row in rows.unit_hash_BK.numpy()]
        progress(len(texts) / len(patients))
    return Vectors(np.concatenate(images), np.concatenate(reports), np.array(texts), patients)


def _encoded(run: TrainedRun, rows: Batch) -> tuple[Tensor, Tensor]:
    """Unit vectors (B, D) of the pictures and reports of a batch, on the CPU."""
    rows, pairs = rows.to(run.device), len(rows.keys)
    _, image_BD = run.model.encode_images(augment.normalize(rows.images_BHH))
    # Behind the reports stand those with swapped sides.
    texts = (rows.tokens_BT, rows.attention_BT, rows.unit_id_BT, rows.word_counts_BK)
    _, report_BD = run.model.encode_texts(*(part[:pairs] for part in texts))
    image_BD, report_BD = (normalize(vector_BD.float(), dim=-1).cpu() for vector_BD in (image_BD, report_BD))
    return image_BD, report_BD
