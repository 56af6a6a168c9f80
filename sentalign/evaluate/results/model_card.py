"""The model card of an evaluated run: what it is, what it was trained and measured on, what it cannot do.

In: `Scores`, metrics.json's content and what is known of the run. Out: model_card.md and model_card.html, with the same
sections, and the pictures of both in model_card/. No figure of it is written by hand.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sentalign.evaluate.predict_cases import MODEL
from sentalign.evaluate.results import ledger, page
from sentalign.evaluate.score_cases import Scores

PICTURES = "model_card"
EACH = 3  # best, median and worst cases
HEADLINE = {"pointing": "pointing game", "cnr": "signed CNR", "miou": "mIoU", "dice": "Dice"}
USE = (
    "It shows where in a frontal chest X-ray a sentence is true. It is research software, not a medical device: no "
    "decision about a patient may rest on it.",
    "A map is scaled to its own range: it points somewhere for a false sentence too. Only the score tells how well a "
    "sentence fits, and it is no probability.",
)
LIMITS = (
    "Trained without boxes: what often appears together (a finding and its drain, a side and a device) can be "
    "confused. Controls with other sentences, where the set has several, measure that on this set only.",
    "Means hide kinds that fail: read the table by category and the worst cases. Categories with few cases have "
    "wide intervals.",
    "Nothing here was measured on other scanners, ages, projections or languages than those of the set, nor by sex, "
    "age or origin.",
)


@dataclass(frozen=True)
class CardSection:
    """A heading with paragraphs, and a table or pictures under them."""

    heading: str
    paragraphs: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[tuple[str, str]] = field(default=())  # file, caption
    code: str = ""


def write(out: Path, scores: Scores, metrics: dict[str, Any], about: dict[str, str]) -> None:
    """Writes the card into an existing folder. `about`: `weights` (sha256), `version` and `settings` (YAML)."""
    (out / PICTURES).mkdir(exist_ok=True)
    sections = [
        CardSection("What it is for", USE),
        CardSection("The model", [f"sentalign {about['version']}, weights sha256 {about['weights']}."]),
        *_results(metrics),
        *_cases(out, scores),
        CardSection("Limits", LIMITS),
        CardSection(
            "Settings of its training", ["Data, towers, losses and schedule."], code=about["settings"].rstrip()
        ),
    ]
    title = f"Model card, measured on {metrics['set']}"
    for name in ("model_card.md", "model_card.html"):
        text = page.TEMPLATES.get_template(name).render(title=title, sections=sections)
        (out / name).write_text(text.rstrip() + "\n", encoding="utf-8")


def _results(metrics: dict[str, Any]) -> Iterator[CardSection]:
    counts = f"{metrics['cases']} cases, {metrics['images']} images, {metrics['patients']} patients of {metrics['set']}"
    replicates, withheld = metrics["bootstrap"]["replicates"], ", ".join(metrics["withheld_categories"])
    lines = [f"{counts}; 95% intervals of {replicates} bootstrap replicates that draw patients."]
    lines += [f"{count} cases not scored: {reason}." for reason, count in metrics["lost"].items()]
    lines += [f"{count} {note}." for note, count in metrics["notes"].items()]
    lines += [f"This is {ledger.line(metrics['once'])}."] if metrics.get("once") else []
    lines += [f"Withheld from training: {withheld}."] if withheld else []
    if metrics["separate_from"]:
        above = "lie" if metrics["separate"] else "do not lie"
        lines += [f"The model's pointing and CNR intervals on the seen cases {above} above those of every control."]
    rows = [[name, *(_interval(means, metric) for metric in HEADLINE)] for name, means in page.rows(metrics).items()]
    yield CardSection("Results and controls", lines, ["map", *HEADLINE.values()], rows)
    yield CardSection("By category", [], ["category", "in training", "cases", "pointing", "average precision"],
                  list(_categories(metrics)))  # fmt: skip
    if metrics["published"]:
        head = ["method, as published", "protocol", "pointing", "CNR", "mIoU"]
        figures = [[row["method"], row["protocol"], *(_figure(row, name) for name in ("pointing", "cnr", "miou"))]
                   for row in metrics["published"]]  # fmt: skip
        yield CardSection(
            "Published for this set", ["Not measured here; only rows of one protocol may be compared."], head, figures
        )


def _categories(metrics: dict[str, Any]) -> Iterator[list[str]]:
    for subset in ("seen", "withheld"):
        clean = metrics["protocols"]["clean"][subset]
        for name, pointing in (clean["pointing"]["categories"] if clean else {}).items():
            precision = clean["average_precision"]["categories"][name]
            yield [name, subset, str(pointing["cases"]), _interval(pointing, "mean"), _interval(precision, "mean")]


def _figure(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.3f}" if name in row else "–"


def _interval(means: dict[str, Any], metric: str) -> str:
    if means[metric] is None:
        return "–"
    low, high = means[f"{metric}_ci"]
    return f"{means[metric]:.3f} [{low:.3f}, {high:.3f}]"


def _cases(out: Path, scores: Scores) -> Iterator[CardSection]:
    """The best, the median and the worst cases by average precision; by rank, so that none is picked by hand."""
    order = np.argsort(-scores.kinds[MODEL].values["average_precision"], kind="stable")
    middle = max(0, len(order) // 2 - EACH // 2)
    chosen = {"Best": order[:EACH], "Median": order[middle : middle + EACH], "Worst": order[::-1][:EACH]}
    for name, numbers in chosen.items():
        pictures = []
        for rank, n in enumerate(numbers.tolist(), 1):
            drawn = page.picture(scores, n)
            file = f"{PICTURES}/{name.lower()}-{rank}.jpg"
            (out / file).write_bytes(base64.b64decode(drawn["uri"].partition(",")[2]))
            pictures.append(
                (file, f"{drawn['phrase']} ({drawn['category']}, average precision {drawn['precision']:.2f})")
            )
        note = "White: the true boxes or the outline of the true mask. Colour: the map. Blue cross: its peak."
        yield CardSection(f"{name} cases", [note], pictures=pictures)
