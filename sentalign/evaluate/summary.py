"""Every case's numbers → the figures of metrics.json.

In: `Scores`. Out: one plain dictionary, NaN written as None. Files and pages are in `report`.

Means. `seen` and `withheld` (categories that training never saw; None where there are none) and every entry of
`controls` (on the seen cases; None where no case applies) hold pointing, cnr, miou, dice, each with `_ci`:
  pointing           clean protocol, mean over all cases
  cnr, miou, dice    paper protocol, mean per category, then over categories; cases without a box in the scored centre
                     have no value there and are counted as `outside`
`_ci` is the 95% percentile interval over bootstrap replicates that draw patients; all kinds share the draws.
`protocols` holds every metric of each protocol pooled, over categories and per category, and the spread over prompts.
`separate` is true when the seen pointing and cnr intervals lie wholly above those of every control; `separate_from`
says it for each. `sided` is the model on the seen cases that name a side: what `swapped sides` is to be held against.
"""

# N cases

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.bootstrap import Bootstrap, Estimate
from sentalign.evaluate.measure import Scores
from sentalign.evaluate.predict_cases import BOXES, CENTRE, MODEL, PROMPTS, SHUFFLED, SWAPPED
from sentalign.evaluate.protocols import CLEAN, PAPER

HEADLINE = ("pointing", "cnr", "miou", "dice")
JUDGED = ("pointing", "cnr")


class Part:
    """Some of the cases with their bootstrap: all figures of seen, withheld or sided."""

    def __init__(self, measured: Scores, members_N: NDArray[np.bool_], replicates: int, seed: int) -> None:
        self._measured, self._members_N = measured, members_N
        cases = [case for case, member in zip(measured.cases, members_N, strict=True) if member]
        self.patients = len({case.patient for case in cases})
        self.bootstrap = Bootstrap([c.patient for c in cases], [c.category for c in cases], replicates, seed)

    def values(self, kind: str, metric: str) -> NDArray[np.float64]:
        return self._measured.kinds[kind].values[metric][self._members_N]

    def headline(self, kind: str) -> dict[str, Any] | None:
        """pointing, cnr, miou, dice and their intervals; None where the kind has no case here."""
        if not np.isfinite(self.values(kind, "pointing")).any():
            return None
        figures: dict[str, Any] = {}
        for metric in HEADLINE:
            mean = self.bootstrap.pooled if metric in CLEAN else self.bootstrap.over_categories
            figures |= _named(metric, mean(self.values(kind, metric)))
        return figures

    def protocol(self, metrics: tuple[str, ...]) -> dict[str, Any]:
        """The model's metrics of one protocol in full."""
        return {"cases": int(self._members_N.sum()), "patients": self.patients} | {
            metric: _full(self.bootstrap, self.values(MODEL, metric)) for metric in metrics
        }

    def prompts(self) -> dict[str, Any]:
        """The clean protocol with each wording, and the lowest and highest mean over wordings."""
        kinds = dict(zip(PROMPTS, (MODEL, *PROMPTS[1:]), strict=True))
        said = {
            template: {m: self.bootstrap.pooled(self.values(kind, m)).mean for m in CLEAN}
            for template, kind in kinds.items()
        }
        spread = {m: [min(one[m] for one in said.values()), max(one[m] for one in said.values())] for m in CLEAN}
        return {"wordings": said, "spread": spread}


def summarise(measured: Scores, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The content of metrics.json (see the module's docstring)."""
    seen, withheld = (
        Part(measured, members_N, replicates, seed) if members_N.any() else None
        for members_N in (measured.seen_N, ~measured.seen_N)
    )
    control_figures = {kind: seen.headline(kind) if seen else None for kind in measured.controls}
    headline = seen.headline(MODEL) if seen else None
    separate_from = _separate(headline, control_figures)
    return {
        "seen": headline,
        "withheld": withheld.headline(MODEL) if withheld else None,
        "controls": control_figures,
        "saliency_best": _best_saliency(control_figures),
        "sided": _sided(measured, replicates, seed),
        "separate": bool(separate_from) and all(all(one.values()) for one in separate_from.values()),
        "separate_from": separate_from,
        "protocols": {
            "paper": _protocol(measured, seen, withheld, PAPER),
            "clean": _protocol(measured, seen, withheld, CLEAN) | {"prompts": seen.prompts() if seen else None},
        },
        "cases": len(measured.cases),
        "images": len({case.image_id for case in measured.cases}),
        "patients": len({case.patient for case in measured.cases}),
        "lost": measured.lost,
        "withheld_categories": sorted(
            {c.category for c, s in zip(measured.cases, measured.seen_N, strict=True) if not s}
        ),
        "bootstrap": {"replicates": replicates, "seed": seed, "drawn": "patients", "level": 0.95},
    }


def _protocol(measured: Scores, seen: Part | None, withheld: Part | None, metrics: tuple[str, ...]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: part.protocol(metrics) if part else None for name, part in (("seen", seen), ("withheld", withheld))
    }
    if metrics == PAPER:
        parts["outside"] = int(np.isnan(measured.kinds[MODEL].values["cnr"]).sum())
    return parts


def _sided(measured: Scores, replicates: int, seed: int) -> dict[str, Any] | None:
    members_N = np.array([bool(phrase) for phrase in measured.sentences[SWAPPED]], bool)
    if not members_N.any():
        return None
    figures = Part(measured, members_N, replicates, seed).headline(MODEL)
    return None if figures is None else {"cases": int(members_N.sum())} | figures


def _best_saliency(figures: dict[str, Any]) -> dict[str, str] | None:
    """Which text-free saliency does best, for each headline figure."""
    texts = {SHUFFLED, SWAPPED, CENTRE, BOXES}
    saliency = {kind: one for kind, one in figures.items() if kind not in texts and one is not None}
    if not saliency:
        return None
    return {metric: max(saliency, key=lambda kind: _or_lowest(saliency[kind][metric])) for metric in HEADLINE}


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value


def _separate(headline: dict[str, Any] | None, figures: dict[str, Any]) -> dict[str, dict[str, bool]]:
    if headline is None:
        return {}
    return {
        kind: {metric: _above(headline[f"{metric}_ci"], one[f"{metric}_ci"]) for metric in JUDGED}
        for kind, one in figures.items()
        if one is not None
    }


def _above(ours: list[float | None], theirs: list[float | None]) -> bool:
    return ours[0] is not None and theirs[1] is not None and ours[0] > theirs[1]


def _full(bootstrap: Bootstrap, values_N: NDArray[np.float64]) -> dict[str, Any]:
    pooled, over = bootstrap.pooled(values_N), bootstrap.over_categories(values_N)
    categories = {
        name: _named("mean", one) | {"cases": one.n} for name, one in bootstrap.per_category(values_N).items()
    }
    return _named("pooled", pooled) | _named("categories_mean", over) | {"cases": pooled.n, "categories": categories}


def _named(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: _plain(estimate.mean), f"{name}_ci": [_plain(estimate.low), _plain(estimate.high)]}


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
