"""Which words of the command line are pictures and which are sentences, and which files the pictures are."""

from __future__ import annotations

import os

import pytest

from sentalign.localize.files import inputs
from sharding.contract import UserError
from sharding.store import locations


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a.dcm", "deep/b.png", "deep/c.png", "deep/.hidden/d.png", ".DS_Store", "x[1].png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "places", "sentences"),
    [
        (["a.dcm", "A  nodule."], ["a.dcm"], ["A nodule."]),
        (["a.dcm", "deep", "A nodule."], ["a.dcm", "deep"], ["A nodule."]),
        (["a.dcm", "A nodule.", "deep/*.png"], ["a.dcm", "deep/*.png"], ["A nodule."]),
        (["none.dcm", "Nodule?"], ["none.dcm"], ["Nodule?"]),  # a sentence with a sign of patterns
        (["s3://bucket/x", "s3://bucket/y", "Nodule"], ["s3://bucket/x", "s3://bucket/y"], ["Nodule"]),
        (["a.dcm", "x[1].png", "Nodule"], ["a.dcm", "x[1].png"], ["Nodule"]),
        (["."], ["."], []),
    ],
)
def test_words(tree, words, places, sentences):
    assert inputs.split(words) == (places, sentences)


@pytest.mark.parametrize("word", ["", " ", ".", "..", "?!"])
def test_a_word_without_letters_is_no_sentence(tree, word):
    with pytest.raises(UserError, match="empty sentence"):
        inputs.split(["a.dcm", word])


def test_a_mistyped_path_is_no_sentence(tree):
    with pytest.raises(UserError, match=r"a word ends in \.dcm and there is no such file") as error:
        inputs.split(["a.dcm", "DOE^JANE.dcm", "Nodule"])
    assert "JANE" not in str(error.value)
    with pytest.raises(UserError, match=r"a word ends in \.dcm\.gz and there is no such file"):
        inputs.split(["a.dcm", "b.DCM.gz"])


def test_files_of_places_each_once_in_order(tree):
    deep = ["deep/b.png", "deep/c.png"]
    assert inputs.expand(["deep"]) == deep
    assert inputs.expand(["deep", "a.dcm", "deep/b.png"]) == [*deep, "a.dcm"]
    assert inputs.expand(["d*/*.png"]) == deep
    assert inputs.expand(["d*"]) == deep
    assert inputs.expand(["**/*.png"]) == [*deep, "x[1].png"]
    assert inputs.expand(["x[1].png"]) == ["x[1].png"]
    assert inputs.expand([f"file://{tree}/deep"]) == [f"{tree}/{name}" for name in deep]


@pytest.mark.parametrize("place", ["none.dcm", "none/*.dcm", "none"])
def test_no_file(tree, place):
    with pytest.raises(UserError, match="no image file at this path"):
        inputs.expand([place])


def test_results_in_the_folder_of_the_images_are_no_images(tree):
    (tree / "deep" / "out" / "000001").mkdir(parents=True)
    (tree / "deep" / "out" / "000001" / "overlay.png").write_bytes(b"")
    (tree / "link").symlink_to(tree / "deep" / "out")
    images = ["deep/b.png", "deep/c.png"]
    for out in (tree / "deep" / "out", tree / "link"):
        assert inputs.expand(["deep"], out) == images
        assert inputs.expand(["deep/**/*.png"], out) == images
        assert inputs.expand(["deep/b.png", "deep/c.png", "deep/out"], out) == images, "as a shell expands deep/*"
    assert inputs.expand(["deep/b.png"], tree / "deep") == ["deep/b.png"], "the user named it"
    for out in (tree / "deep", tree):
        with pytest.raises(UserError, match="--out is the folder of the images"):
            inputs.expand(["deep"], out)


@pytest.mark.parametrize(
    ("places", "one"),
    [(["a.dcm"], True), (["./a.dcm"], True), (["deep//b.png"], True), (["deep"], False), (["*.dcm"], False),
     (["a.dcm", "deep/b.png"], False), (["s3://bucket/a.dcm"], True), (["s3://bucket/a"], False)],
)  # fmt: skip
def test_one_file_is_one_however_it_is_written(tree, places, one):
    assert inputs.is_one_file(places) is one


def test_long_sentences_and_empty_words(tree):
    long = "Opacity " * 300
    assert inputs.split(["a.dcm", long])[1] == [long.strip()]
    for empty in ("", "  "):
        with pytest.raises(UserError, match="an empty word in place of an image"):
            inputs.split([empty, "Nodule"])


def test_names_that_are_no_utf8(tree):
    name = os.fsencode(tree / "deep") + b"/M\xfcller.png"
    with open(name, "wb") as file:
        file.write(b"x")
    listed = inputs.expand(["deep"])
    assert listed[0] == "deep/M\\xfcller.png"
    assert inputs.expand(["deep/M*.png"]) == listed[:1]
    assert locations.read(listed[0]) == b"x"


def test_an_empty_folder(tree):
    (tree / "empty").mkdir()
    with pytest.raises(UserError, match="the folder holds no file"):
        inputs.expand(["empty"])


def test_sentences_of_a_file(tree):
    (tree / "s.txt").write_text("﻿# findings\nA  nodule.\n\nRight effusion.\n", encoding="utf-8")
    assert inputs.read_sentences(tree / "s.txt") == ["A nodule.", "Right effusion."]
    (tree / "s.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        inputs.read_sentences(tree / "s.txt")
    (tree / "s.txt").write_text("...\n")
    with pytest.raises(UserError, match="empty sentence"):
        inputs.read_sentences(tree / "s.txt")


def test_a_store(s3):
    locations.open_store(s3).put("x/a.dcm", b"")
    locations.open_store(s3).put("x/b", b"")
    assert inputs.expand([f"{s3}/x"]) == [f"{s3}/x/a.dcm", f"{s3}/x/b"]
    assert inputs.expand([f"{s3}/x/a.dcm"]) == [f"{s3}/x/a.dcm"]
    with pytest.raises(UserError, match="nothing at this URL"):
        inputs.expand([f"{s3}/none"])


def test_control_characters_and_other_codings(tree):
    assert inputs.split(["a.dcm", "Left\x00 lung\x07."])[1] == ["Left lung ."]
    with pytest.raises(UserError, match="no UTF-8 text"):
        inputs.split(["a.dcm", os.fsdecode(b"\xe9panchement")])
    with pytest.raises(UserError, match="no image file at this path"):
        inputs.expand(["Opacity " * 50])
