"""Files that the user leaves out are counted, and so are the images that lose their only file."""

from __future__ import annotations

import functools
import zipfile

import pytest

from sharding.contract import UserError
from sharding.sources import folder, mimic_cxr, open_i
from sharding.sources.files import ignored, packed
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable

NAMES = ("a.png", "thumbs/a.png", "x/thumbs/b.png", "old/c.tif", "x/old/c.png", "d[1].png")


@pytest.fixture
def root(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def read(root, *patterns, table=None):
    columns = FolderTable(table, "image", "text") if table else None
    return ignored.read(functools.partial(folder.read, columns=columns), Inventory.of(str(root)), patterns, table or "")


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), NAMES),
        (("thumbs",), ("a.png", "old/c.tif", "x/old/c.png", "d[1].png")),
        (("thumbs/",), ("a.png", "old/c.tif", "x/old/c.png", "d[1].png")),
        (("*.tif", "b.png"), ("a.png", "thumbs/a.png", "x/old/c.png", "d[1].png")),
        (("/old",), ("a.png", "thumbs/a.png", "x/thumbs/b.png", "x/old/c.png", "d[1].png")),
        (("old/*.png",), ("a.png", "thumbs/a.png", "x/thumbs/b.png", "old/c.tif", "d[1].png")),
        (("x/*",), ("a.png", "thumbs/a.png", "old/c.tif", "d[1].png")),
        (("d[[]1].png", "?.png"), ("old/c.tif",)),
    ],
)
def test_which_files_a_pattern_fits(root, patterns, left):
    listing = read(root, *patterns)
    assert sorted(image.id for image in listing.images) == sorted(left)
    assert listing.left_out.get(ignored.FILES, 0) == len(NAMES) - len(left)
    assert not listing.notes


def test_a_pattern_may_name_the_whole_path(root):
    assert read(root, f"{root}/old/*").left_out == {ignored.FILES: 1}


def test_a_pattern_that_fits_nothing_is_noted(root):
    assert read(root, "*.bmp", "*.jpg", "old").notes == {ignored.UNUSED: 2}


@pytest.mark.parametrize(("pattern", "words"), [("*", "every file"), ("", "empty pattern"), ("/", "empty pattern")])
def test_a_pattern_without_sense_is_a_mistake(root, pattern, words):
    with pytest.raises(UserError, match=words):
        read(root, pattern)


def test_a_name_that_fits_several_files_fits_one_without_the_others(root):
    for name in ("x/e.png", "thumbs/e.png"):
        (root / name).write_bytes(b"x")
    (root / "t.csv").write_text("image,text\ne.png,Edema.\nb.png,x\ngone.png,x\n")
    images = read(root, table="t.csv").images
    assert [(image.id, image.several) for image in images] == [("e.png", True), ("b.png", False), ("gone.png", False)]
    listing = read(root, "thumbs", table="t.csv")
    assert [image.file.removeprefix(f"{root}/") for image in listing.images] == ["x/e.png", ""]
    assert listing.left_out == {ignored.FILES: 3, ignored.IMAGES: 1}


@pytest.mark.parametrize("pattern", ["*.zip", "z.zip", "x/z.zip", "z.zip/s", "z.zip/s/b.png", "x/z"])
def test_a_pattern_may_name_a_zip_or_a_file_in_it(root, pattern):
    with zipfile.ZipFile(root / "x/z.zip", "w") as archive:
        archive.writestr("s/b.png", b"z")
    listing = read(root, pattern)
    assert sorted(image.id for image in listing.images) == sorted(NAMES)
    assert (listing.left_out, listing.notes) == ({ignored.FILES: 1}, {})
    assert read(root, "thumbs").notes == {packed.OPENED: 1}
    (root / "t.csv").write_text("image,text\na.png,x\nz/s/b.png,x\n")
    listing = read(root, pattern, "thumbs", table="t.csv")
    assert [image.id for image in listing.images] == ["a.png"]
    assert listing.left_out == {ignored.FILES: 3, ignored.IMAGES: 1}


def test_all_spellings_of_an_ignored_image_are_left_out(root):
    (root / "old/t.csv").write_text("image,text\n../a.png,x\nold/c.tif,x\nc.tif,x\nold\\c.tif,y\ngone.tif,x\n")
    listing = read(root, "*.tif", table="old/t.csv")
    assert [image.id for image in listing.images] == ["../a.png", "gone.tif"]
    assert listing.left_out == {ignored.FILES: 1, ignored.IMAGES: 3}


def test_all_sources_leave_files_out(mimic, tmp_path):
    listing = ignored.read(mimic_cxr.read, Inventory.of(str(mimic)), ["p10000764"])
    assert sorted(image.id for image in listing.images) == ["aa-1", "cc-1"]
    assert listing.left_out == {"lateral or unknown view": 1, ignored.FILES: 2, ignored.IMAGES: 1}
    (tmp_path / "openi").mkdir()
    xml = '<eCitation><uId id="CXR7"/><parentImage id="CXR7_IM-1-{0}"/></eCitation>'
    for number in (1, 2):
        (tmp_path / "openi" / f"{number}.xml").write_text(xml.format(number).replace("CXR7", f"CXR{number}"))
        (tmp_path / "openi" / f"CXR{number}_IM-1-{number}.png").write_bytes(b"x")
    listing = ignored.read(open_i.read, Inventory.of(str(tmp_path / "openi")), ["CXR2*.png"])
    assert [image.id for image in listing.images] == ["CXR1_IM-1-1"]
    assert listing.left_out == {ignored.FILES: 1, ignored.IMAGES: 1}
