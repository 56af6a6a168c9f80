"""The figures are those of the samples, and the page shows them without a word from outside."""

from __future__ import annotations

import html
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sharding import manifest, members
from sharding.describe import census, inspection
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import cloudy, data_set, rewrite

EVIL = 'Nodule <script>alert("1 < 2 & 3")</script> seen.'


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    samples = [(f"p{n % 3}", cloudy(n, 60, 50 + n), f"No edema. Nodule of {n} cm.") for n in range(5)]
    samples += [("p3", cloudy(9, 40, 40), EVIL), ("p4", cloudy(8, 40, 40), ""), ("p5", b"<html>", "Edema.")]
    return data_set(tmp_path_factory.mktemp("built"), samples)


@pytest.fixture(scope="module")
def found(built):
    return inspection.summary(str(built))


@pytest.fixture(scope="module")
def rows(built):
    return manifest.read(str(built)).table.to_pylist()


def test_the_figures_are_those_of_the_rows(found, rows):
    assert (found["samples"], found["patients"], found["shards"]) == (7, 5, 2)
    assert found["views"] == {"unknown": 7}
    assert {name: both["samples"] for name, both in found["splits"].items()} == Counter(row["split"] for row in rows)
    for name, both in found["splits"].items():
        assert both["patients"] == len({row["patient"] for row in rows if row["split"] == name})
    histogram = Counter(str(row["sentence_count"]) for row in rows)
    assert found["sentences"]["histogram"] == histogram
    assert found["sentences"]["total"] == sum(row["sentence_count"] for row in rows)
    assert found["sentences"]["distinct"] == len({text for row in rows for text in row["text_hashes"]})
    assert (found["sentences"]["without"], found["sentences"]["most"]) == (1, 2)
    assert found["image_sizes"] == Counter(f"{row['width']}x{row['height']}" for row in rows)
    assert found["rejected"] == {"parse": 1}
    json.dumps(found)


def test_the_most_repeated_sentence_comes_first_in_its_words(found):
    assert found["most_repeated"][0] == {"count": 5, "text": "No edema."}
    assert {item["count"] for item in found["most_repeated"][1:]} == {1}


def test_tags_and_pixels_are_those_of_the_descriptions(found, built):
    assert found["looked_at"]["samples"] == 7
    assert found["looked_at"]["tags"]["negated"] == 5
    assert found["looked_at"]["pixels"]["codec"] == {"PNG": 7}
    assert sum(found["looked_at"]["sections"].values()) == found["looked_at"]["sentences"]


def test_the_quarantine_is_counted_by_stage_and_reason(found):
    assert [(item["reason"], item["count"]) for item in found["quarantine"]["reasons"]] == [("parse", 1)]
    assert sum(found["quarantine"]["messages"].values()) == 1


def test_leaks_that_the_manifest_shows_are_counted(found):
    assert set(found["leaks"].values()) == {0}


def test_the_lines_name_the_figures(found):
    text = "\n".join(inspection.lines(found))
    for part in ("samples 7", "patients 5", "rejected: parse 1", "negated 5", "1: 1, 2: 5", "No edema.", "PNG 7"):
        assert part in text


class Reader(HTMLParser):
    """What a browser makes of the page: tags, attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = Counter(), [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def reader(built):
    return Reader(inspection.page(str(built)))


def test_the_page_is_whole_and_shows_every_sample(reader, rows):
    assert reader.open == []
    assert reader.tags["img"] == reader.tags["figure"] == len(rows)
    for row in rows:
        assert row["key"] in reader.text


def test_the_page_needs_nothing_but_itself(reader):
    sources = [value for _, name, value in reader.attributes if name in ("src", "href", "srcset", "action", "style")]
    assert all(re.match(r"data:image/jpeg;base64,|width:\d", value) for value in sources)
    assert not {"script", "link", "iframe", "object", "form"} & set(reader.tags)
    assert "@import" not in reader.text
    assert "url(" not in reader.text


def test_texts_are_shown_as_they_are_and_never_run(reader, built):
    assert EVIL in reader.text
    assert html.escape(EVIL) in inspection.page(str(built))


def test_the_page_can_be_read_without_seeing_it(reader):
    assert ("html", "lang", "en") in reader.attributes
    texts = [value for tag, name, value in reader.attributes if (tag, name) == ("img", "alt")]
    assert len(texts) == reader.tags["img"]
    assert all("pixels" in text for text in texts)
    assert reader.tags["table"] == reader.tags["caption"]
    assert reader.tags["main"] == reader.tags["h1"] == 1


def test_thumbnails_are_small_pictures_of_the_samples(reader, built, rows):
    import base64

    images = [value.partition(",")[2] for tag, name, value in reader.attributes if (tag, name) == ("img", "src")]
    for text, row in zip(images, rows, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            assert image.size == (row["width"], row["height"])
            shown_HW = np.asarray(image).astype(float)
        stored_HW = members.grey(open_store(built), row, 1000)
        assert abs(shown_HW - stored_HW).mean() < 8


def test_a_member_that_cannot_be_read_leaves_a_gap_and_a_word(built, rows, tmp_path):
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = bytearray((tmp_path / "shard-000000.tar").read_bytes())
    shard[512:] = bytes(len(shard) - 512)
    (tmp_path / "shard-000000.tar").write_bytes(shard)
    text = inspection.page(str(tmp_path))
    assert text.count("cannot be read") >= 4
    assert Reader(text).tags["img"] == sum(row["shard"] != "shard-000000.tar" for row in rows)


def test_an_empty_data_set_has_a_page(built, tmp_path):
    found = manifest.read(str(built))
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rewrite(tmp_path, found.table.slice(0, 0), found.metadata)
    assert inspection.lines(inspection.summary(str(tmp_path)))[0] == "samples 0, studies 0, patients 0"
    assert Reader(inspection.page(str(tmp_path))).tags["figure"] == 0


def test_without_a_quarantine_the_page_says_so(built, tmp_path):
    for path in built.iterdir():
        if path.name != "quarantine.parquet":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert not inspection.summary(str(tmp_path))["quarantine"]["readable"]
    assert "It cannot be read" in inspection.page(str(tmp_path))


def test_pictures_stored_as_png_are_shown(tmp_path):
    out = data_set(tmp_path, [("p", cloudy(1, 700, 500), "Edema.")], image="png")
    row = manifest.read(str(out)).table.to_pylist()[0]
    assert row["image_member"] == "png"
    assert members.grey(open_store(out), row, 320).shape == (700, 500)
    assert Reader(inspection.page(str(out))).tags["img"] == 1


def test_many_samples_cost_no_more_reads(built, monkeypatch, tmp_path):
    """20,000 rows of the same five samples: figures from the manifest, and a bounded number of range reads."""
    found = manifest.read(str(built))
    table = found.table.take(pa.array(np.arange(20_000) % 5))
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rewrite(tmp_path, table, found.metadata)
    reads = []
    store = open_store(tmp_path)
    fetch = store.get_range
    monkeypatch.setattr(store, "get_range", lambda *place: reads.append(place) or fetch(*place))
    counted = census.of(store, manifest.read_from(store))
    assert counted["samples"] == 20_000
    assert (
        counted["most_repeated"][0]["count"]
        == Counter(t for h in table["text_hashes"].to_pylist() for t in h).most_common(1)[0][1]
    )
    assert len(reads) <= census.LOOKED_AT + census.REPEATED


def test_a_quarantine_of_another_kind_is_not_readable(built, tmp_path):
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "quarantine.parquet").unlink()
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "quarantine.parquet")
    assert not inspection.summary(str(tmp_path))["quarantine"]["readable"]
