"""The page in Chromium: it fits its window at any width, asks nobody for anything, and no label hides another."""

from __future__ import annotations

import pytest

from sentalign.sweep import page as sweep_page
from tests.sweep.page import made

pytestmark = pytest.mark.slow
# Labels of one plot that overlap: [text, text] pairs of ticks on the same axis.
OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const texts = [...svg.querySelectorAll('text:not([transform])')];
    const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
    for (const [n, [one, a]] of boxes.entries()) for (const [other, b] of boxes.slice(n + 1))
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        found.push([svg.querySelector('title').textContent, one, other]);
  }
  return found;
}"""
OUTSIDE = """() => [...document.querySelectorAll('svg[role=img] circle, svg[role=img] polyline, svg[role=img] path')]
  .filter(mark => { const a = mark.getBoundingClientRect(), b = mark.closest('svg').getBoundingClientRect();
    return a.left < b.left - 9 || a.right > b.right + 9 || a.top < b.top - 9 || a.bottom > b.bottom + 9; }).length"""


def many_settings():
    space = {f"section.setting_number_{n}": {"uniform": [0, 1]} for n in range(12)}
    trials = [
        {
            "trial": t,
            "status": "finished",
            "values": {f"metric/{m}": (t * (m + 3)) % 7 for m in range(3)},
            "seconds": 9e4,
        }
        | {"parameters": {name: (t * 0.618 * (n + 1)) % 1 for n, name in enumerate(space)}}
        for t in range(15)
    ]
    goals = [{"metric": f"metric/{m}", "mode": "max"} for m in range(3)]
    return {"objectives": goals, "space": space, "trials": trials, "best": 2, "pareto": [2, 6]}


def one_choice():
    names = ["a rather long name of a choice", "another one that is long", "c", "d", "e"]
    trials = [{"trial": n, "parameters": {"s": names[n % 5]}, "values": {"m": n * n}} for n in range(25)]
    return {
        "objectives": [{"metric": "m", "mode": "min"}],
        "space": {"s": {"choice": names}},
        "trials": trials,
        "best": 0,
    }


CONTENTS = {
    "3": made.sweep(3),
    "12": made.sweep(12),
    "60": made.sweep(60, objectives=1),
    "hostile": made.hostile(),
    "many settings": many_settings(),
    "one choice": one_choice(),
    "empty": {},
}


@pytest.fixture(scope="module", params=CONTENTS)
def written(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    sweep_page.write(out, CONTENTS[request.param])
    return (out / "index.html").as_uri()


@pytest.mark.parametrize("width", [1200, 700, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_needs_nobody(browser, written, width, scheme):
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requested, complaints = [], []
    shown.on("request", lambda request: requested.append(request.url))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("console", lambda message: complaints.append(message.text))
    shown.goto(written)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(OVERLAPS) == []
    assert shown.evaluate(OUTSIDE) == 0
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
    assert (requested, complaints) == ([written], [])
    shown.close()
