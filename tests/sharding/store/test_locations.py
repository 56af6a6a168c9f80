"""The same files in a folder and in three object stores: whole, ranges, names, and what a missing one says."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import UserError
from sharding.store.locations import local_path, open_store, read

# Twice the size from which a bucket takes a file in parts.
LARGE = os.urandom(1 << 20) * 17
NAMES = (
    "a/b.bin",
    "ab/c",
    "a b/ä.txt",
    "per%20cent",
    "x#1",
    "q?x=1",
    "plus+and~",
    "deep/er/and/deeper.tar",
    "'quoted'",
)


@pytest.fixture(params=["folder", "s3", "gs", pytest.param("az", marks=pytest.mark.slow)])
def address(request, tmp_path):
    """A place for files: a folder that is still to be made, or a folder in a new bucket."""
    if request.param == "folder":
        return str(tmp_path / "new" / "folder")
    return request.getfixturevalue(request.param) + "/new/folder"


@pytest.fixture
def store(address):
    return open_store(address, create=True)


def test_what_is_put_is_read_whole_and_in_ranges(store):
    store.put("a/b.bin", b"0123456789")
    assert store.get("a/b.bin") == store.find("a/b.bin") == b"0123456789"
    assert store.get_range("a/b.bin", 3, 4) == b"3456"
    assert store.get_range("a/b.bin", 3, 7) == b"3456789"
    assert store.get_range("a/b.bin", 3, 0) == b""
    assert (store.size("a/b.bin"), store.exists("a/b.bin")) == (10, True)


def test_a_large_file_is_put_from_memory_and_from_a_file(store, tmp_path):
    (tmp_path / "local").write_bytes(LARGE)
    store.put("memory.tar", LARGE)
    store.put_file("file.tar", tmp_path / "local")
    assert store.get("memory.tar") == store.get("file.tar") == LARGE
    assert store.get_range("file.tar", len(LARGE) - 9, 9) == LARGE[-9:]
    assert store.list() == ["file.tar", "memory.tar"]


def test_an_empty_file_is_a_file(store):
    store.put("empty", b"")
    assert (store.find("empty"), store.size("empty"), store.list()) == (b"", 0, ["empty"])


def test_a_missing_file_is_said_or_none(store):
    store.put("short", b"123")
    assert (store.find("nothing"), store.size("nothing"), store.exists("nothing")) == (None, None, False)
    with pytest.raises(UserError, match="no such file"):
        store.get("nothing")
    with pytest.raises(UserError, match="no such file"):
        store.get_range("nothing", 0, 2)
    for offset in (2, 30):
        with pytest.raises(UserError, match=r"ends before byte|shorter"):
            store.get_range("short", offset, 5)


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store):
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/there")
    assert (store.list(), store.find("a/b")) == ([], None)


def test_names_are_taken_as_they_are(store, address):
    for number, name in enumerate(NAMES):
        store.put(name, str(number).encode())
    assert store.list() == sorted(NAMES) == list(store.states())
    assert [store.get(name) for name in NAMES] == [read(f"{address}/{name}") for name in NAMES]
    assert [read(f"{address}/{name}") for name in NAMES] == [str(number).encode() for number in range(len(NAMES))]


def test_a_prefix_is_a_folder(store, address):
    for name in ("a/b", "a/c/d", "ab/c", "a.txt"):
        store.put(name, b"1")
    assert store.list("a") == store.list("a/") == ["a/b", "a/c/d"]
    assert store.list("a/c") == ["a/c/d"]
    assert store.list("b") == store.list("a.txt") == []
    assert open_store(f"{address}/a").list() == ["b", "c/d"]


def test_an_address_is_not_decoded(address):
    open_store(f"{address} 50%25", create=True).put("a", b"1")
    assert read(f"{address} 50%25/a") == b"1"
    with pytest.raises(FileNotFoundError):
        read(f"{address} 50%/a")


def test_a_state_changes_with_the_content_alone(store):
    store.put("same", b"1")
    store.put("other", b"1")
    before = store.states()
    store.put("other", b"2")
    after = store.states()
    assert before["same"] == after["same"]
    assert before["other"] != after["other"]


def test_a_reader_sees_the_old_file_or_the_new_one(store):
    contents = [LARGE[:300_000], LARGE[1:400_000]]
    store.put("file", contents[0])
    ended = threading.Event()

    def write():
        for number in range(30):
            store.put("file", contents[number % 2])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not ended.is_set() or not seen:
        assert store.get("file") in contents
        seen += 1
    writer.join()


FILES = st.sampled_from(["a", "b", "f/a", "f/g/b"])


@given(st.lists(st.tuples(FILES, st.none() | st.binary(max_size=9))))
def test_a_folder_is_a_dictionary(changes):
    with tempfile.TemporaryDirectory() as place:
        store, twin = open_store(place), {}
        for name, data in changes:
            if data is None:
                store.delete(name)
                twin.pop(name, None)
            else:
                store.put(name, data)
                twin[name] = data
        assert {name: store.get(name) for name in store.list()} == twin
        assert [store.find(name) for name in ("a", "f/g/b")] == [twin.get("a"), twin.get("f/g/b")]


@pytest.mark.parametrize("url", ["foo://bucket/x", "memory:///x", "https://host/x", "/no/such/folder/here", "s3://"])
def test_an_address_that_cannot_be_opened(url):
    with pytest.raises(UserError) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)


def test_only_paths_and_file_urls_are_local(tmp_path):
    assert local_path("s3://bucket/x") is None
    assert local_path(f"file://{tmp_path}/a%20b") == local_path(f"file://localhost{tmp_path}/a%20b") == tmp_path / "a b"
    assert local_path(str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="three slashes"):
        local_path("file://data/images")


def test_one_folder_has_one_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = ("out", "./out/", str(tmp_path / "out"), f"file://{tmp_path}/out")
    assert {open_store(name, create=True).url for name in named} == {str(tmp_path / "out")}


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"1")
    store = open_store(tmp_path / "in", create=True)
    for act in (store.get, store.size, store.delete, store.list, lambda name: store.put(name, b"2")):
        with pytest.raises(UserError, match="lies outside"):
            act(name)
    assert (tmp_path / "outside").read_bytes() == b"1"


def test_a_file_has_its_name_after_its_content_is_on_the_disk(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def watched(descriptor):
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced.append(("folder" if stat.S_ISDIR(found.st_mode) else found.st_size, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", watched)
    open_store(tmp_path).put("file", b"12345")
    assert synced == [(5, False), ("folder", True)]


WRITER = """
import sys
from sharding.store.locations import open_store
store = open_store(sys.argv[1])
store.put("first", b"1" * 60_000_000)
print("there", flush=True)
while True:
    store.put("first", b"2" * 60_000_000)
"""


def test_what_a_killed_put_leaves_is_no_file_and_gives_way(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    writer.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
        pass
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (tmp_path / ".first.part").touch()  # the killed put may have been quick
    store = open_store(tmp_path)
    assert store.list() == ["first"]
    assert store.get("first") in (b"1" * 60_000_000, b"2" * 60_000_000)
    store.put("first", b"3")
    assert os.listdir(tmp_path) == ["first"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_leaves_what_was_there(small_disk):
    store = open_store(small_disk)
    store.put("file", b"1" * 300_000)
    with pytest.raises(UserError, match="no space left"):
        store.put("file", b"2" * 900_000)
    assert os.listdir(small_disk) == ["file"]
    assert store.get("file") == b"1" * 300_000
    store.put("file", b"3" * 300_000)


def test_a_disk_that_cannot_be_written_is_said(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UserError, match=r"Read-only file system.*check path and rights"):
        open_store(small_disk).put("file", b"1")
    with pytest.raises(UserError, match="Read-only file system"):
        open_store(small_disk / "new", create=True)


@contextlib.contextmanager
def without_rights():
    """Root has every right; for a while this process is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed():
    """A folder that nobody but root may read or write, in a place that everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        folder = Path(place) / "closed"
        (folder / "inner").mkdir(parents=True)
        (folder / "file").write_bytes(b"1")
        folder.chmod(0)
        yield folder
        folder.chmod(0o700)


def test_missing_rights_are_said(closed):
    with without_rights():
        store = open_store(closed)
        for act in (store.get, store.size, store.delete, lambda name: store.put(name, b"2")):
            with pytest.raises(UserError, match=r"Permission denied.*check path and rights"):
                act("file")
        with pytest.raises(UserError, match="1 folders in it cannot be listed"):
            open_store(closed.parent).states()
        with pytest.raises(PermissionError):
            read(str(closed / "file"))


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    store = open_store(tmp_path)
    with pytest.raises(UserError, match="a file is where a folder should be"):
        store.put("file/x", b"1")
    with pytest.raises(UserError, match="a file is where a folder should be"):
        open_store(tmp_path / "file", create=True)
    with pytest.raises(UserError, match="no such folder"):
        open_store(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    assert store.size("folder") is None
    for act in (store.get, store.delete, lambda name: store.put(name, b"2")):
        with pytest.raises(UserError):
            act("folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
