"""The content of a .zip is found, judged and named as if it were unpacked."""

from __future__ import annotations

import errno
import warnings
import zipfile

import pytest

from sharding.build import run
from sharding.build.sentence_tuple import SampleSettings
from sharding.contract import UserError
from sharding.deid.private_folder import open_private
from sharding.sources import folder, mimic_cxr
from sharding.sources.files import file_kinds, ignored, packed
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable
from sharding.store import locations
from sharding.store.zip_members import MemberFault
from tests.sharding.conftest import build_with


def write(path, *repeated, **files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name, data in [*repeated, *files.items()]:
            archive.writestr(name, data)


def names(root):
    return sorted(Inventory.of(str(root)).states)


def read(root, columns=None):
    return ignored.read(lambda inventory: folder.read(inventory, columns), Inventory.of(str(root)), ())


def test_names_are_those_of_an_unpacked_folder(tmp_path):
    write(tmp_path / "x/study.zip", **{"a.dcm": b"1", "s/b.dcm": b"2", "empty/": b""})
    write(tmp_path / "Other.ZIP", **{"Other/c.dcm": b"3", "Other/s/d.dcm": b"4"})
    assert names(tmp_path) == ["Other/c.dcm", "Other/s/d.dcm", "x/study/a.dcm", "x/study/s/b.dcm"]
    inventory = Inventory.of(str(tmp_path))
    assert [inventory.read(name) for name in names(tmp_path)] == [b"3", b"4", b"1", b"2"]
    assert inventory.notes == {packed.OPENED: 2}


def test_what_is_in_a_zip_is_judged_like_any_other_file(tmp_path):
    litter = {"README.txt": b"x", "__MACOSX/._a.dcm": b"x", "Thumbs.db": b"x", "inner.zip": b"x", "DICOMDIR": b"x"}
    write(tmp_path / "a.zip", **litter, **{"a.dcm": b"1", "../b.dcm": b"x"})
    listing = read(tmp_path)
    assert [image.id for image in listing.images] == ["a/a.dcm"]
    assert listing.left_out == {
        file_kinds.OTHER: 2, file_kinds.SYSTEM: 2, file_kinds.PACKAGE: 1, MemberFault.NAME.value: 1}  # fmt: skip


def test_files_that_lie_unpacked_beside_their_zip_are_read_once(tmp_path):
    write(tmp_path / "a.zip", **{"a.dcm": b"1", "b.dcm": b"22", "c.dcm": b"3"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a.dcm").write_bytes(b"1")
    (tmp_path / "b.dcm").write_bytes(b"22")
    listing = read(tmp_path)
    assert [image.id for image in listing.images] == ["a/a.dcm", "a/c.dcm", "b.dcm"]
    assert listing.left_out == {packed.UNPACKED: 2}


def test_another_file_of_the_same_name_and_size_is_no_copy(tmp_path):
    """Raw DICOM files of one device all have one size."""
    write(tmp_path / "a.zip", **{"1.dcm": b"in zip", "2.dcm": b"zipped", "s/3.dcm": b"packed"})
    files = {"a/1.dcm": b"beside", "2.dcm": b"beside", "s/3.dcm": b"packed"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    inventory = Inventory.of(str(tmp_path))
    assert {name: inventory.read(name) for name in inventory.states} == {
        **files, "a.zip/1.dcm": b"in zip", "a/2.dcm": b"zipped"}  # fmt: skip
    assert inventory.left_out == {packed.UNPACKED: 1}


def test_two_zips_of_one_folder_are_both_read(tmp_path):
    write(tmp_path / "a.zip", **{"1.dcm": b"1"})
    write(tmp_path / "a.ZIP", **{"1.dcm": b"2", "2.dcm": b"3"})
    inventory = Inventory.of(str(tmp_path))
    assert {name: inventory.read(name) for name in inventory.states} == {
        "a/1.dcm": b"2", "a/2.dcm": b"3", "a.zip/1.dcm": b"1"}  # fmt: skip


def test_names_that_are_one_are_counted(tmp_path):
    names = ("b\\1.dcm", "b/1.dcm", "2.dcm", "2.dcm", "3.dcm")
    write(tmp_path / "a.zip", *((name, name.encode() + bytes(place)) for place, name in enumerate(names)))
    inventory = Inventory.of(str(tmp_path))
    assert {name: inventory.read(name) for name in inventory.states} == {
        "a/b/1.dcm": b"b\\1.dcm", "a/2.dcm": b"2.dcm" + bytes(3), "a/3.dcm": b"3.dcm" + bytes(4)}  # fmt: skip
    assert inventory.left_out == {packed.ONE_NAME: 1, MemberFault.REPEATED.value: 1}


def test_a_zip_in_a_store_out_of_reach_ends_the_listing(tmp_path, monkeypatch):
    def failing(location):
        raise UserError("s3://b cannot be reached")

    write(tmp_path / "a.zip", **{"1.dcm": b"1"})
    monkeypatch.setattr(locations, "open_file", failing)
    with pytest.raises(UserError, match="cannot be reached"):
        Inventory.of(str(tmp_path))


def test_a_zip_without_the_right_to_read_it_is_no_damaged_one(tmp_path, monkeypatch):
    def denied(location):
        raise PermissionError(errno.EACCES, "Permission denied")

    write(tmp_path / "Doe.zip", **{"1.dcm": b"1"})
    monkeypatch.setattr(locations, "open_file", denied)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); check its rights") as caught:
        Inventory.of(str(tmp_path))
    assert "Doe" not in str(caught.value)


def test_a_broken_link_to_a_zip_is_noted(tmp_path):
    (tmp_path / "a.zip").symlink_to("gone.zip")
    (tmp_path / "b.dcm").write_bytes(b"x")
    assert Inventory.of(str(tmp_path)).notes == {packed.BROKEN: 1}


def test_an_input_of_nothing_to_read_is_a_mistake_with_its_counts(tmp_path):
    write(tmp_path / "a.zip")
    write(tmp_path / "b.zip", **{"../x.dcm": b"x"})
    with pytest.raises(UserError, match=r"no file in it that can be read \(packed .* 2, .* leads out of it 1\)"):
        Inventory.of(str(tmp_path))


def test_a_zip_that_cannot_be_opened_stays_packed_and_is_noted(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "b.dcm").write_bytes(b"x")
    listing = read(tmp_path)
    assert [image.id for image in listing.images] == ["b.dcm"]
    assert (listing.left_out, listing.notes) == ({file_kinds.PACKAGE: 2}, {packed.UNREADABLE: 1})


@pytest.mark.parametrize("name", ["a/x.dcm", "x.dcm", "/old/a/x.dcm", "A/X", "a\\x.dcm"])
def test_a_table_names_files_of_a_zip_as_it_names_others(tmp_path, name):
    write(tmp_path / "a.zip", **{"x.dcm": b"1", "y.dcm": b"1"})
    (tmp_path / "t.csv").write_text(f"image,text\n{name},Clear.\n")
    [image] = read(tmp_path, FolderTable("t.csv", "image", "text")).images
    assert image.file == f"{tmp_path}/a.zip!/x.dcm"


def test_the_reports_of_mimic_may_stay_packed(mimic):
    reports = {path.relative_to(mimic).as_posix(): path.read_bytes() for path in mimic.rglob("*.txt")}
    unpacked = mimic_cxr.read(Inventory.of(str(mimic)))
    for path in mimic.rglob("*.txt"):
        path.unlink()
    write(mimic / "mimic-cxr-reports.zip", **reports)
    listing = mimic_cxr.read(Inventory.of(str(mimic)))
    assert len(listing.images) == len(unpacked.images) == 3
    assert listing.notes == unpacked.notes
    assert all("mimic-cxr-reports.zip!/files/p10/" in image.text_file for image in listing.images)


def test_shards_of_a_zip_are_those_of_the_unpacked_folder(tmp_path, png_bytes):
    files = {f"s/{number}.png": png_bytes(mode="RGB") + bytes(number) for number in range(3)}
    write(tmp_path / "zip/study.zip", **files)
    with zipfile.ZipFile(tmp_path / "zip/study.zip") as archive:
        archive.extractall(tmp_path / "plain/study")
    written = []
    for name in ("zip", "plain"):
        (tmp_path / f"{name}-private").mkdir()
        (tmp_path / f"{name}-private/salt").write_bytes(b"s" * 32)
        private = open_private(tmp_path / f"{name}-private", str(tmp_path / name), str(tmp_path / f"{name}-out"))
        settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True))
        account = build_with(read(tmp_path / name), settings, tmp_path / f"{name}-out", private)
        assert account.written == 3
        written.append((tmp_path / f"{name}-out/shard-000000.tar").read_bytes())
    assert written[0] == written[1]
