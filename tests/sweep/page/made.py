"""Made contents of trials.json: a plausible sweep over phantoms, and one of hostile texts and values."""

from __future__ import annotations

import math

import numpy as np

AP, SIDE = "validation/average_precision", "validation/side_accuracy"
SPACE = {
    "optimizer.lr": {"loguniform": [5e-4, 4e-3]},
    "loss.weight_local": {"loguniform": [0.1, 10]},
    "loss.tau": {"loguniform": [0.05, 0.4]},
    "loss.t3": {"choice": [5.0, 10.0, 20.0]},
    "loss.side_swap": {"choice": ["off", "hinge"]},
    "loss.side_margin": {"uniform": [0, 0.5], "when": {"loss.side_swap": "hinge"}},
}
RUNGS = [6000, 20000, 60000]
HOSTILE = """<script>alert('1 < 2 & 3')</script>"> {{ 7 * 7 }} {% raw %}"""
ERROR = "training ended with 1: error: CUDA out of memory; lower batch"


def sweep(count, *, seeds=3, objectives=2, random=0):
    """`count` trials with a best temperature near .1; every eleventh fails, half are stopped at a rung."""
    generator = np.random.default_rng(random)
    trials = [_trial(number, seeds, generator) for number in range(count)]
    known = [trial for trial in trials if trial["values"]]
    kept = [trial for trial in known if trial["values"][SIDE] >= 0.9]
    best = max(kept, key=lambda trial: trial["values"][AP], default=None)
    goals = [{"metric": AP, "mode": "max"}, {"metric": SIDE, "mode": "max"}]
    return {
        "objectives": goals[:objectives],
        "constraints": [{"metric": SIDE, "at_least": 0.9}],
        "space": SPACE,
        "rungs": RUNGS,
        "trials": trials,
        "best": best and best["trial"],
        "pareto": [trial["trial"] for trial in kept if not any(_dominates(other, trial) for other in kept)],
    }


def _dominates(one, other):
    return all(one["values"][metric] > other["values"][metric] for metric in (AP, SIDE))


def _trial(number, seeds, random):
    swap = ["off", "hinge"][random.integers(2)]
    parameters = {
        "optimizer.lr": float(5e-4 * 8 ** random.random()),
        "loss.weight_local": float(0.1 * 100 ** random.random()),
        "loss.tau": float(0.05 * 8 ** random.random()),
        "loss.t3": [5.0, 10.0, 20.0][random.integers(3)],
        "loss.side_swap": swap,
    } | ({"loss.side_margin": float(random.uniform(0, 0.5))} if swap == "hinge" else {})
    record = {"trial": number, "parameters": parameters}
    if number % 11 == 5:
        return record | {"status": "failed", "error": ERROR, "values": {}, "by_seed": {}, "curve": [], "pairs": 0}
    quality = 0.62 - 0.18 * abs(math.log(parameters["loss.tau"] / 0.1)) + 0.02 * random.normal()
    quality -= 0.05 * abs(math.log(parameters["loss.weight_local"]))
    side = min(1.0, 0.93 + 0.04 * (swap == "hinge") + 0.02 * random.normal())
    last = [6000, 18000, 60000, 60000][random.integers(4)]
    curve = [[pairs, _validation(pairs, quality, side, random)] for pairs in range(3000, last + 1, 3000)]
    last_values = curve[-1][1]
    values = {
        metric: [min(1.0, last_values[metric] + 0.01 * random.normal()) for _ in range(seeds)] for metric in (AP, SIDE)
    }
    return record | {
        "status": "finished" if last == 60000 else "stopped",
        "values": {metric: float(np.mean(by_seed)) for metric, by_seed in values.items()},
        "by_seed": values,
        "curve": curve,
        "pairs": last,
        "best_pairs": last,
        "seconds": last / 60,
    }


def _validation(pairs, quality, side, random):
    learned = 1 - math.exp(-pairs / 9000)
    return {AP: max(0.02, quality * learned + 0.008 * random.normal()), SIDE: side * (0.6 + 0.4 * learned)}


def hostile(text=HOSTILE):
    """Every text is `text`; values are missing, infinite, NaN, of another kind."""
    trials = [
        {"trial": 0, "status": "finished", "values": {text: math.inf}, "curve": [[1, {text: math.nan}], [2, {}]]},
        {"trial": 1, "parameters": {text: 0.0, text + "2": [text]}, "status": "stopped", "values": {text: None}},
        {
            "trial": 2,
            "parameters": {text: None, text + "2": None},
            "status": "failed",
            "error": f"\x1b[31m{text}\nrest",
        },
        {"trial": 3},
        {"trial": 4, "parameters": {text: 0.5, text + "2": True}, "status": "running", "values": {text: 3.0}},
        {"trial": 5, "parameters": {text: 0.05, text + "2": text}, "status": "finished", "values": {text: 2.0}},
    ]
    trials[4] |= {"curve": [[5, {text: 3.0}]], "pairs": 5}
    trials[5] |= {"curve": [[5, {text: 3.0}], [9, {text: 2.0}]], "pairs": 9, "by_seed": {text: [1.5, 2.5, math.nan]}}
    space = {text: {"loguniform": [1e-5, 1], "when": {text: text}}, text + "2": {"choice": [text, True, None, [text]]}}
    goals = [{"metric": text, "mode": "min"}]
    return {
        "objectives": goals,
        "constraints": [{"metric": text, "at_most": 2.5}],
        "space": space,
        "trials": trials,
    } | {"best": 5}
