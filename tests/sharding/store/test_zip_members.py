"""Files in a .zip are read whole or not at all, from a folder and by byte ranges; a .zip made to harm is refused."""

from __future__ import annotations

import errno
import io
import struct
import warnings
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharding.contract import UserError
from sharding.store import locations, zip_members
from sharding.store.folder import Folder
from sharding.store.range_file import RangeFile
from sharding.store.zip_members import MemberFault


def zip_of(files, compression=zipfile.ZIP_DEFLATED) -> bytes:
    """A .zip of a mapping, or of pairs, whose names may be repeated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings(action="ignore"):
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return buffer.getvalue()


FILES = {"a.dcm": b"A" * 1000, "b/ü.png": bytes(range(256)) * 9, "c!/d.jpg": b""}


@pytest.fixture
def packed(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of(FILES))
    return tmp_path / "a.zip"


def listed(data: bytes):
    return zip_members.members(io.BytesIO(data))


def test_every_file_is_read_by_its_location(packed):
    for member in listed(packed.read_bytes()):
        assert member.fault is None
        assert locations.read(zip_members.location(str(packed), member)) == FILES[member.name]
        assert member.state.split("-")[0] == str(len(FILES[member.name]))


def test_a_zip_in_a_store_is_read_by_byte_ranges(packed, monkeypatch):
    asked = []
    store = Folder(packed.parent)
    ranges = store.get_range
    monkeypatch.setattr(store, "get_range", lambda *span: asked.append(span[2]) or ranges(*span))
    file = io.BufferedReader(RangeFile(store, "a.zip"), 64)
    with zipfile.ZipFile(file) as archive:
        assert {name: zip_members.read(archive, name) for name in FILES} == FILES
    assert max(asked) < packed.stat().st_size
    with pytest.raises(FileNotFoundError):
        RangeFile(store, "b.zip")


class Failing(Folder):
    """A store out of reach, or a file that is shorter than it was, from the first request of bytes that is told."""

    error: Exception | None = None

    def get_range(self, name, offset, length):
        if self.error:
            raise self.error
        return super().get_range(name, offset, length)


DOWN = UserError("s3://b cannot be reached: connection refused")


def test_a_store_out_of_reach_is_no_damage(packed, monkeypatch):
    large = {"a.dcm": b"A" * (1 << 20), "b.dcm": b"B" * (1 << 20)}  # more than is read at once
    packed.write_bytes(zip_of(large, zipfile.ZIP_STORED))
    store = Failing(packed.parent)
    monkeypatch.setattr(locations, "_open_bucket", lambda root: store)
    locations._open_zip.cache_clear()
    store.error = DOWN
    with pytest.raises(UserError, match="cannot be reached"):
        locations.read("s3://b/a.zip!/a.dcm")
    store.error = None
    assert locations.read("s3://b/a.zip!/a.dcm") == large["a.dcm"]
    store.error = DOWN
    with pytest.raises(UserError, match="cannot be reached"):
        locations.read("s3://b/a.zip!/a.dcm")
    store.error = None
    assert locations.read("s3://b/a.zip!/b.dcm") == large["b.dcm"]
    store.error = DOWN
    with pytest.raises(UserError, match="cannot be reached"), locations.open_file("s3://b/a.zip") as file:
        zip_members.members(file)
    locations._open_zip.cache_clear()


def test_a_zip_that_got_shorter_in_a_store_loses_its_files_alone(packed, monkeypatch):
    store = Failing(packed.parent)
    store.error = store._short("a.zip", 10)
    monkeypatch.setattr(locations, "_open_bucket", lambda root: store)
    locations._open_zip.cache_clear()
    with pytest.raises(OSError, match="shorter than it was"):
        locations.read("s3://b/a.zip!/a.dcm")
    locations._open_zip.cache_clear()


class Unreadable(io.BytesIO):
    def read(self, size=-1):
        raise OSError(errno.EIO, "Input/output error")


def test_an_error_of_the_disk_is_no_damage():
    """`zipfile` says of both that the file is no .zip."""
    with pytest.raises(OSError, match="Input/output error") as caught:
        zip_members.members(Unreadable(zip_of(FILES)))
    assert not isinstance(caught.value, zip_members.DamagedZipError)
    with pytest.raises(zip_members.DamagedZipError):
        listed(b"")


def test_of_files_with_one_name_the_last_is_read_and_the_others_are_counted(packed):
    packed.write_bytes(zip_of([("x", b"1"), ("y", b"2"), ("x", b"33"), ("x", b"444")]))
    found = listed(packed.read_bytes())
    faults = [MemberFault.REPEATED, None, MemberFault.REPEATED, None]
    assert [(member.stored, member.size) for member in found] == [("x", 1), ("y", 1), ("x", 2), ("x", 3)]
    assert [member.fault for member in found] == faults
    assert locations.read(f"{packed}!/x") == b"444"


def test_a_name_with_a_nul_is_not_read_as_the_part_before_it(packed):
    data = zip_of([("a.dcm", b"1"), ("a.dcm?x", b"2"), ("b.dcm?y", b"3")]).replace(b"dcm?", b"dcm\0")
    packed.write_bytes(data)
    assert [(member.name, member.fault) for member in listed(data)] == [
        ("a.dcm", MemberFault.REPEATED),
        ("a.dcm", MemberFault.NAME),
        ("b.dcm", MemberFault.NAME),
    ]
    with pytest.raises(OSError, match="leads out"):
        locations.read(f"{packed}!/a.dcm")


def test_a_file_without_a_name_is_counted():
    data = zip_of({"?.dcm": b"1", "b": b"2"}).replace(b"?.dcm", b"\0.dcm")
    assert [(member.name, member.fault) for member in listed(data)] == [("", MemberFault.NAME), ("b", None)]


def test_a_file_of_a_zip_that_changed_is_read_anew(packed):
    location = f"{packed}!/a.dcm"
    assert locations.read(location) == b"A" * 1000
    packed.write_bytes(zip_of({"a.dcm": b"new"}))
    assert locations.read(location) == b"new"
    packed.write_bytes(zip_of({"other": b"new", "x": b"y"}))
    with pytest.raises(FileNotFoundError, match=r"no longer in its \.zip"):
        locations.read(location)
    packed.write_bytes(b"no zip")
    with pytest.raises(OSError, match=r"a damaged \.zip"):
        locations.read(location)


def test_a_folder_with_such_a_name_is_no_zip(tmp_path):
    (tmp_path / "a.zip!").mkdir()
    (tmp_path / "a.zip!" / "b.dcm").write_bytes(b"x")
    assert locations.read(f"{tmp_path}/a.zip!/b.dcm") == b"x"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../a.dcm", MemberFault.NAME),
        ("x/../../a.dcm", MemberFault.NAME),
        ("/etc/passwd", MemberFault.NAME),
        ("..\\a.dcm", MemberFault.NAME),
        ("C:\\a.dcm", MemberFault.NAME),
        ("a\n.dcm", MemberFault.NAME),
        ("x//a.dcm", MemberFault.NAME),
        ("x\\a.dcm", None),
        ("x/..a.dcm", None),
    ],
)
def test_names_that_lead_out_are_not_read(tmp_path, name, fault):
    (tmp_path / "a.zip").write_bytes(zip_of({name: b"x"}))
    [member] = listed((tmp_path / "a.zip").read_bytes())
    assert member.fault == fault
    if fault:
        with pytest.raises(OSError, match="leads out"):
            locations.read(f"{tmp_path}/a.zip!/{member.stored}")


def test_links_encrypted_files_and_rare_codings_are_not_read():
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    assert [member.fault for member in listed(zip_of({link: b"/etc/passwd"}))] == [MemberFault.LINK]
    assert [member.fault for member in listed(zip_of({"a": b"x"}, zipfile.ZIP_BZIP2))] == [MemberFault.CODING]
    data = bytearray(zip_of({"a": b"x"}))
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    assert [member.fault for member in listed(bytes(data))] == [MemberFault.ENCRYPTED]


def test_a_bomb_is_refused_by_its_declared_size_and_inflates_to_no_more(tmp_path):
    data = zip_of({"bomb": bytes(400 << 20)})
    assert [member.fault for member in listed(data)] == [MemberFault.SIZE]
    # The directory and the local header lie: the file is said to have ten bytes.
    place = data.index(b"PK\x01\x02")
    lying = bytearray(data)
    lying[place + 24 : place + 28] = lying[22:26] = struct.pack("<I", 10)
    (tmp_path / "a.zip").write_bytes(lying)
    with pytest.raises(OSError, match=r"damaged in its \.zip"):
        locations.read(f"{tmp_path}/a.zip!/bomb")


def test_files_that_share_bytes_refuse_the_zip():
    data = zip_of({"a": b"x" * 500, "b": b"y" * 500})
    first, second = (data.index(b"PK\x01\x02", start) for start in (0, data.index(b"PK\x01\x02") + 4))
    shared = bytearray(data)
    shared[second + 42 : second + 46] = shared[first + 42 : first + 46]
    with pytest.raises(OSError, match="share bytes"):
        listed(bytes(shared))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_zips_give_right_bytes_or_one_error(tmp_path, data):
    whole = bytearray(zip_of(FILES))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    (tmp_path / "a.zip").write_bytes(cut)
    try:
        found = listed(cut)
    except OSError:
        return
    for member in found:
        try:
            content = locations.read(zip_members.location(f"{tmp_path}/a.zip", member))
        except OSError:
            continue
        assert content in FILES.values()
