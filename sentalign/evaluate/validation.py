"""Localization of a model that is being trained: few metrics of some cases, without the controls of an evaluation.

In: a localizer and cases. Out: plain numbers, those of metrics.json of `sentalign evaluate` for the same map and cases
(`pointing`, `cnr`: `seen`; `average_precision`: `protocols.clean`; `side`: `diagnosis`). Nothing is written here.
"""

# N cases

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sentalign.evaluate.bootstrap import Bootstrap
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.diagnosis import peaks
from sentalign.evaluate.predict_cases import MODEL, CaseGrids, Localizer, predict_cases
from sentalign.evaluate.scoring.protocols import Scorer
from sentalign.localize.maps.heatmap import shape
from sharding.contract import UserError

METRICS = ("pointing", "average_precision", "side", "cnr")


def localization(localizer: Localizer, cases: Sequence[Case]) -> dict[str, float]:
    """METRICS over the cases, each left out where it applies to none, and `cases`, the number that could be scored.

    Pooled means, but for cnr, which is a mean over categories. Raises UserError where not one picture can be read.
    """
    scored = list(_scored(localizer, cases))
    if not scored:
        raise UserError("not one image of validation.boxes can be read")
    of_cases, values = zip(*scored, strict=True)
    bootstrap = Bootstrap([c.patient for c in of_cases], [c.category for c in of_cases], replicates=0)
    values_of = {name: np.array([one[name] for one in values]) for name in METRICS}
    means = {name: bootstrap.pooled(values_N).mean for name, values_N in values_of.items()}
    means["cnr"] = bootstrap.over_categories(values_of["cnr"]).mean
    return {name: mean for name, mean in means.items() if np.isfinite(mean)} | {"cases": float(len(scored))}


def _scored(localizer: Localizer, cases: Sequence[Case]) -> Iterator[tuple[Case, dict[str, float]]]:
    """Every readable case with its values, in the order of the set; NaN where a metric does not apply."""
    queries = [{MODEL: case.phrase} for case in cases]
    predicted = predict_cases(localizer, cases, queries, Counter(), Counter(), lambda done: None, text_free=False)
    values = {one.number: (one.case, _values(one)) for one in predicted}
    yield from (values[number] for number in sorted(values))


def _values(one: CaseGrids) -> dict[str, float]:
    grid_HW: Any = one.maps[MODEL].grid_HW.astype(np.float32)  # as an evaluation stores and scores it
    if not np.isfinite(grid_HW).all():
        raise UserError("the model's maps hold NaN or inf")
    scorer = Scorer(one.clean_frame, one.case.target, shape(one.maps[MODEL].plain_HW), one.paper_frame)
    peak = peaks.peak_of(grid_HW, one.clean_frame)
    figures = peaks.of_case(peak, one.case, one.clean_frame, one.paper_frame)
    return scorer.clean(grid_HW) | {"cnr": scorer.cnr(grid_HW)} | figures
