"""Every member of a tar is found in order, and nothing is hidden between or after them."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.build.writer import MODE, OWNER
from sharding.store.locations import open_store
from sharding.verify import tarwalk
from sharding.verify.tarwalk import DamagedTar, TarWalk


def header(name="a.jpg", size=0, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.uname, info.gname = size, kind, MODE, OWNER, OWNER
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(*members, kind=tarfile.USTAR_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def walk_over(folder, data):
    (folder / "shard").write_bytes(data)
    return TarWalk(open_store(folder), "shard", len(data), lambda _: None)


@pytest.mark.parametrize("chunk", [512, 700, 1 << 20])
def test_members_are_what_the_tar_reader_finds(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(tarwalk, "CHUNK", chunk)
    contents = {"a.jpg": b"x" * 1000, "a.json": b"{}", "b.jpg": b"", "b.json": b"y" * 512}
    data = tar(*((header(name, len(content)), content) for name, content in contents.items()))
    walk = walk_over(tmp_path, data)
    members = list(walk.members())
    with tarfile.open(fileobj=io.BytesIO(data)) as plain:
        places = [(member.name, member.offset_data, member.size) for member in plain]
    assert [(member.name, member.offset, member.size) for member in members] == places
    assert {member.name: member.data for member in members} == contents
    assert [member.sha256 for member in members] == [hashlib.sha256(c).hexdigest() for c in contents.values()]
    assert not any(member.anomaly for member in members)
    assert walk.sha256() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("info", "anomaly"),
    [
        (header(kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "not a plain file"),
        (header(kind=tarfile.LNKTYPE, linkname="a.jpg"), "not a plain file"),
        (header(kind=tarfile.DIRTYPE), "not a plain file"),
        (header(kind=tarfile.CHRTYPE), "not a plain file"),
        (header(kind=tarfile.FIFOTYPE), "not a plain file"),
        (header(uname="dr.smith"), "an owner"),
        (header(uid=1000), "an owner"),
        (header(mtime=1_600_000_000), "an owner, a time"),
        (header(mode=0o777), "permissions"),
    ],
)
def test_what_a_build_never_writes_is_an_anomaly(tmp_path, info, anomaly):
    members = list(walk_over(tmp_path, tar((info, b""))).members())
    assert [anomaly in member.anomaly for member in members] == [True]


def test_extended_headers_are_not_followed(tmp_path):
    """A reader of tars would take the long name; here it is a member of its own with an anomaly."""
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        members = list(walk_over(tmp_path, tar((header("d" * 200 + "/a.jpg", 1), b"x"), kind=kind)).members())
        assert len(members) == 2
        assert "extended header" in members[0].anomaly


def test_padding_that_is_not_empty_is_an_anomaly(tmp_path):
    data = bytearray(tar((header("a.jpg", 3), b"abc")))
    data[512 + 100] = 1
    assert next(walk_over(tmp_path, bytes(data)).members()).anomaly == "its padding is not empty"


def test_data_after_the_end_is_damage(tmp_path):
    data = bytearray(tar((header("a.jpg", 3), b"abc")))
    data[-1] = 1
    with pytest.raises(DamagedTar, match="follows its end"):
        list(walk_over(tmp_path, bytes(data)).members())


@pytest.mark.parametrize("length", [0, 100, 512, 700, 1024, 1500])
def test_a_cut_tar_is_damage_and_has_a_checksum_all_the_same(tmp_path, length):
    data = tar((header("a.jpg", 700), b"x" * 700))[:length]
    walk = walk_over(tmp_path, data)
    with pytest.raises(DamagedTar):
        list(walk.members())
    assert walk.sha256() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\x7f" * 11, b"\xff" * 12, b"no number\0\0\0"])
def test_a_size_that_cannot_be_is_damage(tmp_path, size):
    data = bytearray(tar((header(), b"")))
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    with pytest.raises(DamagedTar):
        list(walk_over(tmp_path, bytes(data)).members())


def test_a_member_too_large_to_hold_is_only_summed(tmp_path, monkeypatch):
    monkeypatch.setattr(tarwalk, "MAX_MEMBER", 99)
    content = b"x" * 100
    members = list(walk_over(tmp_path, tar((header("a.jpg", 100), content))).members())
    assert (members[0].data, members[0].sha256) == (None, hashlib.sha256(content).hexdigest())


@settings(max_examples=200)
@given(st.data())
def test_any_damage_ends_in_members_or_in_damaged(tmp_path_factory, data):
    content = bytearray(tar((header("a.jpg", 600), b"x" * 600), (header("a.json", 2), b"{}")))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 2600))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    walk = walk_over(tmp_path_factory.mktemp("any"), bytes(content))
    try:
        members = list(walk.members())
    except DamagedTar:
        members = []
    assert all(member.size <= len(content) for member in members)
    assert walk.sha256() == hashlib.sha256(content).hexdigest()
