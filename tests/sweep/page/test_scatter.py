"""Marks stand at the values of their trials; medians and fronts are those of a plain computation."""

from __future__ import annotations

import math
import statistics

import pytest

from sentalign.sweep import content
from sentalign.sweep.page import scatter
from sentalign.sweep.page.scales import domain_text, scale, scales
from tests.sweep.page import made

GOAL = content.MetricGoal("m", "max")


def tiny(domain, values, **more):
    """Trials of one setting `s` and metric `m`: (setting, metric or None)."""
    trials = [
        {"trial": n, "parameters": {"s": s}, "status": "finished", "values": {"m": m}}
        for n, (s, m) in enumerate(values)
    ]
    goals = [{"metric": "m", "mode": "max"}]
    return content.read({"objectives": goals, "space": {"s": domain}, "trials": trials} | more)


def plot_of(sweep, goal=GOAL, name="s"):
    return scatter.over_setting(sweep, goal, scale(sweep, name))


def test_marks_of_a_logarithmic_setting_stand_at_its_logarithm():
    plot = plot_of(tiny({"loguniform": [0.01, 100]}, [(0.01, 0.0), (1.0, 0.5), (100.0, 1.0)]))
    (low, top), (middle, half), (high, bottom) = [(point["x"], point["y"]) for point in plot["points"]]
    assert middle - low == pytest.approx(high - middle, abs=0.2)
    assert half - top == pytest.approx(bottom - half, abs=0.2)
    assert low < high
    assert top > bottom, "upwards"
    assert [label for _, label in plot["frame"].x.ticks] == ["0.01", "0.1", "1", "10", "100"]


def test_choices_have_slots_in_the_order_of_the_file_and_values_from_outside_one_of_their_own():
    sweep = tiny({"choice": [5.0, "b", None]}, [(5, 1.0), (None, 2.0), ("c", 3.0), ("b", 4.0)])
    assert scale(sweep, "s").labels == ("5", "b", "null", "c")
    plot = plot_of(sweep)
    slots = {label: x for x, label in plot["frame"].x.ticks}
    width = slots["b"] - slots["5"]
    for point, label in zip(plot["points"], ["5", "null", "c", "b"], strict=True):
        assert abs(point["x"] - slots[label]) < 0.3 * width


def test_a_value_without_a_logarithm_stands_at_the_low_end():
    sweep = tiny({"loguniform": [0.01, 1]}, [(0.0, 1.0), (0.01, 2.0)])
    assert {point["x"] for point in plot_of(sweep)["points"]} == {plot_of(sweep)["points"][0]["x"]}
    assert scale(sweep, "s").kind == "log"


def test_states_constraints_and_failures_have_marks_of_their_own():
    sweep = content.read(made.sweep(23))
    plot = plot_of(sweep, sweep.goals[0], "loss.tau")
    marks = {int(point["words"].split()[1].rstrip(",")): point["mark"] for point in plot["points"]}
    for trial in sweep.trials:
        if trial.values:
            expected = "violating" if trial.values[made.SIDE] < 0.9 else trial.status
            assert marks.pop(trial.number) == ("best" if trial is sweep.best else expected)
    assert not marks
    assert [point["words"].split(",")[0] for point in plot["without"]] == ["trial 5", "trial 16"]
    assert plot["points"][-1]["mark"] == "best", "drawn on top"
    assert plot_of(sweep, sweep.goals[0], "loss.side_margin")["unset"] == sum(
        trial.parameters["loss.side_swap"] == "off" for trial in sweep.trials
    )


def test_the_marginal_is_the_median_of_neighbours():
    pairs = [((7 * n % 25) / 25, math.sin(n)) for n in range(25)]
    plot = plot_of(tiny({"uniform": [0, 1]}, pairs))
    y, x = plot["frame"].y.place, plot["frame"].x.place
    ordered, expected = sorted(pairs), []
    for size in (5, 4, 4, 4, 4, 4):
        part, ordered = ordered[:size], ordered[size:]
        expected.append((x(part[0][0]), x(part[-1][0]), y(statistics.median(value for _, value in part))))
    assert plot["marginal"] == expected
    assert plot_of(tiny({"uniform": [0, 1]}, pairs[:7]))["marginal"] == [], "too few"


def test_the_marginal_of_choices_is_the_median_of_each_that_has_two_trials():
    plot = plot_of(tiny({"choice": ["a", "b", "c"]}, [("a", 1.0), ("a", 2.0), ("a", 9.0), ("b", 4.0)]))
    assert [y for _, _, y in plot["marginal"]] == [plot["frame"].y.place(2.0)]


def test_far_outliers_on_the_worse_side_stand_at_the_edge():
    values = [(n / 10, 0.5 + n / 100) for n in range(10)]
    plot = plot_of(tiny({"uniform": [0, 1]}, [*values, (0.5, -1e9)]))
    assert plot["points"][-1]["y"] == plot["frame"].bottom
    assert len({point["y"] for point in plot["points"]}) == 11
    plot = plot_of(tiny({"uniform": [0, 1]}, [*values, (0.5, 1e3)]))
    assert plot["frame"].y.place(1e3) > plot["frame"].top, "an outlier on the better side is what is looked for"


def test_seeds_have_a_range():
    trial = {"trial": 0, "parameters": {"s": 1}, "values": {"m": 2.0}, "by_seed": {"m": [1.0, 2.0, 3.0]}}
    sweep = content.read({"objectives": [{"metric": "m", "mode": "min"}], "trials": [trial]})
    plot = plot_of(sweep, sweep.goals[0])
    assert plot["points"][0]["spread"] == (plot["frame"].y.place(1.0), plot["frame"].y.place(3.0))


def test_no_plot_without_a_value_and_no_scale_without_a_setting():
    sweep = tiny({"uniform": [0, 1]}, [(0.5, None)])
    assert plot_of(sweep) is None
    assert scales(content.read({"space": {"s": {}}})) == []


@pytest.mark.parametrize(("count", "plots"), [(1, 0), (2, 1), (3, 3)])
def test_two_objectives_have_a_front_and_more_are_drawn_in_pairs(count, plots):
    names = ["a", "b", "c"][:count]
    trials = [{"trial": n, "values": {"a": n, "b": -n * n, "c": 1}} for n in range(4)]
    goals = [{"metric": name, "mode": "max"} for name in names]
    sweep = content.read({"objectives": goals, "trials": trials, "pareto": [3, 1, 0]})
    drawn = scatter.fronts(sweep)
    assert len(drawn) == plots
    for plot in drawn:
        assert {point["words"].split(",")[0] for point in plot["points"] if point["front"]} == {
            "trial 0",
            "trial 1",
            "trial 3",
        }
        assert len(plot["line"]) == (3 if count == 2 else 0)
    if count == 2:
        places = [(point["x"], point["y"]) for point in drawn[0]["points"]]
        assert drawn[0]["line"] == [places[0], places[1], places[3]]
        assert drawn[0]["labels"] == [(number, *places[number]) for number in (0, 1, 3)]


def test_numbers_on_a_front_do_not_hide_each_other():
    trials = [{"trial": n, "values": {"a": n / 1000, "b": -n / 1000}} for n in range(30)]
    goals = [{"metric": name, "mode": "max"} for name in "ab"]
    sweep = content.read({"objectives": goals, "trials": trials, "pareto": list(range(30))})
    (plot,) = scatter.fronts(sweep)
    assert sum(point["front"] for point in plot["points"]) == 30
    assert 5 < len(plot["labels"]) < 30


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ({"loguniform": [0.05, 0.3]}, "0.05 to 0.3, loguniform"),
        ({"quniform": [0, 1, 0.25]}, "0 to 1, quniform"),
        ({"choice": [5.0, "b"]}, "5 · b"),
        ({"randint": [2, 5], "uniform": None}, "2 to 4, randint"),
        ({"qrandint": [2, 6, 2], "when": "a word"}, "2 to 6, qrandint; only with a word"),
        ({"uniform": [0, 1], "when": {"s": "b", "t": True}}, "0 to 1, uniform; only with s=b, t=true"),
        ({}, ""),
    ],
)
def test_domains_in_words(domain, text):
    assert domain_text(content.read({"space": {"s": domain}}).space["s"]) == text


@pytest.mark.parametrize(
    ("domain", "value", "edge"),
    [
        ({"loguniform": [0.01, 1]}, 0.0105, True),
        ({"loguniform": [0.01, 1]}, 0.1, False),
        ({"uniform": [0, 1]}, 0.1, False),
        ({"uniform": [0, 1]}, 0.99, True),
        ({"uniform": [0, 1]}, 1.5, True),
        ({"choice": [1, 2]}, 1, False),
    ],
)
def test_a_value_at_the_end_of_its_range_is_told(domain, value, edge):
    sweep = tiny(domain, [(value, 1.0)])
    assert scale(sweep, "s").at_edge(sweep.trials[0]) == edge
