"""The record of evaluations: which one an evaluation is, and what has changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.results import ledger
from sentalign.evaluate.scoring.target import Boxes, PixelMask
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate


def test_the_checksums_are_those_of_what_is_measured(drawn):
    cases = ms_cxr.read(drawn)

    def checksums(changed):
        entry = ledger.manifest("MS-CXR", changed, "a", {})
        return entry["images"], entry["sentences"]

    images, sentences = checksums(cases)
    assert checksums(cases[::-1]) == (images, sentences)
    assert checksums([replace(cases[0], image=None), *cases[1:]]) == (images, sentences), "where the files lie"
    for target in (Boxes(cases[0].boxes + 1), PixelMask.of(np.ones((9, 9), bool))):
        found = checksums([replace(cases[0], target=target), *cases[1:]])
        assert (found[0] != images, found[1]) == (True, sentences)
    for changed in ({"phrase": "Another."}, {"category": "Another"}):
        found = checksums([replace(cases[0], **changed), *cases[1:]])
        assert (found[0], found[1] != sentences) == (images, True), "another try at the same images"
    assert checksums(cases[1:])[0] != images


def test_numbers_and_changes(tmp_path, drawn):
    file, cases = tmp_path / "once.jsonl", ms_cxr.read(drawn)
    entries = [ledger.manifest("MS-CXR", cases, run, {"map": kind}) for run, kind in
               (("a", "plain"), ("a", "both"), ("b", "plain"), ("a", "both"), ("a", "plain"))]  # fmt: skip
    records = [ledger.enter(file, entry) for entry in entries]
    assert [one["number"] for one in records] == [1, 2, 3, 2, 1]
    assert [one["changed"] for one in records] == [[], ["map"], ["run"], ["map"], []]
    assert len(file.read_text().splitlines()) == 3
    other = ledger.enter(file, ledger.manifest("MS-CXR", cases[1:], "a", {"map": "both"}))
    assert other["number"] == 1, "other images"
    reworded = [replace(case, phrase="Findings.") for case in cases]
    renamed = ledger.enter(file, ledger.manifest("a.csv", reworded, "a", {"map": "plain"}))
    assert (renamed["number"], renamed["changed"]) == (4, ["set", "sentences"])
    assert ledger.line(records[0]).startswith("the first evaluation")
    assert ledger.line(records[2]) == "evaluation number 3 of these images; changed since the first: run"


@pytest.mark.parametrize("content", ["{", "[]\n", '{"set": 1}\n', "3\n", "[" * 100_000])
def test_other_files_are_refused(tmp_path, drawn, content):
    (tmp_path / "once.jsonl").write_text(content)
    with pytest.raises(UserError, match="is no record of evaluations"):
        ledger.enter(tmp_path / "once.jsonl", ledger.manifest("MS-CXR", ms_cxr.read(drawn), "a", {}))
    assert (tmp_path / "once.jsonl").read_text() == content


def test_the_command_says_that_it_is_the_second(marked, run_folder, tmp_path, capsys):
    words = ("--data", marked, "--run", run_folder, "--replicates", 20, "--once", tmp_path / "once.jsonl")
    evaluate("ms-cxr", *words, "--out", tmp_path / "a")
    assert "the first evaluation of these images" in capsys.readouterr().out
    evaluate("ms-cxr", *words, "--out", tmp_path / "b", "--map", "plain", "--withheld", "cavity")
    assert "evaluation number 2 of these images; changed since the first: maps, withheld" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert (metrics["once"]["number"], metrics["once"]["changed"]) == (2, ["maps", "withheld"])
    assert "evaluation number 2" in (tmp_path / "b" / "index.html").read_text()
    with pytest.raises(UserError, match="--once: cannot"):
        evaluate("ms-cxr", *words[:-1], tmp_path, "--out", tmp_path / "c")


def test_a_record_without_its_last_line_end_goes_on(tmp_path, drawn):
    file, cases = tmp_path / "once.jsonl", ms_cxr.read(drawn)
    ledger.enter(file, ledger.manifest("a\u2028b.csv", cases, "a", {"map": "plain"}))
    file.write_text(file.read_text().rstrip("\n"))
    for number, run in ((2, "b"), (3, "c")):
        assert ledger.enter(file, ledger.manifest("a\u2028b.csv", cases, run, {"map": "plain"}))["number"] == number
    assert len(file.read_text().strip().split("\n")) == 3
