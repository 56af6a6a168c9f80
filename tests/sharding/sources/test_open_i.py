"""Open-i becomes rows from each of its distributions, and no XML can do harm."""

from __future__ import annotations

import io
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from sharding.contract import UserError
from sharding.sources import open_i, open_i_tables, open_i_xml
from sharding.sources.files.inventory import Inventory


def xml(number: int, *images: str, findings: str = "Heart is &lt;large&gt;.\n No XXXX.") -> str:
    elements = "".join(f'<parentImage id="{image}"><panel><url>/x</url></panel></parentImage>' for image in images)
    return f"""<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{number}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION"/>
</Abstract></Article></MedlineCitation>{elements}</eCitation>"""


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def read(root: Path, **options):
    return open_i.read(Inventory.of(str(root)), **options)


@pytest.fixture
def collection(tmp_path, png_bytes) -> Path:
    """Two reports with three images, of which one file is missing."""
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "ecgen-radiology" / "7.xml").write_text(xml(7, "CXR7_IM-1-1001", "CXR7_IM-1-2001"))
    (tmp_path / "ecgen-radiology" / "8.xml").write_text(xml(8, "CXR8_8_IM-2-1001", findings="Clear."))
    for name in ("CXR7_IM-1-1001", "CXR8_8_IM-2-1001"):
        (tmp_path / "images" / f"{name}.png").write_bytes(png_bytes())
    return tmp_path


def test_reports_and_images_are_joined(collection):
    listing = read(collection)
    assert [(s.id, s.study, s.patient, s.file) for s in listing.images] == [
        ("CXR7_IM-1-1001", "CXR7", "CXR7", f"{collection}/images/CXR7_IM-1-1001.png"),
        ("CXR7_IM-1-2001", "CXR7", "CXR7", ""),
        ("CXR8_8_IM-2-1001", "CXR8", "CXR8", f"{collection}/images/CXR8_8_IM-2-1001.png"),
    ]
    assert listing.images[0].text == "COMPARISON: None.\n\nFINDINGS: Heart is <large>. No XXXX."
    assert (listing.left_out, listing.notes) == ({}, {"view unknown, kept": 3})


@pytest.mark.parametrize("ending", [".tgz", ".tar.gz", ".tar"])
def test_reports_are_read_out_of_their_archive(collection, ending):
    expected = read(collection)
    folder = collection / "ecgen-radiology"
    members = {f"ecgen-radiology/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    tar(collection / f"reports{ending}", members, "w" if ending == ".tar" else "w:gz")
    assert read(collection).left_out == {"report that repeats another": 2}
    shutil.rmtree(folder)
    assert read(collection) == expected
    assert not folder.exists()


@pytest.mark.parametrize("ending", [".dcm", ".jpg", ".JPEG", ".dcm.png"])
def test_images_of_other_distributions(collection, ending):
    for path in sorted((collection / "images").iterdir()):
        path.rename(path.with_name(path.stem.removeprefix("CXR").replace("8_8_", "8_") + ending))
    assert [bool(image.file) for image in read(collection).images] == [True, False, True]


def test_an_image_in_two_folders_is_not_chosen_from(collection):
    shutil.copytree(collection / "images", collection / "again")
    assert not any(image.file for image in read(collection).images)
    shutil.rmtree(collection / "again")
    shutil.copy(collection / "images/CXR7_IM-1-1001.png", collection / "images/CXR7_IM-1-1001.dcm")
    assert read(collection).images[0].file.endswith(".png")


def test_projections_tell_frontal_from_lateral(collection):
    (collection / "indiana_projections.csv").write_text(
        "uid,filename,projection\n7,7_IM-1-1001.dcm.png,Frontal\n7,7_IM-1-2001.dcm.png,Lateral\n"
    )
    listing = read(collection)
    assert [(s.id, s.view) for s in listing.images] == [("CXR7_IM-1-1001", "FRONTAL"), ("CXR8_8_IM-2-1001", "")]
    assert listing.left_out == {"not a frontal view": 1}
    assert listing.notes == {"view unknown, kept": 1}
    assert len(read(collection, frontal_only=False).images) == 3


def test_projections_that_disagree_tell_nothing(collection):
    (collection / "indiana_projections.csv").write_text(
        "uid,filename,projection\n7,7_IM-1-1001.dcm.png,Frontal\n7,7_IM-1-1001.dcm.png,Lateral\n"
    )
    assert read(collection).images[0].view == ""


def test_the_tables_of_kaggle_serve_where_there_is_no_xml(collection):
    shutil.rmtree(collection / "ecgen-radiology")
    (collection / "Indiana_Projections.csv").write_text(
        "uid,filename,projection\n7,7_IM-1-1001.dcm.png,Frontal\n8,8_IM-2-1001.dcm.png,Frontal\n"
    )
    (collection / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        "7,normal,normal,x,cough,None.,Heart is <large>.,\n9,a,b,c,d,e,f,g\n8,a,b,c,,,Clear.,Normal.\n"
    )
    listing = read(collection)
    assert [(s.id, s.patient, bool(s.file), s.text) for s in listing.images] == [
        ("7_IM-1-1001.dcm.png", "CXR7", True, "INDICATION: cough\n\nCOMPARISON: None.\n\nFINDINGS: Heart is <large>."),
        ("8_IM-2-1001.dcm.png", "CXR8", True, "FINDINGS: Clear.\n\nIMPRESSION: Normal."),
    ]
    assert listing.left_out == {"report without an image": 1}


@pytest.mark.parametrize("listed", ["7\n", "CXR7\n", "7.xml\n", "uid\n7\n"])
def test_listed_reports_are_left_out(collection, tmp_path_factory, listed):
    path = tmp_path_factory.mktemp("list") / ("list.csv" if "uid" in listed else "list.txt")
    path.write_text(listed)
    listing = read(collection, exclude=str(path))
    assert [image.patient for image in listing.images] == ["CXR8"]
    assert listing.left_out == {"excluded subject": 2}


def test_two_reports_of_one_id_and_two_reports_of_one_image_are_left_out(collection):
    folder = collection / "ecgen-radiology"
    (folder / "7b.xml").write_text(xml(7, "CXR7_IM-1-1001", findings="Other."))
    assert read(collection).left_out == {"report whose id another one has": 2}
    (folder / "7b.xml").write_text(xml(9, "CXR7_IM-1-1001"))
    listing = read(collection)
    assert [image.id for image in listing.images] == ["CXR7_IM-1-2001", "CXR8_8_IM-2-1001"]
    assert listing.left_out == {"image of two reports": 2}


def test_a_report_without_an_id_is_known_by_its_file(collection):
    text = xml(8, "CXR8_8_IM-2-1001").replace('<uId id="CXR8"/>', "")
    (collection / "ecgen-radiology" / "8.xml").write_text(text)
    assert [image.patient for image in read(collection).images] == ["CXR7", "CXR7", "8"]


def test_a_label_that_is_no_header_opens_no_part_of_the_report():
    text = xml(7, "a").replace('<AbstractText Label="IMPRESSION"/>', '<AbstractText Label="Jane Doe">X.</AbstractText>')
    report = open_i_xml.parse(text.encode(), "7")
    assert report is not None
    assert report.text.endswith("No XXXX.\n\nOTHER: X.")


BOMB = "<!DOCTYPE x [<!ENTITY a 'b'>" + "".join(f"<!ENTITY {c} '{'&a;' * 10}'>" for c in "cdefgh") + "]>"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        xml(1).encode("utf-16"),
        xml(1).replace("large", "\xff").encode("latin-1"),
        (BOMB + xml(1).split("?>")[1]).encode(),
        ("<<!--!DOCTYPE x>-->" + xml(1)).encode(),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><eCitation/>',
        b"<eCitation>&x;</eCitation>",
        b"<other/>",
        xml(1, "a")[:-5].encode(),
        b"<eCitation>" + b"<a>" * 100_000,
        b'<?xml version="1.0" encoding="utf-7"?><eCitation>+ADw-</eCitation>'[:-3],
    ],
)
def test_what_is_no_report_is_counted(collection, data):
    (collection / "ecgen-radiology" / "9.xml").write_bytes(data)
    listing = read(collection)
    assert len(listing.images) == 3
    assert listing.left_out == {"unreadable report": 1}


def test_deep_nesting_does_no_harm(collection):
    deep = xml(9, findings="<b>" * 60_000 + "x" + "</b>" * 60_000)
    (collection / "ecgen-radiology" / "9.xml").write_text(deep)
    assert read(collection).left_out == {"report without an image": 1}


def test_a_report_too_large_or_out_of_reach_is_counted_unread(collection):
    with open(collection / "ecgen-radiology" / "9.xml", "wb") as file:
        file.truncate(1 << 40)  # as large as a disk, without taking any
    (collection / "ecgen-radiology" / "10.xml").symlink_to("nothing")
    assert read(collection).left_out == {"unreadable report": 2}


def test_links_and_large_members_of_an_archive_are_not_followed(tmp_path, png_bytes):
    secret = tmp_path / "secret.xml"
    secret.write_text(xml(1, "a"))
    root = tmp_path / "in"
    root.mkdir()
    with tarfile.open(root / "reports.tar", "w") as archive:
        for name, kind in (("2.xml", tarfile.SYMTYPE), ("3.xml", tarfile.LNKTYPE), ("4.xml", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
        for name, data in (("5.xml", b" " * (2 << 20)), ("../6.xml", xml(6, "b").encode()), ("._7.xml", b"mac")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    listing = read(root)
    assert [image.id for image in listing.images] == ["b"]
    assert listing.left_out == {"unreadable report": 1}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "reports.tar", "secret.xml"]


def test_damaged_archives_are_said(tmp_path):
    tar(tmp_path / "whole.tar", {f"{number}.xml": xml(number, "a").encode() for number in range(9)}, "w")
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "whole.tar").unlink()
    for damaged in (data[:3000], data[:1024] + b"\1" * 512 + data[1536:], b"x" * 2000, b"", data[: 9 * 1024]):
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(UserError, match="damaged archive"):
            read(tmp_path)
    (tmp_path / "bad.tar").rename(tmp_path / "bad.tgz")
    (tmp_path / "bad.tgz").write_bytes(b"\x1f\x8bx")
    with pytest.raises(UserError, match="damaged gzip"):
        read(tmp_path)


def test_images_in_an_archive_are_asked_for_as_files(tmp_path, png_bytes):
    (tmp_path / "7.xml").write_text(xml(7, "a"))
    tar(tmp_path / "images.tgz", {"a.png": png_bytes()})
    with pytest.raises(UserError, match="the images are still packed; unpack their archive there"):
        read(tmp_path)
    (tmp_path / "a.png").write_bytes(png_bytes())
    assert read(tmp_path).notes == {"image inside an archive, not read": 1, "view unknown, kept": 1}


def test_a_large_archive_is_not_opened(tmp_path):
    (tmp_path / "7.xml").write_text(xml(7, "a"))
    with open(tmp_path / "images.tar", "wb") as file:
        file.truncate(1 << 40)
    assert read(tmp_path).notes["archive too large for reports, not read"] == 1


def test_without_reports_it_is_said_what_is_missing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no \.xml report"):
        read(tmp_path)


def test_one_image_under_three_names():
    names = ("CXR1_1_IM-0001-4001", "CXR1_1_IM-0001-4001.png", "images/1_IM-0001-4001.dcm.png", "1/1_IM-0001-4001.dcm")
    assert {open_i_tables.image_key(name) for name in names} == {"1_im-0001-4001"}
    assert open_i_tables.image_key("CXR3029_IM-1404-1001") == "3029_im-1404-1001"


@pytest.mark.realdata
def test_every_real_report_is_read_or_counted(realdata):
    tracemalloc.start()
    listing = read(realdata / "openi")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({image.patient for image in listing.images}) == 2633 - 58
    assert len(listing.images) == len({image.id for image in listing.images}) == 5006
    assert listing.left_out == {"report without an image": 58}
    assert peak < 200 << 20
