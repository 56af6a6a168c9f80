"""Means of the probes: figures that need no boxes, and the occlusion control by category.

In: `Probes`. Out: plain dictionaries for metrics.json (see `summary`).
"""

# N cases, I images, M sentences

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.diagnosis.probe import Probes
from sentalign.evaluate.score_cases import Scores
from sentalign.evaluate.scoring.metrics import Array
from sentalign.localize.maps import attribution
from sentalign.word_recall import WordRecall, found_within
from sharding.contract import text_hash


def label_free(scores: Scores, probes: Probes) -> dict[str, Any]:
    """Recall, margin of the true side, and attribution offset of all cases; None where nothing applies."""
    recall, values = retrieval(scores, probes), probes.values
    margin_N = values["margin"][np.isfinite(values["margin"])]
    offset_N2 = np.stack([values["attribution_dx"], values["attribution_dy"]], axis=1)
    return {
        "recall": recall.overall(),
        "words": {word: {"recall": share, "sentences": count} for word, (share, count) in recall.by_word().items()},
        "side_margin": float(margin_N.mean()) if len(margin_N) else None,
        "side_preferred": float((margin_N > 0).mean()) if len(margin_N) else None,
        "sided": len(margin_N),
        "attribution": attribution.medians(offset_N2) | {"cases": int(np.isfinite(offset_N2).all(axis=1).sum())},
    }


def retrieval(scores: Scores, probes: Probes) -> WordRecall:
    """Whether each case's image is among the top tenth of all images by the attended score of its phrase.

    Images that have the same phrase, by its normal form, are right answers too and do not count against it; a tie does.
    """
    images_of: dict[str, set[str]] = {}
    for case in scores.cases:
        images_of.setdefault(text_hash(case.phrase), set()).add(case.image_id)
    columns = {sentence: number for number, sentence in enumerate(probes.sentences)}
    recall = WordRecall()
    for case in scores.cases:
        score_I = probes.scores_IM[:, columns[case.phrase]]
        own = score_I[probes.images.index(case.image_id)]
        rivals_I = np.array([image not in images_of[text_hash(case.phrase)] for image in probes.images])
        above = int((rivals_I & ~(score_I < own)).sum())
        recall.add(case.phrase, above < found_within(len(probes.images)))
    return recall


def occlusion(probes: Probes, members_N: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean falls of some cases, and the share of them in which covering the pointed window lowers the score more."""
    pointed_N, random_N = (_some(probes.values[f"fall_{name}"], members_N) for name in ("pointed", "random"))
    if not len(pointed_N):
        return {"pointed": None, "random": None, "larger": None, "cases": 0}
    means = {"pointed": float(pointed_N.mean()), "random": float(random_N.mean())}
    return means | {"larger": float((pointed_N > random_N).mean()), "cases": len(pointed_N)}


def _some(values_N: Array, members_N: NDArray[np.bool_]) -> Array:
    return values_N[members_N & np.isfinite(values_N)]
