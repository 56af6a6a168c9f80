"""Figures over seeds: spreads, paired differences, and the file that holds them."""

from __future__ import annotations

import pytest
from scipy import stats

from sentalign.study import figures, table

CONTENT = {
    "title": "Some <rows>",
    "reference": "base",
    "seeds": [0, 1, 2, 3],
    "figures": {"pointing": "pointing, seen kinds", "cnr": "signed CNR"},
    "data": {"small": {"studies": 60, "seed": 1, "test_studies": 10}},
    "rows": {
        "base": {
            "set": {},
            "runs_of": None,
            "evaluate": [],
            "figures": {"pointing": [0.5, 0.6, 0.7, 0.8], "cnr": [1.0, 1.0, 2.0, None]},
        },
        "better": {
            "set": {"data.mirror": 0.5},
            "runs_of": None,
            "evaluate": [],
            "figures": {"pointing": [0.61, 0.7, 0.79, 0.9], "cnr": [None, 1.5, 1.5, 3.0]},
        },
        "waiting": {
            "set": {},
            "runs_of": "base",
            "evaluate": [],
            "figures": {"pointing": [None] * 4, "cnr": [None] * 4},
        },
    },
}


def test_the_controls_are_read_by_name_and_the_best_of_them_by_pointing():
    pointing = {"shuffled sentences": 0.2, "swapped sides": 0.4, "centre prior": 0.1, "dark": 0.05, "bright": 0.02}
    metrics = {
        "controls": {name: {"pointing": value} for name, value in pointing.items()},
        "saliency_best": {"pointing": "dark", "cnr": "bright"},
        "separate": True,
    }
    names = ("control", "shuffled", "saliency", "separate")
    assert [figures.FIGURES[name].read(metrics) for name in names] == [0.4, 0.2, 0.05, 1.0]
    none = {"controls": dict.fromkeys(pointing), "saliency_best": None, "separate": False}
    assert [figures.FIGURES[name].read(none) for name in names] == [None, None, None, 0.0]


def test_a_spread_is_over_the_seeds_that_have_the_figure():
    found = figures.spread(CONTENT, "base", "cnr")
    assert (found.values, found.low, found.high) == ({0: 1.0, 1: 1.0, 2: 2.0}, 1.0, 2.0)
    assert found.mean == pytest.approx(4 / 3)
    assert figures.spread(CONTENT, "waiting", "cnr") is None


def test_a_difference_is_paired_by_seed():
    mean, low, high = figures.difference(CONTENT, "better", "pointing")
    paired = stats.ttest_rel([0.61, 0.7, 0.79, 0.9], [0.5, 0.6, 0.7, 0.8]).confidence_interval(0.95)
    assert mean == pytest.approx(0.1)
    assert (low, high) == pytest.approx((paired.low, paired.high))
    # Seeds 1 and 2 have both: differences .5 and -.5.
    mean, low, high = figures.difference(CONTENT, "better", "cnr")
    assert mean == pytest.approx(0.0)
    assert low < 0 < high
    assert figures.difference(CONTENT, "base", "cnr") is None
    assert figures.difference(CONTENT, "waiting", "cnr") is None


def test_the_table_shows_the_range_and_only_clear_differences():
    content = CONTENT | {"rows": CONTENT["rows"] | {"empty": CONTENT["rows"]["waiting"]}}
    lines = table.markdown(content).splitlines()
    assert lines[0] == "| row | seeds | pointing, seen kinds | signed CNR |"
    assert lines[1] == "| --- | --- | --- | --- |"
    assert lines[2] == "| base | 4 | 0.650 (0.500 to 0.800) | 1.33 (1.00 to 2.00) |"
    assert lines[3] == "| better | 4 | 0.750 (0.610 to 0.900) **+0.100** | 2.00 (1.50 to 3.00) |"
    assert lines[4] == "| waiting | 0 | – | – |"


def test_the_table_of_few_rows_has_one_line_a_figure():
    lines = table.markdown(CONTENT).splitlines()
    assert lines[:3] == ["| row | base | better | waiting |", "| --- | --- | --- | --- |", "| seeds | 4 | 4 | 0 |"]
    assert lines[4] == "| signed CNR | 1.33 (1.00 to 2.00) | 2.00 (1.50 to 3.00) | – |"
    assert len(lines) == 3 + len(CONTENT["figures"])
