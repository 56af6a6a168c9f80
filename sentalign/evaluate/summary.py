"""The metrics of every case → the content of metrics.json.

In: `Scores`. Out: one plain dictionary, NaN written as None. Files are written in `evaluation`.

`set` is the name of the data set.

Means. `seen` and `withheld` (categories withheld from training; None where there are none) and every entry of
`controls` (on the seen cases; None where no case applies) hold pointing, cnr, miou, dice, each with `_ci`:
  pointing           clean protocol, mean over all cases
  cnr, miou, dice    paper protocol, mean per category, then over categories; cases without a box in the scored centre
                     have no value there and are counted as `outside`
All of them score the map by the run's settings `maps`, where its cells lie; `mirrored` counts the cases in whose map
the mirrored picture took part. `plain` holds the same figures of the plain reading: the clean protocol on the scores of
the picture alone, the paper protocol as published (report vector, the grid stretched over the network's input).
`_ci` is the 95% percentile interval over bootstrap replicates that draw patients; all kinds of map share the draws.
`protocols` holds every metric of each protocol pooled, over categories and per category, and the spread over prompts:
`paper` and `clean_plain` of the plain reading, `paper_map` and `clean` of the map.
`radzero` is of the plain map: pointing at the first box, and Dice of the sigmoid at the threshold with the highest mean
over these very cases (`chosen_on`), which flatters every method. `published` has what others published for the set.
`notes` counts what was changed in annotations.
`diagnosis` says why maps miss, of the seen and of the withheld cases; each figure pooled, over categories and per
category, with the number of cases that it applies to (see `diagnosis.peaks`):
  side               share of the cases that name a side and have all boxes on one side, whose peak is there
  near               share of the cases whose peak is within 24/128 of the input's side of a box
  displacement       medians of peak minus box centre over the near cases: dx, dy in pixels of the network's input
`health` needs no boxes (`health`, added in `evaluation`): recall of phrases, overall and by word, lowest first; the
margin of the true side; the median attribution offset. `occlusion` has the mean fall of the attended score when the
pointed and a random window are covered, and the share of cases in which the first is larger (`probe`).
`separate` is true when the seen pointing and cnr intervals lie wholly above those of every control; `separate_from`
has the comparison with each. `sided` is the model on the seen cases that name a side, to compare with `swapped sides`;
`wordings` the model on the seen cases by whether the wording of the phrase was withheld from training, None where that
is not known.
"""

# N cases

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.bootstrap import Bootstrap, Estimate
from sentalign.evaluate.diagnosis import peaks
from sentalign.evaluate.predict_cases import BOXES, CENTRE, MODEL, PLAIN, SHUFFLED, SWAPPED
from sentalign.evaluate.results import published
from sentalign.evaluate.score_cases import Scores
from sentalign.evaluate.scoring.metrics import Array
from sentalign.evaluate.scoring.protocols import CLEAN, PAPER
from sentalign.evaluate.scoring.radzero import THRESHOLDS
from sentalign.localize.prompts import PROMPTS

HEADLINE = ("pointing", "cnr", "miou", "dice")
JUDGED = ("pointing", "cnr")


class Subset:
    """Some of the cases with their bootstrap: the seen, the withheld or the sided ones."""

    def __init__(self, scores: Scores, members_N: NDArray[np.bool_], replicates: int, seed: int) -> None:
        self._scores, self._members_N = scores, members_N
        cases = [case for case, member in zip(scores.cases, members_N, strict=True) if member]
        self.categories_N = np.array([case.category for case in scores.cases], dtype=str)  # of all cases
        self.patients = len({case.patient for case in cases})
        self.bootstrap = Bootstrap([c.patient for c in cases], [c.category for c in cases], replicates, seed)

    def values(self, kind: str, metric: str) -> NDArray[np.float64]:
        return self._scores.kinds[kind].values[metric][self._members_N]

    def headline(self, kind: str) -> dict[str, Any] | None:
        """pointing, cnr, miou, dice and their intervals; None where the kind has no case here."""
        if not np.isfinite(self.values(kind, "pointing")).any():
            return None
        headline: dict[str, Any] = {}
        for metric in HEADLINE:
            mean = self.bootstrap.pooled if metric in CLEAN else self.bootstrap.over_categories
            headline |= _named(metric, mean(self.values(kind, metric)))
        return headline

    def protocol(self, kind: str, metrics: tuple[str, ...]) -> dict[str, Any]:
        """The metrics of one protocol in full."""
        return {"cases": int(self._members_N.sum()), "patients": self.patients} | {
            metric: _full(self.bootstrap, self.values(kind, metric)) for metric in metrics
        }

    def prompts(self) -> dict[str, Any]:
        """The clean protocol with each wording, and the lowest and highest mean over wordings."""
        kinds = dict(zip(PROMPTS, (MODEL, *PROMPTS[1:]), strict=True))
        means = {
            template: {metric: self.bootstrap.pooled(self.values(kind, metric)).mean for metric in CLEAN}
            for template, kind in kinds.items()
        }
        columns = {metric: [row[metric] for row in means.values()] for metric in CLEAN}
        return {"wordings": means, "spread": {metric: [min(c), max(c)] for metric, c in columns.items()}}


def summarise(
    scores: Scores,
    replicates: int = 1000,
    seed: int = 0,
    withheld_phrases: Collection[str] = (),
    name: str = "cases",
) -> dict[str, Any]:
    """The content of metrics.json (see the module's docstring)."""
    seen, withheld = (
        Subset(scores, members_N, replicates, seed) if members_N.any() else None
        for members_N in (scores.seen_N, ~scores.seen_N)
    )
    controls = {kind: seen.headline(kind) if seen else None for kind in scores.controls}
    headline = seen.headline(MODEL) if seen else None
    figures = peaks.diagnose(scores)
    separate_from = _separate(headline, controls)
    return {
        "set": name,
        "seen": headline,
        "withheld": withheld.headline(MODEL) if withheld else None,
        "plain": {
            "seen": seen.headline(PLAIN) if seen else None,
            "withheld": withheld.headline(PLAIN) if withheld else None,
        },
        "mirrored": int(scores.mirrored_N.sum()),
        "controls": controls,
        "diagnosis": {
            name: subset and _diagnosis(subset, figures, members_N)
            for name, subset, members_N in (("seen", seen, scores.seen_N), ("withheld", withheld, ~scores.seen_N))
        },
        "saliency_best": _best_saliency(controls),
        "sided": _sided(scores, replicates, seed),
        "wordings": _wordings(scores, withheld_phrases, replicates, seed),
        "separate": bool(separate_from) and all(all(above.values()) for above in separate_from.values()),
        "separate_from": separate_from,
        "protocols": {
            "paper": _protocol(scores, seen, withheld, PLAIN, PAPER),
            "paper_map": _protocol(scores, seen, withheld, MODEL, PAPER),
            "clean": _protocol(scores, seen, withheld, MODEL, CLEAN) | {"prompts": seen.prompts() if seen else None},
            "clean_plain": _protocol(scores, seen, withheld, PLAIN, CLEAN),
            "radzero": {
                name: subset and _radzero(scores, subset, members_N)
                for name, subset, members_N in (("seen", seen, scores.seen_N), ("withheld", withheld, ~scores.seen_N))
            },
        },
        "published": published.of_set(name),
        "cases": len(scores.cases),
        "images": len({case.image_id for case in scores.cases}),
        "patients": len({case.patient for case in scores.cases}),
        "lost": scores.lost,
        "notes": scores.notes,
        "withheld_categories": sorted({c.category for c, s in zip(scores.cases, scores.seen_N, strict=True) if not s}),
        "bootstrap": {"replicates": replicates, "seed": seed, "drawn": "patients", "level": 0.95},
    }


def _protocol(
    scores: Scores, seen: Subset | None, withheld: Subset | None, kind: str, metrics: tuple[str, ...]
) -> dict[str, Any]:
    subsets = {"seen": seen, "withheld": withheld}
    results: dict[str, Any] = {name: subset and subset.protocol(kind, metrics) for name, subset in subsets.items()}
    if metrics == PAPER:
        results["outside"] = int(np.isnan(scores.kinds[kind].values["cnr"]).sum())
    return results


def _radzero(scores: Scores, subset: Subset, members_N: NDArray[np.bool_]) -> dict[str, Any]:
    dice_NT = scores.radzero.dice_NT[members_N]
    best = int(dice_NT.mean(axis=0).argmax())
    at_best = {"threshold": float(THRESHOLDS[best]), "chosen_on": "these cases"}
    return {
        "pointing": _full(subset.bootstrap, scores.radzero.pointing_N[members_N]),
        "dice": _full(subset.bootstrap, dice_NT[:, best]) | at_best,
    }


def _diagnosis(subset: Subset, figures: dict[str, Array], members_N: NDArray[np.bool_]) -> dict[str, Any]:
    shares = {name: _full(subset.bootstrap, figures[name][members_N]) for name in ("side", "near")}
    displacement = peaks.displacement(figures, members_N)
    by_category = {
        name: peaks.displacement(figures, members_N & (subset.categories_N == name))
        for name in subset.bootstrap.categories.tolist()
    }
    return shares | {"displacement": displacement | {"categories": by_category}}


def _sided(scores: Scores, replicates: int, seed: int) -> dict[str, Any] | None:
    return _of_members(scores, np.array([bool(phrase) for phrase in scores.sentences[SWAPPED]], bool), replicates, seed)


def _wordings(
    scores: Scores, withheld_phrases: Collection[str], replicates: int, seed: int
) -> dict[str, dict[str, Any] | None] | None:
    if not withheld_phrases:
        return None
    withheld_N = np.array([case.phrase in withheld_phrases for case in scores.cases], bool)
    members = {"seen": scores.seen_N & ~withheld_N, "withheld": scores.seen_N & withheld_N}
    return {name: _of_members(scores, members_N, replicates, seed) for name, members_N in members.items()}


def _of_members(scores: Scores, members_N: NDArray[np.bool_], replicates: int, seed: int) -> dict[str, Any] | None:
    """The model on some cases, and how many they are; None where there is none."""
    headline = Subset(scores, members_N, replicates, seed).headline(MODEL) if members_N.any() else None
    return headline and {"cases": int(members_N.sum())} | headline


def _best_saliency(controls: dict[str, Any]) -> dict[str, str] | None:
    """The text-free saliency with the highest mean of each headline metric."""
    others = {SHUFFLED, SWAPPED, CENTRE, BOXES}
    saliency = {kind: means for kind, means in controls.items() if kind not in others and means is not None}
    if not saliency:
        return None
    return {metric: max(saliency, key=lambda kind: _or_lowest(saliency[kind][metric])) for metric in HEADLINE}


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value


def _separate(headline: dict[str, Any] | None, controls: dict[str, Any]) -> dict[str, dict[str, bool]]:
    if headline is None:
        return {}
    return {
        kind: {metric: _above(headline[f"{metric}_ci"], means[f"{metric}_ci"]) for metric in JUDGED}
        for kind, means in controls.items()
        if means is not None
    }


def _above(interval: list[float | None], other: list[float | None]) -> bool:
    return interval[0] is not None and other[1] is not None and interval[0] > other[1]


def _full(bootstrap: Bootstrap, values_N: NDArray[np.float64]) -> dict[str, Any]:
    pooled, over = bootstrap.pooled(values_N), bootstrap.over_categories(values_N)
    categories = {
        name: _named("mean", estimate) | {"cases": estimate.n}
        for name, estimate in bootstrap.per_category(values_N).items()
    }
    return _named("pooled", pooled) | _named("categories_mean", over) | {"cases": pooled.n, "categories": categories}


def _named(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: _json_number(estimate.mean), f"{name}_ci": [_json_number(estimate.low), _json_number(estimate.high)]}


def _json_number(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
