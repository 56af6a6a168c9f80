"""`sentalign localize` from files to files."""

from __future__ import annotations

import argparse
import json
import sys
from subprocess import run

import numpy as np
import pytest
from PIL import Image

from sentalign.localize import cli
from sentalign.localize.maps.heatmap import clean_map
from sharding.contract import UserError
from sharding.pixels import Geometry

SENTENCES = ["Right pleural  effusion", "Small nodule"]


def parse(*words):
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    return parser.parse_args(["localize", *map(str, words)])


def call(*words):
    args = parse(*words)
    return args.command(args)


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "DOE^JANE 1950.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (150, 110), dtype=np.uint8)).save(file)
    return file


def test_writes_overlays_maps_and_boxes(picture, run_folder, tmp_path, capsys):
    out = tmp_path / "maps"
    call(picture, *SENTENCES, "--run", run_folder, "--out", out, "--json")
    names = ["01-map.npz", "01-overlay.png", "02-map.npz", "02-overlay.png", "boxes.json", "overlay.png"]
    assert sorted(file.name for file in out.iterdir()) == names
    stored = json.loads((out / "boxes.json").read_text())
    assert json.loads(capsys.readouterr().out) == stored
    assert stored["image"] == {"rows": 150, "columns": 110}
    assert [one["sentence"] for one in stored["sentences"]] == ["Right pleural effusion", "Small nodule"]
    for one in stored["sentences"]:
        arrays = np.load(out / one["map"], allow_pickle=False)
        assert arrays["map"].shape == (150, 110)
        assert arrays["map"].dtype == np.float32
        geometry = Geometry.from_dict(json.loads(str(arrays["geometry"])))
        assert np.allclose(clean_map(arrays["grid"], geometry), arrays["map"], atol=1e-5)
        peak = arrays["map"][one["peak"]["y"], one["peak"]["x"]]
        assert peak == pytest.approx(arrays["map"].max(), abs=1e-6)
        assert one["boxes"]
        for box in one["boxes"]:
            assert 0 <= box["x"] < box["x"] + box["width"] <= 110
            assert 0 <= box["y"] < box["y"] + box["height"] <= 150
    for file in out.iterdir():
        assert b"JANE" not in file.read_bytes()


def test_boxes_json_says_where_the_mirrored_picture_took_part(picture, run_folder, tmp_path):
    for words, mirrored, cells in ((), [True, False], 24), (("--map", "plain"), [False, False], 6):
        call(picture, "Small nodule", "Lingula opacity", "--run", run_folder, "--out", tmp_path, *words)
        stored = json.loads((tmp_path / "boxes.json").read_text())
        assert [one["mirrored"] for one in stored["sentences"]] == mirrored
        assert np.load(tmp_path / "01-map.npz")["grid"].shape == (cells, cells)


def test_prints_a_table_without_the_files_name(picture, run_folder, tmp_path, capsys):
    call(picture, *SENTENCES, "--run", run_folder, "--out", tmp_path / "maps")
    printed = capsys.readouterr().out
    assert "Small nodule" in printed
    assert "JANE" not in printed


@pytest.mark.realdata
def test_real_dicom(realdata, run_folder, tmp_path):
    names = [line.split(",")[0] for line in (realdata / "dicom" / "manifest.csv").read_text().splitlines()[1:]]
    done = 0
    for name in names:
        file = next((realdata / "dicom").rglob(name), None)
        try:
            call(file, SENTENCES[0], "--run", run_folder, "--out", tmp_path / str(done))
        except UserError:
            continue
        done += 1
        if done == 3:
            break
    assert done == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>sign in</html>", "an HTML page"), (b"", "empty"), (b"\x89PNG\r\n\x1a\nbroken", "header cannot be read")],
)
def test_rejected_images_are_one_line_without_the_name(content, message, run_folder, tmp_path):
    file = tmp_path / "DOE^JANE.dcm"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        call(file, SENTENCES[0], "--run", run_folder, "--out", tmp_path / "maps")
    assert "\n" not in str(error.value)
    assert "JANE" not in str(error.value)
    assert not (tmp_path / "maps").exists()


def test_other_user_errors(picture, run_folder, tmp_path):
    with pytest.raises(UserError, match="no image file"):
        call(tmp_path / "none.png", "A nodule", "--run", run_folder, "--out", tmp_path / "maps")
    for empty in ("", "  ", "..."):
        with pytest.raises(UserError, match="empty sentence"):
            call(picture, "Nodule", empty, "--run", run_folder, "--out", tmp_path / "maps")
    with pytest.raises(UserError, match="no run folder"):
        call(picture, "Nodule", "--run", tmp_path / "none", "--out", tmp_path / "maps")
    with pytest.raises(UserError, match="cannot write"):
        call(picture, "Nodule", "--run", run_folder, "--out", picture)


def test_help_is_fast_to_import():
    code = "import sys, sentalign.localize.cli; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
