"""A shard is checked in one pass: missing, extra, changed and misplaced members."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sharding import manifest
from sharding.build.writer import MODE, OWNER
from sharding.store.locations import open_store
from sharding.verify import verify_shard
from sharding.verify.verify_shard import faults_of_shard
from tests.sharding.leaks.pictures import data_set

NAME = "shard-000000.tar"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    samples = [(f"p{n}", np.full((20 + n, 30), 40 * n, np.uint8), f"Nodule of {n} cm.") for n in range(3)]
    return data_set(tmp_path_factory.mktemp("built"), samples)


@pytest.fixture
def rows(built):
    return manifest.read(str(built)).table.to_pylist()


def members_of(built):
    with tarfile.open(built / NAME) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def written(members, **fields):
    """A tar of these members, as a build writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uname, info.gname = len(data), MODE, OWNER, OWNER
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def faults_of(folder, data, rows, samples=3):
    """The faults of these bytes, with a checksum that fits them."""
    (folder / NAME).write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "samples": samples}
    return faults_of_shard(open_store(folder), NAME, entry, rows, lambda _: None)


def test_the_tar_of_a_build_is_valid(built, tmp_path, rows):
    assert faults_of(tmp_path, written(members_of(built)), rows) == []
    assert written(members_of(built)) == (built / NAME).read_bytes()


def test_swapped_members_are_out_of_place(built, tmp_path, rows):
    """Two members of equal length exchanged, in a shard with a new checksum."""
    members = members_of(built)
    for one, other in ((0, 2), (1, 3), (0, 1)):
        swapped = list(members)
        swapped[one], swapped[other] = members[other], members[one]
        faults = faults_of(tmp_path, written(swapped), rows)
        assert any("has another offset or size" in fault or "another order" in fault for fault in faults)


def test_exchanged_contents_differ_from_their_checksums(built, tmp_path, rows):
    members = members_of(built)
    (first, image), (second, other) = members[0], members[2]
    members[0], members[2] = (first, other), (second, image)
    faults = faults_of(tmp_path, written(members), rows)
    assert sum("differs from its checksum" in fault for fault in faults) >= 2


def test_a_member_twice_is_a_fault(built, tmp_path, rows):
    members = members_of(built)
    assert any("a duplicate" in fault for fault in faults_of(tmp_path, written([*members, members[0]]), rows))


def test_a_member_too_few_is_a_fault(built, tmp_path, rows):
    faults = faults_of(tmp_path, written(members_of(built)[:-1]), rows)
    assert faults == [f"{NAME}: {rows[2]['key']}.json is missing"]


@pytest.mark.parametrize("name", ["payload.pkl", "../../etc/passwd", "/etc/passwd", "a/b.jpg", "\u2028.jpg"])
def test_a_member_that_no_row_names_is_a_fault_without_its_name(built, tmp_path, rows, name):
    faults = faults_of(tmp_path, written([*members_of(built), (name, b"x")]), rows)
    assert any("is in no row" in fault for fault in faults)
    assert not any(name in fault for fault in faults)
    assert all(len(fault.splitlines()) == 1 for fault in faults)


@pytest.mark.parametrize(
    "fields", [{"uname": "dr.smith"}, {"mtime": 1}, {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}]
)
def test_headers_that_a_build_never_writes_are_a_fault(built, tmp_path, rows, fields):
    faults = faults_of(tmp_path, written(members_of(built), **fields), rows)
    assert any("the member at byte 0 " in fault for fault in faults)


def test_rows_in_another_order_than_the_members(built, tmp_path, rows):
    faults = faults_of(tmp_path, written(members_of(built)), rows[::-1])
    assert faults == [f"{NAME}: webdataset finds other samples than the manifest, or in another order"]


def test_the_number_of_samples_and_bytes_counts(built, tmp_path, rows):
    assert faults_of(tmp_path, written(members_of(built)), rows, 4) == [f"{NAME}: 3 rows, in the manifest 4"]


def test_a_shard_without_samples_is_valid(tmp_path):
    assert faults_of(tmp_path, written([]), [], 0) == []


def test_a_missing_shard_and_a_store_that_fails(tmp_path, rows):
    entry = {"sha256": "0" * 64, "bytes": 1, "samples": 3}
    missing = faults_of_shard(open_store(tmp_path), NAME, entry, rows, lambda _: None)
    assert missing == [f"{NAME}: in the manifest, but missing"]
    (tmp_path / NAME).mkdir()
    assert len(faults_of_shard(open_store(tmp_path), NAME, entry, rows, lambda _: None)) == 1


def test_many_faults_are_cut_short(built, tmp_path, rows, monkeypatch):
    monkeypatch.setattr(verify_shard, "MAX_LINES", 2)
    faults = faults_of(tmp_path, written([(f"{n}.pkl", b"x") for n in range(9)]), rows)
    assert len(faults) == 3
    assert faults[-1].endswith("more faults")


def test_webdataset_reads_the_same_from_the_headers_as_from_the_shard(built, rows):
    """The slow way: the shard itself, with all its bytes."""
    from webdataset import tariterators

    with (built / NAME).open("rb") as stream:
        files = tariterators.tar_file_expander([{"url": "", "stream": stream}])
        slow = [
            (sample["__key__"], len(sample["jpg"]), len(sample["json"])) for sample in tariterators.group_by_keys(files)
        ]
    with tarfile.open(built / NAME) as tar:
        data = (built / NAME).read_bytes()
        members = [(data[member.offset : member.offset + 512], member.size) for member in tar]
    files = tariterators.tar_file_expander([{"url": "", "stream": verify_shard._Replay(members)}])
    fast = [
        (sample["__key__"], len(sample["jpg"]), len(sample["json"])) for sample in tariterators.group_by_keys(files)
    ]
    assert fast == slow
    assert len(fast) == 3


def test_a_large_shard_takes_little_memory(tmp_path):
    """300 MB in one member, of which nothing is held."""
    info = tarfile.TarInfo("0.jpg")
    info.size = 300 << 20
    with (tmp_path / NAME).open("wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(512 + info.size + 1024)
    entry = {"sha256": "0" * 64, "bytes": 512 + info.size + 1024, "samples": 0}
    tracemalloc.start()
    try:
        faults = faults_of_shard(open_store(tmp_path), NAME, entry, [], lambda _: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert any("is in no row" in fault for fault in faults)
    assert peak < 32 << 20
