"""Files in a folder: whole, ranges, names, and what a missing one says."""

from __future__ import annotations

import pytest

from sharding.contract import UserError
from sharding.storage import local_path, open_store


def test_what_is_put_is_read_whole_and_in_ranges(tmp_path):
    store = open_store(tmp_path / "new" / "folder", create=True)
    store.put("a/b.bin", b"0123456789")
    assert store.get("a/b.bin") == b"0123456789"
    assert store.get_range("a/b.bin", 3, 4) == b"3456"
    assert store.get_range("a/b.bin", 3, 0) == b""
    assert (store.size("a/b.bin"), store.size("c"), store.exists("c")) == (10, None, False)


def test_a_file_is_put_under_its_name(tmp_path):
    (tmp_path / "local").write_bytes(b"x" * 100)
    store = open_store(f"file://{tmp_path}/out", create=True)
    store.put_file("shard.tar", tmp_path / "local")
    assert store.list() == ["shard.tar"]
    assert (tmp_path / "out" / "shard.tar").read_bytes() == b"x" * 100
    store.delete("shard.tar")
    store.delete("shard.tar")
    assert store.list() == []


def test_missing_files_and_short_files_are_said(tmp_path):
    store = open_store(tmp_path)
    (tmp_path / "short").write_bytes(b"123")
    with pytest.raises(UserError, match="no such file"):
        store.get("nothing")
    with pytest.raises(UserError, match="short"):
        store.get_range("short", 2, 5)


@pytest.mark.parametrize("url", ["foo://bucket/x", "/no/such/folder/here"])
def test_an_address_that_cannot_be_opened(url):
    with pytest.raises(UserError) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)


def test_only_paths_and_file_urls_are_local(tmp_path):
    assert local_path("s3://bucket/x") is None
    assert local_path(f"file://{tmp_path}") == local_path(str(tmp_path)) == tmp_path
