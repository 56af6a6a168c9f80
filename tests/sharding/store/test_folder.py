"""The list of a folder and its files, whatever stands in it."""

from __future__ import annotations

import os
import subprocess

import pytest

from sharding.contract import UserError
from sharding.store import folder as local


def listed(folder):
    return sorted(name for name, _ in local.files_below(folder))


def test_all_files_below_are_listed(tmp_path):
    for name in ("b", "a/b", "a/c/d", ".hidden/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path) == [".hidden/e", "a/b", "a/c/d", "b"]
    assert listed(tmp_path / "nothing") == listed(tmp_path / "b") == []


def test_links_are_followed_as_find_does_it(tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/a/x", "out/y"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "in" / "file").symlink_to(tmp_path / "out" / "y")
    for name in ("once", "twice"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "out")
    assert listed(tmp_path / "in") == ["a/x", "file", "once/y", "twice/y"]
    found = subprocess.run(
        ["find", "-L", ".", "-type", "f", "-printf", "%P\n"], cwd=tmp_path / "in", capture_output=True
    )
    assert sorted(found.stdout.decode().split()) == listed(tmp_path / "in")


def test_links_in_a_circle_end(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1")
    (tmp_path / "a" / "top").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "to-b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to-a").symlink_to(tmp_path / "a")
    assert listed(tmp_path) == ["a/file", "a/to-b/file", "b/file", "b/to-a/file"]


def test_a_link_to_nothing_is_listed_and_cannot_be_read(tmp_path):
    (tmp_path / "nothing").symlink_to(tmp_path / "gone")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert {name: local.state(entry) for name, entry in local.files_below(tmp_path)} == {
        "nothing": "",
        "circle": "",
    }
    for name in ("nothing", "circle"):
        assert local.state(tmp_path / name) == ""
        with pytest.raises(OSError):  # noqa: PT011
            local.read_file(tmp_path / name)


def test_a_state_is_that_of_the_file_behind_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"123")
    (tmp_path / "link").symlink_to("file")
    states = {name: local.state(entry) for name, entry in local.files_below(tmp_path)}
    assert states["file"] == states["link"] == local.state(tmp_path / "file")
    os.utime(tmp_path / "file", ns=(0, 5))
    assert local.state(tmp_path / "file") == "3-5"


def test_a_name_that_is_not_utf8_is_printed_and_read(tmp_path):
    raw = os.path.join(os.fsencode(tmp_path), b"M\xfcller", b"R\xf6ntgen 1.dcm")
    os.mkdir(os.path.dirname(raw))
    with open(raw, "wb") as file:
        file.write(b"1")
    (tmp_path / r"\xff").write_bytes(b"2")
    names = listed(tmp_path)
    assert names == [r"M\xfcller/R\xf6ntgen 1.dcm", r"\xff"]
    assert [name.encode().decode() for name in names] == names
    assert [local.read_file(tmp_path / name) for name in names] == [b"1", b"2"]
    with pytest.raises(FileNotFoundError):
        local.read_file(tmp_path / r"M\xfcller" / "other")


@pytest.mark.timeout(20)
def test_a_device_is_refused(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    assert listed(tmp_path) == ["endless"]
    with pytest.raises(OSError, match="a device, not a file"):
        local.read_file(tmp_path / "endless")


def test_a_pipe_is_read_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["cp", "/dev/stdin", tmp_path / "pipe"], stdin=subprocess.PIPE)
    writer.stdin.write(b"table")
    writer.stdin.close()
    assert local.read_file(tmp_path / "pipe") == b"table"
    writer.wait()


def test_a_folder_that_cannot_be_listed_is_said_with_the_others(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):  # a path longer than the system takes
        os.mkdir("d" * 200, dir_fd=descriptor)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    with pytest.raises(UserError, match=r"1 folders in it cannot be listed \(File name too long\)"):
        listed(tmp_path)
