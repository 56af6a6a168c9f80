"""The page of an evaluation: one self-contained HTML file.

In: `Scores` and its summary. Out: HTML text with its pictures inside, below 5 MB. It loads nothing from anywhere.
"""

# N cases

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from sentalign.evaluate.layout import PAGE
from sentalign.evaluate.measure import Scores
from sentalign.evaluate.predict_cases import MODEL, read_picture
from sentalign.localize import heatmap, overlay

SHOWN = 8  # pictures of hits, and as many of misses
PICTURE_SIDE = 320
COLUMNS = (("pointing", "Pointing"), ("cnr", "CNR"), ("miou", "mIoU"), ("dice", "Dice"))


def render(measured: Scores, metrics: dict[str, Any]) -> str:
    """The whole page."""
    hits, misses = choose(measured)
    pointing_N = measured.kinds[MODEL].values["pointing"]
    return PAGE.substitute(
        verdict=_verdict(metrics),
        counts=_counts(metrics),
        table=_table(metrics),
        saliency=_saliency(metrics),
        sided=_sided(metrics),
        categories=_categories(metrics),
        prompts=_prompts(metrics),
        hits=_pictures(measured, hits),
        misses=_pictures(measured, misses),
        hit_count=int(pointing_N.sum()),
        miss_count=int((pointing_N == 0).sum()),
        hit_shown=len(hits),
        miss_shown=len(misses),
        replicates=metrics["bootstrap"]["replicates"],
        seed=metrics["bootstrap"]["seed"],
        outside=metrics["protocols"]["paper"]["outside"],
    )


def choose(measured: Scores, count: int = SHOWN) -> tuple[list[int], list[int]]:
    """The cases that are shown: hits and misses of the pointing game, each at evenly spaced ranks of average precision.

    Best first; a rule, so that no picture is picked by hand.
    """
    values = measured.kinds[MODEL].values
    order = np.argsort(-values["average_precision"], kind="stable")
    groups = []
    for wanted in (1.0, 0.0):
        group = [int(n) for n in order if values["pointing"][n] == wanted]
        ranks = np.unique(np.linspace(0, len(group) - 1, min(count, len(group))).round().astype(int))
        groups.append([group[rank] for rank in ranks] if group else [])
    return groups[0], groups[1]


def figure(figures: dict[str, Any], metric: str, digits: int = 3) -> str:
    """A mean with its interval, with that many decimals, as text."""
    mean, (low, high) = figures[metric], figures[f"{metric}_ci"]
    return "–" if mean is None else f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _verdict(metrics: dict[str, Any]) -> str:
    if metrics["seen"] is None:
        return "Every category was withheld from training; there is no seen case and no control."
    controls = {name: one for name, one in metrics["controls"].items() if one is not None}
    best = max(controls, key=lambda name: controls[name]["pointing"])
    said = "lie above those of every control" if metrics["separate"] else "do not lie above those of every control"
    return (
        f"The peak of the map lies in a true box in <b>{metrics['seen']['pointing']:.1%}</b> of seen cases; "
        f"the best control, {escape(best)}, reaches {controls[best]['pointing']:.1%}. "
        f"The model's pointing and CNR intervals <b>{said}</b>."
    )


def _counts(metrics: dict[str, Any]) -> str:
    parts = [f"{metrics['cases']} cases", f"{metrics['images']} images", f"{metrics['patients']} patients"]
    parts += [f"{count} cases not scored ({escape(reason)})" for reason, count in metrics["lost"].items()]
    if metrics["withheld_categories"]:
        parts.append("withheld from training: " + escape(", ".join(metrics["withheld_categories"])))
    return " · ".join(parts)


def _table(metrics: dict[str, Any]) -> str:
    named = {"Model, seen": metrics["seen"], "Model, withheld": metrics["withheld"], **metrics["controls"]}
    there = {name: one for name, one in named.items() if one is not None}
    spans = {metric: _span(metric, list(there.values())) for metric, _ in COLUMNS}
    lines = []
    for name, one in there.items():
        kind = "model" if name.startswith("Model") else "control"
        cells = "".join(f"<td>{_cell(one, metric, spans[metric], kind)}</td>" for metric, _ in COLUMNS)
        lines.append(f'<tr class="{kind}"><th>{escape(name)}</th>{cells}</tr>')
    return "\n".join(lines)


def _span(metric: str, rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The axis of a column: 0 to 1 for pointing, else from 0 or the lowest to the highest end of any interval."""
    ends = [end for row in rows for end in row[f"{metric}_ci"] if end is not None]
    return (0.0, 1.0) if metric == "pointing" else (min([0.0, *ends]), max([0.1, *ends]))


def _cell(figures: dict[str, Any], metric: str, span: tuple[float, float], kind: str) -> str:
    mean, (low, high) = figures[metric], figures[f"{metric}_ci"]
    if mean is None:
        return "–"
    at = [4 + 112 * (value - span[0]) / (span[1] - span[0]) for value in (mean, low, high, 0.0)]
    drawing = (
        f'<svg class="{kind}" viewBox="0 0 120 12" role="img" aria-label="{low:.3f} to {high:.3f}">'
        f'<line class="zero" x1="{at[3]:.1f}" x2="{at[3]:.1f}" y1="0" y2="12"/>'
        f'<line x1="{at[1]:.1f}" x2="{at[2]:.1f}" y1="6" y2="6"/><circle cx="{at[0]:.1f}" cy="6" r="3.2"/></svg>'
    )
    return f'<b>{mean:.3f}</b> <span class="ci">{low:.3f} to {high:.3f}</span>{drawing}'


def _saliency(metrics: dict[str, Any]) -> str:
    best = metrics["saliency_best"]
    if best is None:
        return ""
    said = ", ".join(f"{escape(best[metric])} ({label})" for metric, label in COLUMNS)
    return f"<p>The best text-free saliency of each column: {said}.</p>"


def _sided(metrics: dict[str, Any]) -> str:
    sided, swapped = metrics["sided"], metrics["controls"].get("swapped sides")
    if not sided or not swapped:
        return ""
    return (
        f"<p>{sided['cases']} seen cases name a side. With their own sentence the peak lies in a box in "
        f"{figure(sided, 'pointing')} of them, with left and right exchanged in {figure(swapped, 'pointing')}.</p>"
    )


def _categories(metrics: dict[str, Any]) -> str:
    lines = []
    for part in ("seen", "withheld"):
        clean, paper = metrics["protocols"]["clean"][part], metrics["protocols"]["paper"][part]
        for name in clean["pointing"]["categories"] if clean else ():
            columns = [clean["pointing"], clean["average_precision"], paper["cnr"], paper["miou"], paper["dice"]]
            cells = "".join(f"<td>{figure(column['categories'][name], 'mean')}</td>" for column in columns)
            cases = clean["pointing"]["categories"][name]["cases"]
            lines.append(f"<tr><th>{escape(name)}</th><td>{part}</td><td>{cases}</td>{cells}</tr>")
    return "\n".join(lines)


def _prompts(metrics: dict[str, Any]) -> str:
    prompts = metrics["protocols"]["clean"]["prompts"]
    lines = []
    for template, one in (prompts["wordings"] if prompts else {}).items():
        cells = "".join(f"<td>{one[metric]:.3f}</td>" for metric in ("pointing", "average_precision", "iou"))
        lines.append(f"<tr><th>{escape(template.format('…'))}</th>{cells}</tr>")
    return "\n".join(lines)


def _pictures(measured: Scores, numbers: Sequence[int]) -> str:
    lines = []
    for n in numbers:
        case, kind = measured.cases[n], measured.kinds[MODEL]
        precision = kind.values["average_precision"][n]
        lines.append(
            f'<figure><img src="{_data_uri(measured, n)}" alt="{escape(case.phrase, quote=True)}"><figcaption>'
            f"<q>{escape(case.phrase)}</q><span>{escape(case.category)} · average precision {precision:.2f}</span>"
            "</figcaption></figure>"
        )
    return "\n".join(lines)


def _data_uri(measured: Scores, n: int) -> str:
    case, grid_HW, frame = measured.cases[n], measured.kinds[MODEL].clean_NHW[n], measured.frames[n]
    picture = read_picture(case)
    assert picture is not None, "a measured picture was readable"
    truth = [(float(x), float(y), float(w), float(h)) for x, y, w, h in case.boxes_xywh_N4]
    peak = heatmap.peak(grid_HW.astype(float), frame)
    image = overlay.draw(picture, grid_HW.astype(float), frame, truth=truth, peak=peak, long_side=PICTURE_SIDE)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode()
