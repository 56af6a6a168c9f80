"""The figures of a data set and some of its samples → one HTML page that needs nothing but itself.

In: what `census` counted, and figures with thumbnails. Out: the page's text. No script, no outside reference; light or
dark as the reader's system has it; every chart is a table, so that a screen reader can read it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharding.describe.page_style import STYLE

MOST_BARS = 16
MOST_SENTENCES = 6
FOLDED = 20  # a report with more sentences is counted with those

ORIGINS = {
    "codec": "Codec",
    "photometric": "Colour model",
    "bits": "Bits stored",
    "voi_source": "Grey range from",
    "inverted": "Inverted for display",
}

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Figure:
    """One sample to show: its row, its sentences, and a JPEG (None: cannot be read)."""

    row: Mapping[str, Any]
    sentences: Sequence[Mapping[str, Any]]
    jpeg: bytes | None = field(repr=False)


def render(found: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """The page; every text of the data set is escaped."""
    source = _text(found["settings"].get("source", "X-rays"))
    parts = (_header(found, source), "<main>", _people(found), _words(found), _pixels(found), _rejected(found))
    gallery = _gallery(list(figures), found["samples"])
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{source}: data set</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(parts)}{gallery}</main>{_footer(found)}</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _header(found: Mapping[str, Any], source: str) -> str:
    each = f"{found['samples'] / found['patients']:.1f} a patient" if found["patients"] else ""
    tiles = [
        ("images", f"{found['samples']:,}", each),
        ("patients", f"{found['patients']:,}", ""),
        ("studies", f"{found['studies']:,}", ""),
        ("sentences", f"{found['sentences']['total']:,}", f"{found['sentences']['distinct']:,} distinct"),
        ("rejected", f"{sum(found['rejected'].values()):,}", ""),
        ("shards", f"{found['shards']:,}", _size(found["bytes"])),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value} <small>{note}</small></dd></div>" for name, value, note in tiles)
    verdicts = "".join(
        f'<li class="{"bad" if count else "good"}">{count or "no"} {_text(what)}</li>'
        for what, count in found["leaks"].items()
    )
    return (
        f'<header><h1>{source}</h1><p class="soft">What the data set holds. Its fingerprint is '
        f'<code>{_text(found["fingerprint"])[:16]}</code>.</p><dl class="tiles">{listed}</dl>'
        f'<ul class="verdicts" aria-label="Leaks between splits">{verdicts}</ul><p class="soft note">As far as the '
        "manifest shows; <code>verify</code> also looks for images that are nearly equal.</p></header>"
    )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _people(found: Mapping[str, Any]) -> str:
    splits = found["splits"]
    cards = [
        _bars("Images by split", {name: both["samples"] for name, both in splits.items()}),
        _bars("Patients by split", {name: both["patients"] for name, both in splits.items()}),
        _bars("Views", found["views"]),
    ]
    return _section("Images and patients", "", cards)


def _words(found: Mapping[str, Any]) -> str:
    said, seen = found["sentences"], found["looked_at"]
    note = f"in {seen['sentences']:,} sentences of {seen['samples']:,} samples looked at"
    cards = [
        _bars("Sentences a report", _folded(said["histogram"]), f"median {said['median']:g}, most {said['most']:,}"),
        _bars("Tags", seen["tags"], note, seen["sentences"]),
        _bars("Sections", seen["sections"], note),
    ]
    without = f"{said['without']:,} images have none and are never trained on." if said["without"] else ""
    return _section("Sentences", without, cards) + _listed("Said most often", "sentence", found["most_repeated"])


def _folded(histogram: Counts) -> dict[str, int]:
    few = {number: count for number, count in histogram.items() if int(number) <= FOLDED}
    rest = sum(histogram.values()) - sum(few.values())
    return few | ({f"over {FOLDED}": rest} if rest else {})


def _listed(title: str, what: str, items: list[dict[str, Any]]) -> str:
    """A table of texts with how often each stands."""
    if not items:
        return ""
    rows = "".join(
        f'<tr><td class="number">{item["count"]:,}</td><td>{_text(item["text"])}</td></tr>' for item in items
    )
    return (
        f'<div class="card"><table class="words"><caption>{title}</caption><thead><tr><th scope="col" class="number">'
        f'times</th><th scope="col">{what}</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _pixels(found: Mapping[str, Any]) -> str:
    seen = found["looked_at"]
    note = f"of {seen['samples']:,} samples looked at"
    cards = [_bars("Sizes stored", found["image_sizes"], "width x height")]
    cards += [_bars(ORIGINS.get(name, name), counts, note) for name, counts in seen["pixels"].items()]
    return _section("Pixels", "", cards)


def _rejected(found: Mapping[str, Any]) -> str:
    quarantine = found["quarantine"]
    if not quarantine["readable"]:
        return _section("Quarantine", "It cannot be read; build or copy the data set again.", [])
    if not quarantine["reasons"]:
        return _section("Quarantine", "Nothing was rejected.", [])
    reasons = {f"{item['reason']} (by {item['stage']})": item["count"] for item in quarantine["reasons"]}
    messages = [{"count": count, "text": text} for text, count in quarantine["messages"].items()]
    return _section("Quarantine", "", [_bars("Reasons", reasons)]) + _listed("In words", "message", messages)


def _section(title: str, note: str, cards: list[str]) -> str:
    said = f'<p class="soft">{note}</p>' if note else ""
    return f'<section><h2>{title}</h2>{said}<div class="cards">{"".join(cards)}</div></section>'


def _bars(title: str, counts: Counts, note: str = "", whole: int = 0) -> str:
    """A table of counts with a bar and a share each; `whole` is what 100% stands for where values overlap."""
    if not counts:
        return ""
    whole, longest = whole or sum(counts.values()), max(counts.values())
    shown = dict(list(counts.items())[:MOST_BARS]) if len(counts) > FOLDED + 2 else counts
    rows = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td class="bar" aria-hidden="true">'
        f'<span style="width:{100 * count / longest:.1f}%"></span></td><td class="number">{count:,}</td>'
        f'<td class="number share">{_share(count, whole)}</td></tr>'
        for name, count in shown.items()
    )
    rest = f'<p class="soft">and {len(counts) - len(shown)} more</p>' if len(counts) > len(shown) else ""
    return (
        f'<div class="card"><table><caption>{title} <span>{_text(note)}</span></caption>'
        f"<tbody>{rows}</tbody></table>{rest}</div>"
    )


def _share(count: int, whole: int) -> str:
    share = 100 * count / whole
    return f"{share:.0f}%" if share >= 10 or count == 0 else f"{share:.1f}%"


def _gallery(figures: list[Figure], samples: int) -> str:
    note = f"{len(figures):,} of {samples:,}, spread evenly." if figures else "There is none."
    cards = "".join(map(_figure, figures))
    return f'<section><h2>Samples</h2><p class="soft">{note}</p><div class="gallery">{cards}</div></section>'


def _figure(figure: Figure) -> str:
    row = figure.row
    view = row["view"] or "view unknown"
    picture = '<div class="none">cannot be read</div>'
    if figure.jpeg is not None:
        coded = base64.b64encode(figure.jpeg).decode()
        words = f"Chest X-ray, {_text(view)}, {row['width']} by {row['height']} pixels"
        picture = f'<img alt="{words}" loading="lazy" src="data:image/jpeg;base64,{coded}">'
    badges = f'<span class="split">{_text(row["split"])}</span><span>{_text(view)}</span>'
    return (
        f'<figure>{picture}<figcaption><div class="badges">{badges}<span>{row["width"]} x {row["height"]}</span></div>'
        f"{_said(figure.sentences)}<code>{_text(row['key'])}</code></figcaption></figure>"
    )


def _said(sentences: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"<li>{_text(sentence.get('text', ''))} <em>{_text(' '.join(map(str, sentence.get('tags') or [])))}</em></li>"
        for sentence in sentences
    ]
    if not lines:
        return '<p class="soft">No sentence.</p>'
    first, rest = lines[:MOST_SENTENCES], lines[MOST_SENTENCES:]
    more = f"<details><summary>{len(rest)} more</summary><ul>{''.join(rest)}</ul></details>" if rest else ""
    return f"<ul>{''.join(first)}</ul>{more}"


def _footer(found: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{_text(name)} {_text(value)}" for name, value in found["settings"].items())
    return f'<footer class="soft"><p>Built with: {settings}.</p></footer>'
