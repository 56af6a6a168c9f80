"""Learning curves and parallel coordinates: one line a trial through its own values."""

from __future__ import annotations

from sentalign.sweep import content
from sentalign.sweep.page import curves, parallel
from sentalign.sweep.page.scales import scales
from tests.sweep.page import made


def points(line):
    return [tuple(map(float, pair.split(","))) for pair in line["path"].split()]


def number(line):
    return int(line["words"].split()[1].rstrip(","))


def test_a_curve_holds_every_validation_and_rungs_stand_at_their_pairs():
    sweep = content.read(made.sweep(12))
    plot = curves.curves(sweep, sweep.goals[0])
    x, y = plot["frame"].x.place, plot["frame"].y.place
    assert plot["rungs"] == [x(6000), x(20000), x(60000)]
    for line in plot["lines"]:
        curve = sweep.trials[number(line)].curve
        assert points(line) == [(x(pairs), y(values[made.AP])) for pairs, values in curve]
    assert {number(line) for line in plot["lines"]} == set(range(12)) - {5}
    assert plot["lines"][-1]["mark"] == "best"
    assert "Rungs at 6,000, 20,000, 60,000 pairs." in plot["frame"].description


def test_no_curve_without_validations():
    sweep = content.read({"objectives": [{"metric": "m", "mode": "min"}], "trials": [{"trial": 0, "curve": []}]})
    assert curves.curves(sweep, sweep.goals[0]) is None


def test_a_line_crosses_every_axis_at_its_value():
    sweep = content.read(made.sweep(12))
    settings = scales(sweep)
    plot = parallel.parallel(sweep, settings)
    assert [axis["name"] for axis in plot["axes"]] == [*made.SPACE, made.AP, made.SIDE]
    columns = [axis["x"] for axis in plot["axes"]]
    assert len(plot["lines"]) == 12
    for line in plot["lines"]:
        trial, crossed = sweep.trials[number(line)], points(line)
        assert [x for x, _ in crossed] == columns[: 8 if trial.values else 6]
        for setting, (_, y) in zip(settings, crossed, strict=False):
            value = setting.coordinate(trial)
            axis = setting.axis(parallel.BELOW, parallel.ABOVE)
            assert y == (parallel.UNSET if value is None else axis.place(value))
    assert plot["unset"] == [columns[5]], "the conditional setting"


def test_shades_follow_the_objective():
    sweep = content.read(made.sweep(12))
    lines = [line for line in parallel.parallel(sweep, scales(sweep))["lines"] if line["shade"] is not None]
    ranked = sorted(lines, key=lambda line: sweep.trials[number(line)].values[made.AP])
    assert [line["shade"] for line in ranked] == [rank * 5 // 11 for rank in range(11)]


def test_long_names_keep_their_ends():
    names = ["section.of.a.long.name_1", "section.of.a.long.name_2"]
    sweep = content.read({"space": {name: {"uniform": [0, 1]} for name in names}})
    axes = parallel.parallel(sweep, scales(sweep))["axes"]
    assert [axis["short"][-6:] for axis in axes] == ["name_1", "name_2"]
    assert all(len(axis["short"]) == parallel.LONGEST_NAME for axis in axes)


def test_one_setting_has_no_parallel_axes():
    sweep = content.read({"space": {"s": {"uniform": [0, 1]}}})
    assert parallel.parallel(sweep, scales(sweep)) is None
