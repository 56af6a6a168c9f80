"""The page shows the numbers of the manifest, escapes every text, and needs nothing but itself."""

from __future__ import annotations

import base64
import copy
import io
import re
import subprocess
import sys
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sharding import manifest, sample_reader
from sharding.describe import inspection, page
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import cloudy, data_set

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = """<script>alert("1 < 2 & 3")</script><img src=x onerror='alert(1)'>"> {{ 7 * 7 }} {% raw %}"""
# Tags of HTML are taken out of a report; these are none that a report is written in.
HOSTILE_REPORT = """<svg onload='alert("1 < 2 & 3")'>"> {{ 7 * 7 }} {% raw %}"""
VOID = {"meta", "img"}
CONTRAST = 4.5  # WCAG 2.1, 1.4.3: normal text


class Parsed(HTMLParser):
    """What a browser makes of the page: tags and attributes, all text, and the rows of each table by its title."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = Counter(), [], "", []
        self.tables, self.tiles, self._cells = {}, {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self._cells = []
        if tag in ("caption", "th", "td", "dt", "dd", "small"):
            self._cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption":
            self.title = self._cells.pop().strip()
            self.tables[self.title] = []
        elif tag == "tr":
            self.tables[self.title].append(self._cells)
        elif tag == "dd":
            name, value, _ = (cell.strip() for cell in self._cells[-3:])
            self.tiles[name] = value

    def handle_data(self, data):
        self.text += data
        if self._cells and self.open[-1] in ("caption", "th", "td", "dt", "dd", "small"):
            self._cells[-1] += data

    def chart(self, title):
        """The bars of a chart: name → count as printed."""
        return {name: count for name, _, count, _ in self.tables[title]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    samples = [(f"p{n % 3}", cloudy(n, 60, 50 + n), f"No edema. Nodule of {n} cm.") for n in range(5)]
    samples += [("p3", cloudy(9, 40, 40), f"Nodule {HOSTILE_REPORT}."), ("p4", cloudy(8, 40, 40), "")]
    samples += [("p5", b"<html>", "x.")]
    return data_set(tmp_path_factory.mktemp("built"), samples)


@pytest.fixture(scope="module")
def rows(built):
    return manifest.read(str(built)).table.to_pylist()


@pytest.fixture(scope="module")
def parsed(built):
    return Parsed(inspection.page(str(built)))


def test_the_numbers_are_those_of_the_manifest(parsed, rows):
    assert parsed.tiles == {
        "images": str(len(rows)),
        "patients": str(len({row["patient"] for row in rows})),
        "studies": str(len({row["study"] for row in rows})),
        "sentences": str(sum(row["sentence_count"] for row in rows)),
        "rejected": "1",
        "shards": "2",
    }
    splits = {split: {row["patient"] for row in rows if row["split"] == split} for split in {r["split"] for r in rows}}
    assert parsed.chart("Images by split") == count_texts(row["split"] for row in rows)
    assert parsed.chart("Patients by split") == {split: str(len(patients)) for split, patients in splits.items()}
    assert parsed.chart("Sentences per report") == count_texts(str(row["sentence_count"]) for row in rows)
    assert parsed.chart("Stored sizes") == count_texts(f"{row['width']}x{row['height']}" for row in rows)
    assert parsed.chart("Reasons") == {"parse (by header)": "1"}
    assert parsed.tables["Most frequent sentences"][1] == ["5", "No edema."]


def count_texts(values):
    return {name: str(count) for name, count in Counter(values).items()}


def test_bars_have_the_length_and_the_share_of_their_count():
    counts = {"a": 30, "b": 9, "c": 0, "d": 1}
    text = render(views=counts)
    shares = {name: share for name, _, _, share in Parsed(text).tables["Views"]}
    assert shares == {"a": "75%", "b": "22%", "c": "0%", "d": "2.5%"}
    chart = text[text.index("Views") : text.index("Views") + 1500]
    assert re.findall(r"width:([\d.]+)%", chart) == ["100.0", "30.0", "0.0", "3.3"]


def test_long_lists_are_cut_and_counted():
    sizes = {f"{number}x{number}": 100 - number for number in range(60)}
    parsed = Parsed(render(image_sizes=sizes, histogram={"1": 5, "20": 2, "21": 3, "90": 4}))
    shown = parsed.chart("Stored sizes")
    assert list(shown) == list(sizes)[: len(shown)]
    assert 0 < len(shown) < len(sizes)
    assert f"and {len(sizes) - len(shown)} more" in parsed.text
    assert parsed.chart("Sentences per report") == {"1": "5", "20": "2", "over 20": "7"}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (23_700_000, "23.7 MB"), (4.7e12, "4.7 TB")]
)
def test_sizes_have_a_unit(count, text):
    assert f"<small>{text}</small>" in render(bytes=count)


EMPTY = {
    **{"samples": 0, "patients": 0, "studies": 0, "shards": 0, "bytes": 0, "splits": {}, "views": {}, "rejected": {}},
    **{"left_out": {}, "notes": {}},
    "sentences": {"total": 0, "distinct": 0, "median": 0, "max": 0, "without": 0, "histogram": {}},
    "sampled": {"samples": 0, "sentences": 0, "tags": {}, "sections": {}, "pixels": {}},
    "quarantine": {"readable": True, "reasons": [], "messages": {}},
    **{"image_sizes": {}, "most_repeated": [], "leaks": {}, "noticed": {}, "settings": {}, "fingerprint": "0" * 64},
}


def render(gallery=(), histogram=None, **changes):
    """The page of an empty data set with these statistics changed."""
    data = copy.deepcopy(EMPTY) | changes
    data["sentences"]["histogram"] = histogram or {}
    return page.render(data, gallery)


def test_every_text_of_the_data_set_is_escaped(tmp_path):
    """A hostile text in each place: the tags of the page stay the same, and the text is shown as it is."""

    def filled(text):
        sampled = {"samples": 1, "sentences": 1, "tags": {text: 1}, "sections": {text: 1}, "pixels": {text: {text: 1}}}
        reasons = [{"stage": text, "reason": text, "count": 1}]
        row = {"key": text, "view": text, "split": text, "width": 1, "height": 1}
        return render(
            [page.GallerySample(row, [{"text": text, "tags": [text]}] * 9, b"jpeg")],
            splits={text: {"samples": 1, "patients": 1}},
            views={text: 1},
            image_sizes={text: 1},
            most_repeated=[{"text": text, "count": 1}],
            sampled=sampled,
            quarantine={"readable": True, "reasons": reasons, "messages": {text: 1}},
            leaks={text: 1},
            settings={text: text, "source": text},
            fingerprint=text[:16],
        )

    plain, hostile = Parsed(filled("x")), Parsed(filled(HOSTILE))
    assert hostile.tags == plain.tags
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    assert hostile.text.count(HOSTILE) >= 25
    alt = next(value for tag, name, value in hostile.attributes if (tag, name) == ("img", "alt"))
    assert alt == f"Chest X-ray, {HOSTILE}, 1 by 1 pixels"


def test_a_hostile_report_is_shown_as_it_is(parsed):
    assert HOSTILE_REPORT in parsed.text
    assert "script" not in parsed.tags


def test_the_page_needs_nothing_but_itself(parsed):
    sources = [v for _, name, v in parsed.attributes if name in ("src", "href", "srcset", "action", "style", "data")]
    assert all(re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+|width:[\d.]+%", value) for value in sources)
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(parsed.tags)
    style = (ROOT / "sharding" / "describe" / "templates" / "page.css").read_text(encoding="utf-8")
    assert style in parsed.text
    assert not re.search(r"@import|url\(|https?:|//", style)


def test_text_is_readable_in_light_and_dark():
    """Both colour schemes define the same colours, and each text colour has contrast to its background."""
    style = (ROOT / "sharding" / "describe" / "templates" / "page.css").read_text(encoding="utf-8")
    roots = [dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", body)) for body in re.findall(r":root\{([^}]*)\}", style)]
    assert "prefers-color-scheme:dark" in style
    light, dark = roots
    assert light.keys() == dark.keys()
    pairs = [("ink", "ground"), ("ink", "card"), ("soft", "ground"), ("soft", "card"), ("accent", "card")]
    for colours in roots:
        for text, ground in [*pairs, ("bad", "bad-ground"), ("good", "good-ground")]:
            assert contrast(colours[text], colours[ground]) >= CONTRAST, (text, ground)


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_is_well_formed_and_accessible(parsed, rows):
    assert parsed.open == []
    assert ("html", "lang", "en") in parsed.attributes
    assert parsed.tags["main"] == parsed.tags["h1"] == 1
    assert parsed.tags["table"] == parsed.tags["caption"]
    assert parsed.tags["img"] == parsed.tags["figure"] == len(rows)
    texts = [value for tag, name, value in parsed.attributes if (tag, name) == ("img", "alt")]
    assert texts == [f"Chest X-ray, view unknown, {row['width']} by {row['height']} pixels" for row in rows]


@pytest.mark.parametrize("image", ["jpg", "png"])
def test_thumbnails_are_small_pictures_of_the_samples(tmp_path, image):
    out = data_set(tmp_path, [("p", cloudy(1, 700, 500), "Edema."), ("p", cloudy(2, 70, 50), "Edema.")], image=image)
    parsed, rows = Parsed(inspection.page(str(out))), manifest.read(str(out)).table.to_pylist()
    images = [value.partition(",")[2] for tag, name, value in parsed.attributes if (tag, name) == ("img", "src")]
    for text, row in zip(images, rows, strict=True):
        thumbnail = Image.open(io.BytesIO(base64.b64decode(text)))
        assert max(thumbnail.size) == min(max(row["width"], row["height"]), inspection.THUMBNAIL)
        stored = Image.fromarray(sample_reader.grey(open_store(out), row, 1000)).resize(thumbnail.size)
        assert abs(np.asarray(thumbnail).astype(float) - np.asarray(stored)).mean() < 8


def test_an_unreadable_member_leaves_a_placeholder(built, rows, tmp_path):
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = bytearray((tmp_path / "shard-000000.tar").read_bytes())
    shard[512:] = bytes(len(shard) - 512)
    (tmp_path / "shard-000000.tar").write_bytes(shard)
    lost = sum(row["shard"] == "shard-000000.tar" for row in rows)
    parsed = Parsed(inspection.page(str(tmp_path)))
    assert parsed.tags["img"] == len(rows) - lost
    assert lost > 0
    assert parsed.text.count("No sentence.") >= lost


def test_an_installed_package_holds_its_templates(tmp_path):
    """A real build of the package, by its own list of packages and package data."""
    code = "from setuptools import setup; setup()"
    steps = [
        "egg_info",
        "--egg-base",
        tmp_path,
        "build",
        "--build-base",
        tmp_path / "b",
        "--build-lib",
        tmp_path / "lib",
    ]
    subprocess.run([sys.executable, "-c", code, *map(str, steps)], cwd=ROOT, check=True, capture_output=True)
    for room in ("sharding", "sentalign"):
        templates = {path.relative_to(ROOT) for path in (ROOT / room).rglob("templates/*")}
        assert templates <= {path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*")}
    show = "import pathlib, sharding.describe.page as p; print(p.__file__); p.page_templates.load('sharding.describe')"
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=tmp_path / "lib", env={"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path))
    assert any(
        line.startswith("jinja2")
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    )
