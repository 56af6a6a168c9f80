"""`sentalign localize` on many files: what is written, what fails, and what a second run does."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.localize.files.results import Results
from sharding.contract import UserError
from tests.localize.test_cli import call

SENTENCES = ["Right pleural effusion", "Small nodule"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for n in range(4):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (90 + n, 70), dtype=np.uint8)).save(tmp_path / "in" / f"DOE^JANE{n}.png")
    (tmp_path / "in" / "DOE^JANE2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "in" / "LICENSE").write_text("free")
    return tmp_path / "in"


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_folder(folder, run_folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(folder, *SENTENCES, "--run", run_folder, "--out", out, "--workers", 0) == 1
    assert "3 of 5 files localized, 2 failed" in capsys.readouterr().out
    table = rows(out)
    images = [str(folder / f"DOE^JANE{n}.png") for n in range(4)]
    assert [row["image"] for row in table] == [*images[:1] * 2, *images[1:2] * 2, images[2], *images[3:] * 2,
                                                str(folder / "LICENSE")]  # fmt: skip
    assert [row["failed"] != "" for row in table] == [False] * 4 + [True, False, False, True]
    for row in (row for row in table if not row["failed"]):
        own = json.loads((out / row["folder"] / "boxes.json").read_text())
        entry = own["sentences"][int(row["number"]) - 1]
        assert (row["sentence"], int(row["boxes"])) == (entry["sentence"], len(entry["boxes"]))
        assert float(row["score"]) == entry["score"]
        assert [int(row["peak_x"]), int(row["peak_y"])] == list(entry["peak"].values())
        assert float(row["width"]) == entry["boxes"][0]["width"]
        stored = np.load(out / row["folder"] / entry["map"], allow_pickle=False)
        assert sorted(stored.files) == ["geometry", "grid"], "maps of many full pictures would fill a disk"
        assert Image.open(out / row["folder"] / own["overlay"]).width >= 480
    # Folders and what is in them can be passed on: the names of files are in the two tables alone.
    assert sorted(file.name for file in out.iterdir() if file.is_dir()) == ["000001", "000002", "000003"]
    for file in out.rglob("*/*"):
        assert b"DOE^JANE" not in file.read_bytes()


def test_many_equal_one_by_one(folder, run_folder, tmp_path):
    call(folder, *SENTENCES, "--run", run_folder, "--out", tmp_path / "many")
    call(folder / "DOE^JANE3.png", *SENTENCES, "--run", run_folder, "--out", tmp_path / "one")
    one = json.loads((tmp_path / "one" / "boxes.json").read_text())
    (many,) = (line for line in lines(tmp_path / "many") if line["image"].endswith("DOE^JANE3.png"))
    for alone, among in zip(one["sentences"], many["sentences"], strict=True):
        assert alone["peak"] == among["peak"]
        assert alone["score"] == pytest.approx(among["score"], abs=2e-4)


def test_the_same_command_goes_on(folder, run_folder, tmp_path):
    words = (*SENTENCES, "--run", run_folder, "--out", tmp_path / "out", "--workers", 0)
    call(folder, *words)
    expected, written = rows(tmp_path / "out"), lines(tmp_path / "out")
    # As a kill leaves it: the first picture done, the second's line cut off.
    whole = (tmp_path / "out" / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "results.jsonl").write_text(whole[0] + whole[1][:40])
    (tmp_path / "out" / "results.csv").unlink()
    kept = tmp_path / "out" / "000001" / "boxes.json"
    kept.write_text("as it was")
    call(folder, *words)
    assert rows(tmp_path / "out") == expected
    assert sorted(map(str, lines(tmp_path / "out"))) == sorted(map(str, written))
    assert kept.read_text() == "as it was", "what was done is not done again"
    # A mended file is tried again, a new one is added.
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(folder / "DOE^JANE2.png")
    Image.fromarray(np.arange(2500, dtype=np.uint8).reshape(50, 50)).save(folder / "DOE^JANE9.png")
    call(folder, *words)
    assert [row["failed"] != "" for row in rows(tmp_path / "out")] == [False] * 10 + [True]


def test_a_file_that_was_replaced_is_localized_again_in_its_folder(folder, run_folder, tmp_path):
    words = (*SENTENCES, "--run", run_folder, "--out", tmp_path / "out", "--workers", 0)
    call(folder, *words)
    before = {line["image"]: line for line in lines(tmp_path / "out")}
    replaced = str(folder / "DOE^JANE1.png")
    Image.fromarray(np.random.default_rng(9).integers(0, 255, (60, 80), dtype=np.uint8)).save(replaced)
    call(folder, *words)
    after = {line["image"]: line for line in lines(tmp_path / "out")}
    assert len(lines(tmp_path / "out")) == len(before) == len(after)
    assert {image for image in before if before[image] != after[image]} == {replaced}
    assert after[replaced]["folder"] == before[replaced]["folder"]
    stored = json.loads((tmp_path / "out" / after[replaced]["folder"] / "boxes.json").read_text())
    assert stored["image"] == {"rows": 60, "columns": 80}


def test_results_of_another_command_are_not_mixed(folder, run_folder, tmp_path):
    out = tmp_path / "out"
    call(folder, *SENTENCES, "--run", run_folder, "--out", out)
    for words in (SENTENCES[:1], [*SENTENCES, "--map", "plain"]):
        with pytest.raises(UserError, match="results of another run, map, --dicom or sentences"):
            call(folder, *words, "--run", run_folder, "--out", out)


def test_sentences_from_a_file_and_lines_to_a_program(folder, run_folder, tmp_path, capsys):
    (tmp_path / "s.txt").write_text("Small nodule\nRight pleural effusion\n")
    words = ("--sentences", tmp_path / "s.txt", "--run", run_folder, "--out", tmp_path / "out", "--json")
    call(folder / "DOE^JANE0.png", folder / "DOE^JANE1.png", "Right pleural effusion", *words)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == lines(tmp_path / "out")
    assert [one["sentence"] for one in printed[1]["sentences"]] == ["Right pleural effusion", "Small nodule"]


def test_mistakes(folder, run_folder, tmp_path):
    words = ("--run", run_folder, "--out", tmp_path / "out")
    with pytest.raises(UserError, match="no sentence"):
        call(folder, *words)
    with pytest.raises(UserError, match="--workers must be 0 or more"):
        call(folder, *SENTENCES, *words, "--workers", -1)


def test_two_commands_do_not_write_to_one_folder(folder, run_folder, tmp_path):
    (tmp_path / "out").mkdir()
    held = Results(tmp_path / "out", {}, [])
    with pytest.raises(UserError, match="another command is writing"):
        call(folder, *SENTENCES, "--run", run_folder, "--out", tmp_path / "out", "--workers", 0)
    del held


def test_names_with_every_separator_come_back(run_folder, tmp_path):
    (tmp_path / "in").mkdir()
    names = ["a,b.png", 'q"uote.png', "new\nline.png", "car\rriage.png", "tab\t.png"]
    for name in names:
        Image.fromarray(np.arange(2500, dtype=np.uint8).reshape(50, 50)).save(tmp_path / "in" / name)
    call(tmp_path / "in", "Nodule", "--run", run_folder, "--out", tmp_path / "out", "--workers", 0)
    assert sorted(row["image"] for row in rows(tmp_path / "out")) == sorted(
        str(tmp_path / "in" / name) for name in names
    )


def test_files_of_an_earlier_picture_do_not_stay(folder, run_folder, tmp_path):
    words = ("--run", run_folder, "--out", tmp_path / "out")
    call(folder / "DOE^JANE0.png", *SENTENCES, *words)
    (tmp_path / "out" / "report.dcm").write_bytes(b"of another patient")
    (tmp_path / "out" / "mine.txt").write_text("kept")
    call(folder / "DOE^JANE1.png", "Small nodule", *words)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "01-map.npz", "01-overlay.png", "boxes.json", "mine.txt"]  # fmt: skip


def test_lines_are_of_the_images_that_were_asked_for(folder, run_folder, tmp_path, capsys):
    words = ("Nodule", "--run", run_folder, "--out", tmp_path / "out", "--json", "--workers", 0)
    call(folder / "DOE^JANE0.png", folder / "DOE^JANE1.png", *words)
    capsys.readouterr()
    call(folder / "DOE^JANE1.png", folder / "DOE^JANE3.png", *words)
    printed = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert (
        printed
        == [str(folder / "DOE^JANE1.png"), str(folder / "DOE^JANE3.png")]
        == [r["image"] for r in rows(tmp_path / "out")]
    )


@pytest.mark.parametrize("damage", ["[1]\n", '{"image": "a"}\n', "\xff\n", '{"image": "Mü'])
def test_damaged_lines_are_done_again(folder, run_folder, tmp_path, damage):
    words = (folder, "Nodule", "--run", run_folder, "--out", tmp_path / "out", "--workers", 0)
    call(*words)
    expected = rows(tmp_path / "out")
    with (tmp_path / "out" / "results.jsonl").open("ab") as file:
        file.write(damage.encode("latin-1"))
    call(*words)
    assert rows(tmp_path / "out") == expected
