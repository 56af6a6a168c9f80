"""The content of a .zip is found, judged and named as if it were unpacked."""

from __future__ import annotations

import zipfile

import pytest

from sharding.build import run
from sharding.build.sentence_tuple import SampleSettings
from sharding.deid.private_folder import open_private
from sharding.sources import folder, mimic_cxr
from sharding.sources.files import file_kinds, ignored, packed
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable
from sharding.store.zip_members import MemberFault
from tests.sharding.conftest import build_with


def write(path, **files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
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
