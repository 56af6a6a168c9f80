"""Text in the pixels is found by the real engine, side markers are no text, and what was read never comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from sharding import manifest
from sharding.cli import main
from sharding.contract import Reason, Rejected, UserError
from sharding.deid import pixel_text
from sharding.verify import verify

NAME = "KOWALSKA ZOFIA"
needs_engine = pytest.mark.skipif(not shutil.which("tesseract"), reason="tesseract is not installed")


def picture(text="", height=28, place=(40, 40), ground=30, ink=235):
    """A cloudy picture with one line of text."""
    noise = np.random.default_rng(0).integers(-8, 8, (700, 600))
    y_H1, x_1W = np.mgrid[:700, :1], np.mgrid[:1, :600]
    clouds_HW = ground + 60 * np.exp(-(((y_H1[0] - 350) / 200) ** 2) - ((x_1W[1] - 300) / 150) ** 2) + noise
    image = Image.fromarray(np.clip(clouds_HW, 0, 255).astype(np.uint8))
    ImageDraw.Draw(image).text(place, text, fill=ink, font=ImageFont.load_default(height))
    return np.asarray(image)


@pytest.mark.parametrize(
    "word",
    ["Kowalska", "DOE,", "O'Brien", "12.03.1957", "4471902", "Łódź", "18:20h2", "R4471902", "Pierre", "Marr", "APTED"],
)
def test_a_name_a_date_and_a_number_identify(word):
    assert pixel_text.is_identifying(word, 90)
    assert not pixel_text.is_identifying(word, 25)


def test_a_date_is_one_however_badly_it_is_read():
    assert pixel_text.is_identifying("(12.03.1957,", 35)
    assert pixel_text.is_identifying("1957-3-12", 35)
    assert not pixel_text.is_identifying("12.03.1957", 25)
    assert not pixel_text.is_identifying("12-03/1957", 35)


@pytest.mark.parametrize(
    "word",
    [
        "L",
        "R",
        "PA",
        "ap",
        "ERECT",
        "Portable",
        "(SUPINE)",
        "semi-erect",
        "14",
        "~~|",
        "",
        "_a",
        "APERECT",
        "AP-ERECT",
        "RORTABLE",
        "18:20HRS",
        "85/6.5@1545HRS",
        "1200kV",
    ],
)
def test_markers_and_specks_do_not(word):
    assert not pixel_text.is_identifying(word, 99)


@needs_engine
@pytest.mark.parametrize("ink", [235, 5])
@pytest.mark.parametrize("place", [(20, 15), (250, 15), (20, 640), (250, 640)])
def test_a_name_in_any_corner_is_found(place, ink):
    assert pixel_text.shows_text(picture(NAME, place=place, ground=30 if ink > 128 else 170, ink=ink))


@needs_engine
@pytest.mark.parametrize("text", ["", "L", "R", "PA", "AP ERECT", "PORTABLE", "SUPINE", "LEFT"])
def test_a_picture_without_text_or_with_markers_is_let_through(text):
    assert not pixel_text.shows_text(picture(text))


@needs_engine
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (31, 31), (32, 32), (32, 4000), (3000, 2500)])
def test_any_size_is_searched_or_too_small(shape):
    assert not pixel_text.shows_text(np.full(shape, 100, np.uint8))


def test_without_the_engine_there_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs tesseract"):
        pixel_text.shows_text(picture(NAME))
    (tmp_path / "in").mkdir()
    arguments = [
        "build",
        "folder",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--allow-no-text",
        "--pixel-text",
    ]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message == (
        "error: --pixel-text needs tesseract; install it, for example with apt-get install tesseract-ocr\n"
    )


def test_an_engine_without_english_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "tesseract").write_text("#!/bin/sh\necho osd\n")
    (tmp_path / "tesseract").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match="tesseract-ocr-eng"):
        pixel_text.engine()


@pytest.fixture
def failing_engine(monkeypatch, tmp_path):
    """Makes an engine that is there and does this with a picture."""

    def make(does):
        answers = "case $1 in --version) echo tesseract 5.0;; --list-langs) echo eng;;"
        (tmp_path / "tesseract").write_text(f"#!/bin/sh\n{answers} *) {does};; esac\n")
        (tmp_path / "tesseract").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return make


@pytest.mark.parametrize("does", ["exit 1", "kill -9 $$", "exit 0", "echo Warning"])
def test_a_picture_that_the_engine_fails_on_is_not_let_through(failing_engine, does):
    failing_engine(does)
    with pytest.raises(Rejected, match="tesseract failed on this picture") as caught:
        pixel_text.shows_text(picture(NAME))
    assert caught.value.reason == Reason.DECODE


def test_a_failing_engine_is_a_fault_of_the_build(failing_engine, tmp_path):
    failing_engine("exit 1")
    (tmp_path / "in").mkdir()
    Image.fromarray(picture("AP ERECT")).save(tmp_path / "in" / "a.png")
    arguments = ["build", "folder", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--allow-no-text", "--json"]
    # In a process of its own: worker processes keep the PATH that the first build of a process had.
    command = [sys.executable, "-m", "sharding", *arguments, "--pixel-text", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    account = json.loads(done.stdout)
    assert (done.returncode, account["rejected"], account["failed_share"]) == (1, {"decode": 1}, 1)


@needs_engine
def test_a_build_leaves_the_picture_out_and_says_nothing_of_what_it_read(tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for number, text in enumerate([NAME, "AP ERECT", ""]):
        Image.fromarray(picture(text)).save(tmp_path / "in" / f"{number}.png")
    arguments = ["build", "folder", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--allow-no-text", "--json"]
    assert main([*arguments, "--pixel-text"]) == 0
    printed = capfd.readouterr()
    account = json.loads(printed.out)
    assert (account["written"], account["rejected"], account["failed_share"]) == (2, {"text in the pixels": 1}, 0)
    (row,) = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert (row["stage"], row["reason"]) == ("pixels", "text in the pixels")
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["with_text_in_the_pixels"] == 1
    assert audit["rules"]["pixels"].startswith("tesseract ")
    assert manifest.read(str(tmp_path / "out")).metadata["settings"]["pixel_text"] == audit["rules"]["pixels"]
    everything = printed.out + printed.err + str(row) + str(audit)
    private = tmp_path / "in-private"
    everything += "".join(str(path.read_bytes()) for path in private.rglob("*") if path.is_file())
    assert not [part for part in NAME.split() if part.casefold() in everything.casefold()]
    assert verify(str(tmp_path / "out")) == []
