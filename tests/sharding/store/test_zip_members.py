"""Files in a .zip are read whole or not at all, from a folder and by byte ranges; a .zip made to harm is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharding.store import locations, zip_members
from sharding.store.folder import Folder
from sharding.store.range_file import RangeFile
from sharding.store.zip_members import MemberFault


def zip_of(files, compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
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
