"""The statistics are those of the samples, and cost a bounded number of reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharding import manifest
from sharding.describe import inspection, statistics
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import cloudy, data_set, rewrite


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    samples = [(f"p{n % 3}", cloudy(n, 60, 50 + n), f"No edema. Nodule of {n} cm.") for n in range(5)]
    samples += [("p3", cloudy(9, 40, 40), "Nodule seen."), ("p4", cloudy(8, 40, 40), ""), ("p5", b"<html>", "Edema.")]
    return data_set(tmp_path_factory.mktemp("built"), samples)


@pytest.fixture(scope="module")
def summary(built):
    return inspection.summary(str(built))


@pytest.fixture(scope="module")
def rows(built):
    return manifest.read(str(built)).table.to_pylist()


def test_statistics_are_those_of_the_rows(summary, rows):
    assert (summary["samples"], summary["patients"], summary["shards"]) == (7, 5, 2)
    assert summary["views"] == {"unknown": 7}
    assert {name: both["samples"] for name, both in summary["splits"].items()} == Counter(row["split"] for row in rows)
    for name, both in summary["splits"].items():
        assert both["patients"] == len({row["patient"] for row in rows if row["split"] == name})
    histogram = Counter(str(row["sentence_count"]) for row in rows)
    assert summary["sentences"]["histogram"] == histogram
    assert summary["sentences"]["total"] == sum(row["sentence_count"] for row in rows)
    assert summary["sentences"]["distinct"] == len({text for row in rows for text in row["text_hashes"]})
    assert (summary["sentences"]["without"], summary["sentences"]["max"]) == (1, 2)
    assert summary["image_sizes"] == Counter(f"{row['width']}x{row['height']}" for row in rows)
    assert summary["rejected"] == {"parse": 1}
    json.dumps(summary)


@pytest.mark.parametrize(
    "value", [None, [1], {"x": "1"}, {"x": True}, {"x": -1}, {"\x1b[2J": 1}, {"\ud800": 1}, "absent"]
)
@pytest.mark.parametrize("name", ["left_out", "notes", "noticed"])
def test_counts_that_no_build_writes_are_not_shown(built, name, value):
    stored = manifest.read(str(built))
    whole = {"left_out": {"kept": 3}, "notes": {"kept": 3}, "noticed": {"kept": 3}, "rejected": {"parse": 1}}
    counts = {key: own for key, own in (whole | {name: value}).items() if own != "absent"}
    told = statistics.compute(open_store(built), replace(stored, metadata={**stored.metadata, "counts": counts}))
    assert {key: told[key] for key in whole} == whole | {name: {}}


def test_the_most_frequent_sentence_comes_first_with_its_text(summary):
    assert summary["most_repeated"][0] == {"count": 5, "text": "No edema."}
    assert {item["count"] for item in summary["most_repeated"][1:]} == {1}


def test_tags_and_pixels_are_those_of_the_descriptions(summary, built):
    assert summary["sampled"]["samples"] == 7
    assert summary["sampled"]["tags"]["negated"] == 5
    assert summary["sampled"]["pixels"]["codec"] == {"PNG": 7}
    assert sum(summary["sampled"]["sections"].values()) == summary["sampled"]["sentences"]


def test_the_quarantine_is_counted_by_stage_and_reason(summary):
    assert [(item["reason"], item["count"]) for item in summary["quarantine"]["reasons"]] == [("parse", 1)]
    assert sum(summary["quarantine"]["messages"].values()) == 1


def test_leaks_that_the_manifest_shows_are_counted(summary):
    assert set(summary["leaks"].values()) == {0}


def test_the_lines_hold_the_statistics(summary):
    text = "\n".join(inspection.lines(summary))
    for part in ("samples 7", "patients 5", "rejected: parse 1", "negated 5", "1: 1, 2: 5", "No edema.", "PNG 7"):
        assert part in text


def test_an_empty_data_set_has_a_page(built, tmp_path):
    stored = manifest.read(str(built))
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rewrite(tmp_path, stored.table.slice(0, 0), stored.metadata)
    assert inspection.lines(inspection.summary(str(tmp_path)))[0] == "samples 0, studies 0, patients 0"
    assert "<figure" not in inspection.page(str(tmp_path))


def test_the_page_of_a_data_set_without_quarantine(built, tmp_path):
    for path in built.iterdir():
        if path.name != "quarantine.parquet":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert not inspection.summary(str(tmp_path))["quarantine"]["readable"]
    assert "It cannot be read" in inspection.page(str(tmp_path))


def test_many_samples_cost_no_more_reads(built, monkeypatch, tmp_path):
    """20,000 rows of the same five samples: counts come from the manifest, and the number of range reads is bounded."""
    stored = manifest.read(str(built))
    table = stored.table.take(pa.array(np.arange(20_000) % 5))
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rewrite(tmp_path, table, stored.metadata)
    reads = []
    store = open_store(tmp_path)
    fetch = store.get_range
    monkeypatch.setattr(store, "get_range", lambda *place: reads.append(place) or fetch(*place))
    summary = statistics.compute(store, manifest.read_from(store))
    assert summary["samples"] == 20_000
    assert (
        summary["most_repeated"][0]["count"]
        == Counter(t for h in table["text_hashes"].to_pylist() for t in h).most_common(1)[0][1]
    )
    assert len(reads) <= statistics.SAMPLED + statistics.REPEATED


@pytest.mark.parametrize("sentences", [5, {"text": "Edema."}, ["Edema.", {"text": "Edema.", "tags": 5}]])
def test_malformed_sentences_are_left_out(sentences):
    assert statistics.sentences_of({"sentences": sentences}) == []


def test_a_quarantine_of_another_kind_is_not_readable(built, tmp_path):
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "quarantine.parquet").unlink()
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "quarantine.parquet")
    assert not inspection.summary(str(tmp_path))["quarantine"]["readable"]
