"""The plots of a study: XML with one dot a run, at the place of its value; the files that are written."""

from __future__ import annotations

import copy
import json
from xml.etree import ElementTree

import pytest

from sentalign import cli
from sentalign.study import plots, table
from tests.study.test_figures import CONTENT

SVG = "{http://www.w3.org/2000/svg}"


def elements(svg, tag, style):
    return [e for e in ElementTree.fromstring(svg).iter(SVG + tag) if e.get("class") == style]


def test_every_run_has_a_dot_at_its_value_in_the_line_of_its_row():
    drawn = plots.plots(CONTENT)
    assert list(drawn) == ["pointing", "cnr"]
    found = [(float(e.get("cx")), float(e.get("cy")), e[0].text) for e in elements(drawn["pointing"], "circle", "dot")]
    # .5 is the lowest value and stands at 210, .9 the highest at 550; the rows are 22 high, below the heading.
    base = [
        (210, 33, "seed 0: 0.500"),
        (295, 33, "seed 1: 0.600"),
        (380, 33, "seed 2: 0.700"),
        (465, 33, "seed 3: 0.800"),
    ]
    better = [(303.5, 55, "seed 0: 0.610"), (380, 55, "seed 1: 0.700"), (456.5, 55, "seed 2: 0.790")]
    assert found == [*base, *better, (550, 55, "seed 3: 0.900")]
    assert len(elements(drawn["cnr"], "circle", "dot")) == 3 + 3
    means = [(float(e.get("x1")), float(e.get("x2"))) for e in elements(drawn["pointing"], "line", "mean")]
    assert means == [(337.5, 337.5), (422.5, 422.5)], ".65 and .75; no mean of the row that waits"


def test_equal_values_stand_at_one_place():
    content = copy.deepcopy(CONTENT)
    for row in content["rows"].values():
        row["figures"]["pointing"] = [0.5] * 4
    assert {e.get("cx") for e in elements(plots.plots(content)["pointing"], "circle", "dot")} == {"210.0"}


def test_names_are_escaped_and_fit():
    content = copy.deepcopy(CONTENT)
    content["rows"] = {"<b> & " + "long" * 20: content["rows"]["base"]}
    content["reference"] = None
    texts = [e.text for e in ElementTree.fromstring(plots.plots(content)["cnr"]).iter(SVG + "text")]
    assert texts[1] == "<b> & longlonglonglonglonglon…"


def test_a_figure_that_no_run_has_gives_no_plot():
    content = copy.deepcopy(CONTENT)
    for row in content["rows"].values():
        row["figures"]["cnr"] = [None] * 4
    assert list(plots.plots(content)) == ["pointing"]


def test_the_page_holds_the_plots_and_escapes_text():
    page = table.page(CONTENT)
    assert page.count("<circle") == 4 + 3 + 4 + 3
    assert all(svg in page for svg in plots.plots(CONTENT).values())
    assert "Some &lt;rows&gt;" in page
    assert "<script" not in page
    assert "&lt;svg" not in page


@pytest.mark.parametrize("out", [True, False])
def test_a_study_json_is_enough_to_write_all_again(tmp_path, capsys, out):
    (tmp_path / "study.json").write_text(json.dumps(CONTENT))
    (tmp_path / "out/plots").mkdir(parents=True)
    (tmp_path / "out/plots/gone.svg").write_text("of a figure that the study had")
    words = ["study", "--table", str(tmp_path / "study.json")]
    assert cli.main(words + (["--out", str(tmp_path / "out")] if out else [])) == 0
    assert capsys.readouterr().out == table.markdown(CONTENT)
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    written = {"study.json", "table.md", "index.html", "plots/pointing.svg", "plots/cnr.svg"}
    assert files == (written if out else {"plots/gone.svg"})
    if out:
        ElementTree.parse(tmp_path / "out/plots/cnr.svg")


def test_a_figure_of_one_value_has_one_label():
    content = CONTENT | {
        "rows": {"base": CONTENT["rows"]["base"] | {"figures": {"pointing": [1.0] * 4, "cnr": [None] * 4}}}
    }
    (svg,) = plots.plots(content).values()
    assert svg.count(">1.000</text>") == 1
