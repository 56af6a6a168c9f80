"""Every changed byte of a file beside the shards is found, `sha256sum` agrees, and older data sets stay valid."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding import checksums, manifest
from sharding.contract import UserError
from sharding.store.base import Store
from sharding.store.locations import open_store
from sharding.verify import check, verify_checksums
from tests.sharding.leaks.pictures import data_set, rewrite

SIDE_FILES = ("SHA256SUMS", "audit.json", "manifest.parquet", "quarantine.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    samples = [(f"p{n}", np.full((20 + n, 30), 40 * n, np.uint8), f"Nodule of {n} cm.") for n in range(3)]
    return data_set(tmp_path_factory.mktemp("built"), [*samples, ("p4", b"<html>", "Edema.")])


@pytest.fixture
def out(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out"))


class OneChanged(Store):
    """A folder in which one file has other bytes."""

    def __init__(self, store: Store, name: str, data: bytes) -> None:
        self._store, self._name, self._data, self.url = store, name, data, store.url

    def find(self, name: str) -> bytes | None:
        return self._data if name == self._name else self._store.find(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._store.get_range(name, offset, length)

    def size(self, name: str) -> int | None:
        return self._store.size(name)

    def list(self, prefix: str = "") -> list[str]:
        return self._store.list(prefix)

    put = put_file = delete = states = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", SIDE_FILES)
def test_any_change_of_any_byte_is_found(built, name):
    """Each position once, by each of the eight bits in turn."""
    store = open_store(built)
    original = store.get(name)
    unseen = []
    for position in range(len(original)):
        data = bytearray(original)
        data[position] ^= 1 << position % 8
        if not list(verify_checksums.faults_of_files(OneChanged(store, name, bytes(data)))):
            unseen.append(position)
    assert len(original) > 200
    assert unseen == []


@pytest.mark.parametrize("name", SIDE_FILES)
def test_verify_itself_finds_any_changed_byte(built, tmp_path_factory, name):
    """The whole command, for any position and any other value: a fault, or one line of refusal, and no crash."""
    folder = Path(shutil.copytree(built, tmp_path_factory.mktemp("copy") / "out"))
    original = (folder / name).read_bytes()

    @settings(max_examples=40)
    @given(st.integers(0, len(original) - 1), st.integers(1, 255))
    def changed(position, change):
        data = bytearray(original)
        data[position] ^= change
        (folder / name).write_bytes(data)
        faults = list(_faults_or_refusal(folder))
        assert faults
        assert all(len(fault.splitlines()) == 1 for fault in faults)

    changed()


def _faults_or_refusal(folder: Path) -> Iterator[str]:
    try:
        yield from check(str(folder)).faults
    except UserError as error:
        yield str(error)


@given(st.binary(max_size=300) | st.text("0123456789abcdef \nmanifest.parquet", max_size=300).map(str.encode))
def test_any_bytes_are_checksums_or_none(data):
    stored = checksums.decode(data)
    assert stored is None or "".join(f"{stored[name]}  {name}\n" for name in sorted(stored)).encode() == data


def test_the_line_names_the_file_and_the_remedy(out):
    (out / "audit.json").write_bytes((out / "audit.json").read_bytes().replace(b"  ", b"\t", 1))
    assert check(str(out)).faults == [
        "audit.json: differs from its checksum in SHA256SUMS; copy the data set again, or build it again"
    ]
    (out / "SHA256SUMS").write_bytes(b"")
    assert check(str(out)).faults == [
        "SHA256SUMS: damaged, or not as a build writes it; copy the data set again, or build it again"
    ]


def test_the_values_are_those_of_sha256sum(out):
    lines = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in SIDE_FILES[1:]]
    assert (out / "SHA256SUMS").read_text() == "".join(lines)
    check_all = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check_all, cwd=out, check=False, capture_output=True).returncode == 0
    (out / "manifest.parquet").write_bytes(b"PAR1")
    assert subprocess.run(check_all, cwd=out, check=False, capture_output=True).returncode == 1


def test_checksums_that_were_deleted_are_a_fault(out):
    assert manifest.read(str(out)).metadata["checksums"] == "SHA256SUMS"
    (out / "SHA256SUMS").unlink()
    findings = check(str(out))
    assert findings.faults == [
        "SHA256SUMS: missing, and the manifest says that there is one; copy the data set again, or build it again"
    ]
    assert findings.notes == []


def test_a_data_set_of_an_earlier_version_is_valid_and_verify_says_what_it_lacks(out):
    stored = manifest.read(str(out))
    rewrite(out, stored.table, stored.metadata)  # as an earlier version wrote it, which did not speak of checksums
    assert "checksums" not in manifest.read(str(out)).metadata
    (out / "SHA256SUMS").unlink()
    findings = check(str(out))
    assert findings.faults == []
    assert findings.lines()[1].startswith("note: no SHA256SUMS, as in a data set of an earlier version")
    assert findings.as_dict()["notes"] == [verify_checksums.MISSING]
    assert manifest.read(str(out)).table.num_rows == 3
