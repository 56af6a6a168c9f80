"""Quarantine ids and pseudonyms lead back to their files, and every look-up is logged in the private folder."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime

import pyarrow.parquet as pq
import pytest

from sharding.cli import main

COLUMNS = ["--table", "table.csv", "--image-column", "image", "--text-column", "text", "--patient-column", "patient"]


@pytest.fixture
def built(folder, tmp_path, capsys):
    """A build with one rejected file, and its private folder."""
    out, private = tmp_path / "out", tmp_path / "secret"
    main(["build", "folder", str(folder), "--out", str(out), "--private", str(private), "--processes", "1", *COLUMNS])
    capsys.readouterr()
    return out, private


def log(private):
    return [json.loads(line) for line in (private / "resolved.jsonl").read_text().splitlines()]


def resolve(private, *words):
    return main(["resolve", "--private", str(private), *words])


def test_a_quarantine_id_leads_to_its_file(built, folder, capsys):
    out, private = built
    (row,) = pq.read_table(out / "quarantine.parquet").to_pylist()
    assert resolve(private, row["id"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{row['id']}\tfile\t{folder / 'images' / 'broken.png'}", f"{row['id']}\timage\tbroken.png"]


def test_the_pseudonyms_of_a_sample_lead_to_its_sources(built, folder, capsys):
    out, private = built
    row = pq.read_table(out / "manifest.parquet").to_pylist()[0]
    assert resolve(private, row["key"], row["patient"], "--json") == 0
    found = {(entry["id"], entry["kind"]): entry["source"] for entry in json.loads(capsys.readouterr().out)}
    assert set(found) == {(row["key"], "file"), (row["key"], "image"), (row["patient"], "patient")}
    assert found[row["key"], "file"] == str(folder / "images" / found[row["key"], "image"])
    assert os.path.isfile(found[row["key"], "file"])


def test_every_look_up_is_logged_in_the_private_folder_alone(built, tmp_path, capsys):
    out, private = built
    key = pq.read_table(out / "manifest.parquet", columns=["key"]).to_pylist()[0]["key"]
    before = {path for path in tmp_path.rglob("*") if private not in path.parents}
    assert resolve(private, key) == 0
    assert resolve(private, "0" * 24, key) == 2
    entries = log(private)
    assert [(entry["id"], entry["known"]) for entry in entries] == [(key, True), ("0" * 24, False), (key, True)]
    assert {entry["uid"] for entry in entries} == {os.getuid()}
    assert all(datetime.fromisoformat(entry["time"]).tzinfo for entry in entries)
    assert stat.S_IMODE((private / "resolved.jsonl").stat().st_mode) == 0o600
    assert {path for path in tmp_path.rglob("*") if private not in path.parents} == before


def test_an_unknown_id_is_one_line_and_shows_nothing(built, capsys):
    out, private = built
    key = pq.read_table(out / "manifest.parquet", columns=["key"]).to_pylist()[0]["key"]
    assert resolve(private, key, "0" * 24) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: not in the ledger of {private}: {'0' * 24}; check the id and the folder\n"


def test_nothing_is_resolved_without_a_log(built, capsys):
    out, private = built
    key = pq.read_table(out / "manifest.parquet", columns=["key"]).to_pylist()[0]["key"]
    (private / "resolved.jsonl").mkdir()
    assert resolve(private, key) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing was resolved" in captured.err


def test_a_folder_without_a_usable_ledger_is_one_line(tmp_path, capsys):
    assert resolve(tmp_path, "0" * 24) == 2
    assert f"error: {tmp_path} has no ledger" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
    (tmp_path / "ledger.sqlite").write_text("not a database" * 100)
    assert resolve(tmp_path, "0" * 24) == 2
    assert "cannot be read" in capsys.readouterr().err
