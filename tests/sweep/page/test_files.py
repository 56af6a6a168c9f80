"""index.html and trials.csv: their numbers, escaped texts, links that lead somewhere, nothing from elsewhere."""

from __future__ import annotations

import csv
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from sentalign.sweep import content, page
from sentalign.sweep.page import table
from tests.sharding.describe.test_page import CONTRAST, contrast
from tests.sweep.page import made
from tests.sweep.test_content import CONTENTS

VOID = {"meta"}
PLACES = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d", "points")
STYLE = (Path(page.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")


class Seen(HTMLParser):
    """Tags with their attributes, and all text; every tag must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = Counter(), [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def written(out, given_):
    page.write(out, given_)
    return Seen((out / "index.html").read_text(encoding="utf-8"))


def squeezed(text):
    return " ".join(text.split())


def test_the_best_trial_its_settings_and_the_next_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given_ = made.sweep(12)
    run = tmp_path / "a sweep" / "trials" / f"{given_['best']:03d}"
    for file in ("seed-0/model.safetensors", "seed-0/checkpoints/pairs-1/model.safetensors"):
        (run / file).parent.mkdir(parents=True)
        (run / file).write_bytes(b"")
    (tmp_path / "a sweep" / "best.yaml").write_text("")
    (tmp_path / "a sweep" / "best-model.safetensors").symlink_to(run / "seed-0/model.safetensors")
    seen = written(tmp_path / "a sweep", given_)
    text, best = squeezed(seen.text), given_["trials"][given_["best"]]
    low, high = min(best["by_seed"][made.AP]), max(best["by_seed"][made.AP])
    assert f"Trial {best['trial']}: {made.AP} {best['values'][made.AP]:.4g} ({low:.4g} to {high:.4g})" in text
    assert f"after {best['best_pairs']:,} pairs" in text
    assert "sentalign train 'a sweep/best.yaml'" in text
    assert f"loss.tau{best['parameters']['loss.tau']:.4g}0.05 to 0.4, loguniform" in text
    links = [value for tag, name, value in seen.attributes if (tag, name) == ("a", "href")]
    folder = f"trials/{best['trial']:03d}/"
    assert links == [folder, f"{folder}seed-0/model.safetensors", "best-model.safetensors", "best.yaml", "trials.csv"]
    assert all((tmp_path / "a sweep" / link).exists() for link in links)


def test_a_command_of_the_content_is_shown(tmp_path):
    text = squeezed(written(tmp_path, made.sweep(3) | {"command": "sentalign train best.yaml train.epochs=20"}).text)
    assert "To train it longer: sentalign train best.yaml train.epochs=20" in text


def test_without_a_best_trial_the_page_says_why(tmp_path):
    failed = {"trial": 0, "status": "failed", "error": "no such file: shards"}
    text = squeezed(written(tmp_path, {"objectives": [{"metric": "m", "mode": "max"}], "trials": [failed]}).text)
    assert "No best trial: none has a value. The first error: no such file: shards" in text


def test_an_empty_content_gives_a_page(tmp_path):
    assert "No trial yet." in written(tmp_path, {}).text
    assert (tmp_path / "trials.csv").read_text() == "trial,status,pairs,best_pairs,seconds,violates,error\n"


@pytest.mark.parametrize("count", [3, 12])
def test_every_plot_is_named_and_described(tmp_path, count):
    seen = written(tmp_path, made.sweep(count))
    ids = [value for _, name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pictures = [value.split() for tag, name, value in seen.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert len(pictures) >= 2 * 5 + 2 + 1 + 1  # settings by objective, curves, front, parallel
    assert {one for labels in pictures for one in labels} == set(ids)
    hidden = sum(1 for tag, name, _ in seen.attributes if (tag, name) == ("svg", "aria-hidden"))
    assert seen.tags["svg"] == len(pictures) + hidden
    assert ("html", "lang", "en") in seen.attributes
    assert seen.tags["h1"] == seen.tags["main"] == 1


def test_few_trials_have_no_importance_and_the_page_says_so(tmp_path):
    text = squeezed(written(tmp_path, made.sweep(12)).text)
    assert f"{made.AP}: not shown, because 11 trials with a value are too few" in text
    assert "it is shown from 20 on" in text


def test_importance_stands_beside_chance(tmp_path):
    seen = written(tmp_path, made.sweep(24, objectives=1))
    assert f"{made.AP}, 22 trials" in seen.text
    assert "Without the settings that only some trials have: loss.side_margin." in squeezed(seen.text)


def test_texts_are_escaped(tmp_path):
    plain, hostile = written(tmp_path, made.hostile("x" * len(made.HOSTILE))), written(tmp_path, made.hostile())
    assert hostile.tags == plain.tags
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    assert "script" not in hostile.tags
    assert hostile.text.count(made.HOSTILE) > 10


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTENTS)
def test_any_content_gives_a_well_formed_page(tmp_path_factory, given_):
    seen = Seen(page.files.render(tmp_path_factory.getbasetemp(), content.read(given_)))
    assert not [value for _, name, value in seen.attributes if name in PLACES and re.search("nan|inf", value)]


@pytest.mark.parametrize(
    "values", [(1.7e308, -1.7e308), (1e29, -1e29), (5e-324, 1e-320), (1.0, 1 + 2e-16), (1e16, 1e16 + 2)]
)
@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_extreme_values_have_places(tmp_path, values, kind):
    trials = [
        {
            "trial": n,
            "parameters": {"s": values[n % 2], "t": n},
            "values": {"m": values[n // 2 % 2]},
            "curve": [[n, {"m": n}]],
        }
        for n in range(24)
    ]
    goals = [{"metric": "m", "mode": "min"}]
    seen = written(tmp_path, {"objectives": goals, "space": {"s": {kind: list(values)}}, "trials": trials, "best": 0})
    assert not [value for _, name, value in seen.attributes if name in PLACES and re.search("nan|inf", value)]


def test_the_page_needs_nothing_but_itself(tmp_path):
    seen = written(tmp_path, made.sweep(12))
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(seen.tags)
    assert all(value == "trials.csv" for _, name, value in seen.attributes if name in ("href", "src", "srcset"))
    assert not re.search(r"@import|url\(|https?:|//", STYLE)


def test_text_is_readable_in_light_and_dark():
    light, dark = (
        dict(re.findall(r"--([a-z0-9]+):(#[0-9a-f]+)", body)) for body in re.findall(r":root\{([^}]*)\}", STYLE)
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for text in ("ink", "soft", "accent", "best", "bad"):
            for ground in ("ground", "card"):
                assert contrast(colours[text], colours[ground]) >= CONTRAST, (text, ground)


def test_the_csv_holds_every_trial_in_full(tmp_path):
    given_ = made.sweep(12)
    page.write(tmp_path, given_)
    with open(tmp_path / "trials.csv", newline="", encoding="utf-8") as file:
        rows = {int(row["trial"]): row for row in csv.DictReader(file)}
    assert rows.keys() == set(range(12))
    assert next(iter(rows)) == given_["best"]
    for trial in given_["trials"]:
        row = rows[trial["trial"]]
        assert float(row["loss.tau"]) == trial["parameters"]["loss.tau"]
        assert row["loss.side_swap"] == trial["parameters"]["loss.side_swap"]
        assert row["error"] == trial.get("error", "")
        assert row["status"] == trial["status"]
        if trial["values"]:
            assert float(row[made.AP]) == trial["values"][made.AP]
            assert list(map(float, row[f"{made.AP} by seed"].split())) == trial["by_seed"][made.AP]
        assert bool(row["violates"]) == (trial["values"].get(made.SIDE, 1) < 0.9)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_trials_come_first_and_those_without_a_value_last(mode):
    values = [2.0, None, 3.0, 1.0, 9.0, -9.0]
    trials = [{"trial": n, "values": {"m": value, "c": abs(value or 0)}} for n, value in enumerate(values)]
    goals, bounds = [{"metric": "m", "mode": mode}], [{"metric": "c", "at_most": 5}]
    sweep = content.read({"objectives": goals, "constraints": bounds, "trials": trials})
    order = [trial.number for trial in table.best_first(sweep)]
    assert order == ([2, 0, 3, 4, 5, 1] if mode == "max" else [3, 0, 2, 5, 4, 1])
