"""Each layout on disk becomes the same kind of rows."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from sharding.contract import UserError
from sharding.sources import folder as folder_source
from sharding.sources import mimic_cxr, open_i
from sharding.sources.folder import FolderTable

TABLE = FolderTable("table.csv", "image", "text", "patient", "view")


def test_a_table_names_images_anywhere_below(folder):
    studies = folder_source.read(folder, TABLE).studies
    assert [study.image for study in studies[:2]] == ["john-doe-0.png", "john-doe-1.png"]
    assert all(study.path and study.path.parent.name == "images" for study in studies)
    assert (studies[1].patient, studies[1].view, studies[1].split) == ("doe1", "PA", "")


@pytest.mark.parametrize("ending", [".tsv", ".parquet", ".csv.gz"])
def test_tables_of_other_kinds_read_the_same(folder, ending):
    import gzip

    text = (folder / "table.csv").read_text()
    path = folder / f"other{ending}"
    rows = [line.split(",") for line in text.replace('"', "").splitlines()]
    if ending == ".parquet":
        pa.parquet.write_table(pa.table(dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))), path)
    elif ending == ".tsv":
        path.write_text(text.replace('",', '"\t').replace(',"', '\t"').replace(",", "\t"))
    else:
        path.write_bytes(gzip.compress(text.encode()))
    expected = folder_source.read(folder, TABLE).studies
    assert folder_source.read(folder, FolderTable(str(path), "image", "text", "patient", "view")).studies == expected


def test_a_missing_column_names_those_there_are(folder):
    with pytest.raises(UserError, match="no column filename; it has image, text, patient, view"):
        folder_source.read(folder, FolderTable("table.csv", "filename"))


@pytest.mark.parametrize("content", [b"", b"image,text\n\xff\xfe\xff,b\n", b"image,text\na,b,c,d\n"])
def test_a_damaged_table_is_said_in_one_line(folder, content):
    (folder / "bad.csv").write_bytes(content)
    with pytest.raises(UserError, match="CSV") as caught:
        folder_source.read(folder, FolderTable("bad.csv", "image"))
    assert "\n" not in str(caught.value)


def test_an_image_named_twice_is_two_samples(folder):
    (folder / "twice.csv").write_text("image,text\njohn-doe-0.png,Edema.\njohn-doe-0.png,Nodule.\n")
    studies = folder_source.read(folder, FolderTable("twice.csv", "image", "text")).studies
    assert [study.image for study in studies] == ["john-doe-0.png", "john-doe-0.png#2"]
    assert studies[0].path == studies[1].path


def test_a_name_that_fits_several_files_fits_none(folder):
    (folder / "other").mkdir()
    (folder / "other" / "john-doe-0.png").write_bytes(b"x")
    assert folder_source.read(folder, TABLE).studies[0].path is None


def test_without_a_table_every_file_that_may_be_an_image_is_read(folder):
    for name in ("notes.txt", "x.tgz", ".hidden", "noending", "scan.dcm"):
        (folder / name).write_bytes(b"x")
    names = [study.image for study in folder_source.read(folder, None).studies]
    assert {"noending", "scan.dcm", "images/broken.png"} <= set(names)
    assert not {"notes.txt", "x.tgz", ".hidden", "table.csv"} & set(names)
    assert names == sorted(names)


def test_mimic_takes_frontal_views_and_official_splits(mimic):
    reading = mimic_cxr.read(mimic)
    assert [(s.image, s.view, s.split) for s in reading.studies] == [
        ("aa-1", "PA", "train"),
        ("bb-1", "AP", "train"),
        ("cc-1", "AP", "validate"),
    ]
    assert reading.left_out == {"lateral or unknown view": 1}
    assert reading.studies[0].text_path.name == "s50414267.txt"


def test_mimic_takes_all_views_when_asked(mimic):
    assert len(mimic_cxr.read(mimic, frontal_only=False).studies) == 4


def test_mimic_jpg_has_no_record_list(mimic):
    (mimic / "cxr-record-list.csv.gz").unlink()
    for path in mimic.rglob("*.dcm"):
        path.rename(path.with_suffix(".jpg"))
    assert [study.path.suffix for study in mimic_cxr.read(mimic).studies] == [".jpg"] * 3


@pytest.mark.parametrize("kind", ["text", "csv", "csv-1.0", "json"])
def test_subjects_of_the_test_set_are_left_out(mimic, tmp_path, kind):
    path = tmp_path / {"text": "subjects.txt", "csv": "ms.csv", "csv-1.0": "ms.csv", "json": "ms.json"}[kind]
    image = "files/p10/p10000764/s57375967/bb-1.jpg"
    path.write_text(
        {
            "text": "p10000764\n",
            "csv": "subject_id,dicom_id\n10000764,bb-1\n",
            "csv-1.0": f"dicom_id,path\nbb-1,{image}\n",
            "json": json.dumps({"images": [{"id": 1, "path": image}]}),
        }[kind]
    )
    reading = mimic_cxr.read(mimic, exclude=path)
    assert [study.image for study in reading.studies] == ["aa-1", "cc-1"]
    assert reading.left_out["excluded subject"] == 1


def test_mimic_without_tables_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="record-list"):
        mimic_cxr.read(tmp_path)


XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">Heart is &lt;large&gt;.
 No XXXX.</AbstractText>
<AbstractText Label="IMPRESSION"/>
</Abstract></Article></MedlineCitation>
<parentImage id="CXR7_IM-1"><panel><url>/x</url></panel></parentImage><parentImage id="CXR7_IM-2"/></eCitation>"""


def test_open_i_joins_reports_and_images(tmp_path, png_bytes):
    (tmp_path / "7.xml").write_text(XML)
    (tmp_path / "8.xml").write_text(XML[: XML.index("<parentImage")] + "</eCitation>")
    (tmp_path / "9.xml").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]>" + XML.split("?>")[1])
    (tmp_path / "CXR7_IM-1.png").write_bytes(png_bytes())
    reading = open_i.read(tmp_path)
    assert [(s.image, s.study, s.path and s.path.name) for s in reading.studies] == [
        ("CXR7_IM-1", "CXR7", "CXR7_IM-1.png"),
        ("CXR7_IM-2", "CXR7", None),
    ]
    assert reading.studies[0].text == "COMPARISON: None.\n\nFINDINGS: Heart is <large>. No XXXX."
    assert reading.left_out == {"report without an image": 1, "unreadable report": 1}


def test_open_i_without_reports(tmp_path):
    with pytest.raises(UserError, match=r"no \.xml report"):
        open_i.read(tmp_path)
