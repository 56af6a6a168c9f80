"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os

import pytest

from sharding.store import atomic


def test_a_file_is_replaced_when_its_block_ends(tmp_path):
    path = tmp_path / "file"
    atomic.write_text(path, "old ä")
    with atomic.open_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "old ä"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "file"
    atomic.write_text(path, "old")

    def fail():
        with atomic.open_file(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(failure):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_replaced(tmp_path):
    atomic.part_of(tmp_path / "file").write_text("a longer half of a file")
    atomic.write_text(tmp_path / "file", "whole")
    part = atomic.part_of(tmp_path / "folder")
    part.mkdir()
    (part / "left").touch()
    with atomic.new_folder(tmp_path / "folder") as fresh:
        (fresh / "a").touch()
        assert not (tmp_path / "folder").exists()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "whole"
    assert os.listdir(tmp_path / "folder") == ["a"]


def test_a_folder_that_fails_does_not_appear(tmp_path):
    def fail():
        with atomic.new_folder(tmp_path / "folder") as fresh:
            (fresh / "a").touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert not (tmp_path / "folder").exists()


def test_an_existing_folder_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").touch()
    with pytest.raises(OSError, match="not empty"), atomic.new_folder(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path / "folder") == ["a"]
